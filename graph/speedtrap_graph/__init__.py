"""speedtrap graph."""
