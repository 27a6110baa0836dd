"""The documents in MongoDB, their indexes and their queries."""
