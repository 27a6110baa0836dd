"""The committed schema is the one that is served."""

from pathlib import Path

from speedtrap_graph.api.schema import SCHEMA

COMMITTED = Path(__file__).parents[2] / "graph" / "schema.graphql"


def test_the_committed_schema_is_the_one_that_is_served() -> None:
    """`speedtrap-graph schema > graph/schema.graphql` brings it up to date."""
    assert COMMITTED.read_text(encoding="utf-8") == SCHEMA.as_str() + "\n"
