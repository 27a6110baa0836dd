"""What goes on in the background or by command: rollups, retention, backup, export."""
