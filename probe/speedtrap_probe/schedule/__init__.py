"""When to measure, and who starts it: one module for each of the systems' own schedulers.

A module turns a job into files and commands, and does nothing itself: `apply` does.
"""
