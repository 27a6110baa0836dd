"""Measures over HTTP: throughput by a few blocking connections, latency by small requests."""
