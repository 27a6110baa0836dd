"""What the probe tells the service and asks of it."""
