"""Every packaged operation fits the schema, and every one is used."""

import re
from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema, parse, validate

REPOSITORY = Path(__file__).parents[2]
OPERATIONS = sorted((REPOSITORY / "bots/speedtrap_bots/operations").glob("*.graphql"))


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema((REPOSITORY / "graph/schema.graphql").read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", OPERATIONS, ids=lambda file: file.stem)
def test_operation_fits_the_schema(file: Path, schema: GraphQLSchema) -> None:
    assert validate(schema, parse(file.read_text(encoding="utf-8"))) == []


def test_every_operation_is_asked_for() -> None:
    ledger = (REPOSITORY / "bots/speedtrap_bots/ledger.py").read_text(encoding="utf-8")
    asked = set(re.findall(r'(?:_ask|_request)\(\s*"(\w+)"', ledger))
    assert asked == {file.stem for file in OPERATIONS}
