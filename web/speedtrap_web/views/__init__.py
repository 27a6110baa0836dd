"""From graph's answers to what a template prints: pure, no I/O."""
