"""`/metrics`: what the database says of every line and of the house, and what this process does."""
