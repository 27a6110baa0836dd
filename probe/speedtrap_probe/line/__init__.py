"""The line and its surroundings: conditions, connectivity, the way out."""
