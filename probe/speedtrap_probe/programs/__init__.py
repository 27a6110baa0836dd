"""Tools that are programs of others."""
