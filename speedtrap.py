"""The `speedtrap` command: everything on one machine."""


def main() -> None:
    """Placeholder until the composition lands."""
