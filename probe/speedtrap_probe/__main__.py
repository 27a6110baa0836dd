"""`python -m speedtrap_probe`."""

from speedtrap_probe.cli import main

main()
