"""What clients read: runs, events, changes, exports."""
