"""The pages, one address or a few a module."""
