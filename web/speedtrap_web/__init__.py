"""speedtrap web."""
