"""Every packaged operation fits the schema, and every one is used."""

import re
from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema, parse, validate
from speedtrap_web.graphql.client import BadVariableError, load_operations
from speedtrap_web.pages.questions import PUBLIC_OPERATIONS

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "web/speedtrap_web"
OPERATIONS = load_operations()


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema((REPOSITORY / "graph/schema.graphql").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_fits_the_schema(name: str, schema: GraphQLSchema) -> None:
    assert validate(schema, parse(OPERATIONS[name].document)) == []


def test_every_operation_is_asked_for() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py"))
    asked = set(re.findall(r'\.ask\(\s*"(\w+)"', source)) | {"history"}  # by the page's script
    assert asked == set(OPERATIONS)


def test_the_browser_may_ask_for_reads_only() -> None:
    assert {OPERATIONS[name].kind for name in PUBLIC_OPERATIONS} == {"query"}


def test_variables_of_a_query_string_get_their_types() -> None:
    given = {"probe": "laptop", "since": "s", "until": "u", "buckets": "12"}
    assert OPERATIONS["history"].variables_from_text(given) == {**given, "buckets": 12}


def test_a_list_of_a_query_string_is_separated_by_commas() -> None:
    given = {"outcomes": "OUTAGE, MEASURED", "first": "3"}
    read = OPERATIONS["runs"].variables_from_text(given)
    assert read == {"outcomes": ["OUTAGE", "MEASURED"], "first": 3}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"since": "s", "until": "u"}, "probe: is missing"),
        ({"probe": "p", "since": "s", "until": "u", "buckets": "many"}, "buckets: must be a num"),
        ({"probe": "p", "since": "s", "until": "u", "colour": "red"}, "colour: no such variable"),
    ],
)
def test_a_bad_variable_is_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(BadVariableError, match=message):
        OPERATIONS["history"].variables_from_text(given)
