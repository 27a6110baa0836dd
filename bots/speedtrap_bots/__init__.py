"""speedtrap bots."""
