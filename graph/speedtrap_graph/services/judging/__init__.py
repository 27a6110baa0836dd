"""What a run shows: its figures, its observations, and the standards it is held to."""
