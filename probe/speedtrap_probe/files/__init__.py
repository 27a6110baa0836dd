"""What the probe keeps on disk."""
