"""When to measure."""
