"""The commands, a file for those that belong together, and what they share."""
