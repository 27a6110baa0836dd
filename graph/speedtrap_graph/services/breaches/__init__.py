"""Breaches: derived from stored runs, changed, verified, withdrawn."""
