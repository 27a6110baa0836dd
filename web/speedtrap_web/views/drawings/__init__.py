"""SVG: charts, curves and the map of hours."""
