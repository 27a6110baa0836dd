"""The overview's parts: how the line is."""
