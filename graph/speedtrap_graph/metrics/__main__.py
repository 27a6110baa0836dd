"""Writes docs/metrics.md from `names`."""

from pathlib import Path

from speedtrap_graph.metrics.names import NAMES, Name

PAGE = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"
_HEAD = """\
# The metrics of `/metrics`

Made from `graph/speedtrap_graph/metrics/names.py` by `.venv/bin/python -m speedtrap_graph.metrics`.
What has not been measured has no sample: 0 always means nought. How to get at them, and the
dashboard and alerts made of them: [operator.md](operator.md#monitoring).

"""


def page() -> str:
    names = list(NAMES.values())
    shared = [name for name in names if not name.of_process]
    own = [name for name in names if name.of_process]
    return (
        _HEAD
        + "## From the database: the same from every copy of graph\n\n"
        + _table(shared)
        + "\n## Of the process that answers: each copy has its own\n\n"
        + _table(own)
        + "\nBeside these, of each process: `speedtrap_operation_duration_seconds` (a histogram\n"
        "by `type` and root `field`), and `process_…` and `python_gc_…` of the Python client.\n"
    )


def _table(names: list[Name]) -> str:
    rows = [
        f"| `{name.name}` | {', '.join(f'`{label}`' for label in name.labels)} | {name.text} |\n"
        for name in names
    ]
    return "| metric | labels | what |\n|---|---|---|\n" + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
