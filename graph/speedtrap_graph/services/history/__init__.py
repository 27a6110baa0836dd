"""What was measured over time: rollups, series, the service report, findings."""
