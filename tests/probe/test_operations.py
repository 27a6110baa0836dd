from importlib.resources import files
from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

SCHEMA_FILE = Path(__file__).parents[2] / "graph" / "schema.graphql"
OPERATIONS = [
    entry
    for entry in files("speedtrap_probe.service.operations").iterdir()
    if entry.name.endswith("graphql")
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda entry: entry.name)
def test_every_operation_is_valid_against_the_schema(operation: Path) -> None:
    schema = build_schema(SCHEMA_FILE.read_text(encoding="utf-8"))
    assert validate(schema, parse(operation.read_text(encoding="utf-8"))) == []


def test_there_are_operations() -> None:
    assert OPERATIONS
