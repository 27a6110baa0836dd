"""Everything on one machine: the data folder, the parts, and who keeps them running."""
