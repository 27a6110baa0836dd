"""The worker: what it claims, sends and settles."""
