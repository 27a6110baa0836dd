"""The schema's types, one subject a module."""
