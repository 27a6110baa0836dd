"""What is asked of graph, and its answers as values."""
