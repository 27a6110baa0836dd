"""Probes as such: their silence, their keys' use, their removal."""
