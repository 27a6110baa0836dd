"""speedtrap probe."""
