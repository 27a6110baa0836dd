"""What the service does with runs, breaches and notices: rules applied to the store."""
