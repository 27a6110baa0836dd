"""Clients draw and graph judges: what a client needs to draw comes from the schema."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CLIENTS = ("web/speedtrap_web", "bots/speedtrap_bots", "probe/speedtrap_probe")

LOCALITY = "a tool's locality"
PEAK = "the peak's hours"
BAND = "a band"
BY_NAME = "a minimum or a limit by its name"
CALCULATED = "a bound that is calculated"
HELD = "a figure held against a bound"

MEASURING = "how a measurement is made, not what is said of a line; needed without any service"
COLORS = "a shade of the page, drawn from the ratio that graph gives; no outcome depends on it"
WORDS = "words for people about what the schema calls onlyAtPeak"
SHOWN = "the same figure in another unit for people; nothing is held against it"
DEBT = "still to come from the schema: "

ALLOWED = {
    ("bots/speedtrap_bots/channels/webhook.py", "_ENOUGH_BYTES", BY_NAME):
        "how much of an answer is read, in bytes: no figure of a line",
    ("bots/speedtrap_bots/letter/chart.py", "PEAK_HOURS", BY_NAME): DEBT + "the peak's hours",
    ("bots/speedtrap_bots/letter/chart.py", "PEAK_HOURS", PEAK): DEBT + "the peak's hours",
    ("bots/speedtrap_bots/letter/evidence.py", "DELIVERED", BAND): DEBT + "the bands' ends",
    ("bots/speedtrap_bots/letter/evidence.py", "DELIVERED", BY_NAME): DEBT + "the bands' ends",
    ("bots/speedtrap_bots/letter/evidence.py", "_not_yet", CALCULATED): DEBT + "the bands' ends",
    ("bots/speedtrap_bots/letter/evidence.py", "_not_yet", HELD): DEBT + "the bands' ends",
    ("bots/speedtrap_bots/letter/pack.py", "_figures", PEAK): WORDS,
    ("bots/speedtrap_bots/letter/wording.py", "PEAK", PEAK): WORDS,
    ("bots/speedtrap_bots/letter/wording.py", "broken_in_words", CALCULATED): SHOWN,
    ("bots/speedtrap_bots/letter/wording.py", "rule_in_words", CALCULATED): SHOWN,
    ("bots/speedtrap_bots/letter/wording.py", "share_of", CALCULATED): SHOWN,
    ("bots/speedtrap_bots/letter/wording.py", "threshold", CALCULATED): DEBT + "a rule's bound",
    ("probe/speedtrap_probe/engine/carrying.py", "ENOUGH_SHARE", BAND): MEASURING,
    ("probe/speedtrap_probe/engine/carrying.py", "ENOUGH_SHARE", BY_NAME): MEASURING,
    ("probe/speedtrap_probe/engine/estimate.py", "RAMP_SHARE", BAND): MEASURING,
    ("probe/speedtrap_probe/engine/estimate.py", "SETTLED_DRIFT", BAND): MEASURING,
    ("probe/speedtrap_probe/engine/estimate.py", "SETTLED_SPREAD", BAND): MEASURING,
    ("probe/speedtrap_probe/engine/server_timing.py", "UNTOLD_MS", BAND): MEASURING,
    ("probe/speedtrap_probe/line/conditions.py", "FRAMES, ACKNOWLEDGEMENTS", BAND): MEASURING,
    ("probe/speedtrap_probe/plan.py", "Plan.told", CALCULATED): DEBT + "a rule's bound",
    ("probe/speedtrap_probe/programs/command.py", "GRACE_S", BY_NAME):
        "how long a program has to end: nothing about a line",
    ("probe/speedtrap_probe/run.py", "measure", HELD):
        "whether to measure once more, also offline: what comes of it graph judges",
    ("probe/speedtrap_probe/session.py", "DEFAULT_RETEST", BAND):
        "when to measure once more by a plan that only the probe's settings know",
    ("probe/speedtrap_probe/tools/fast.py", "MBPS_PER", BAND): "conversion of units to Mbps",
    ("probe/speedtrap_probe/tools/iperf3.py", "GRACE_S", BY_NAME):
        "how long a program has to end: nothing about a line",
    ("probe/speedtrap_probe/tools/iperf3.py", "SAME", BAND): MEASURING,
    ("probe/speedtrap_probe/tools/lan.py", "Lan", LOCALITY): "the tool's own name, at its home",
    ("probe/speedtrap_probe/tools/ookla.py", "MOST_OF_MEAN, LEAST_OF_MEAN", BAND): MEASURING,
    ("web/speedtrap_web/graphql/answers.py", "Rule.threshold", CALCULATED): DEBT + "a rule's bound",
    ("web/speedtrap_web/languages/english.py", "ENGLISH", PEAK): WORDS,
    ("web/speedtrap_web/languages/spanish.py", "SPANISH", PEAK): WORDS,
    ("web/speedtrap_web/pages/rules.py", "_as_given", CALCULATED): SHOWN,
    ("web/speedtrap_web/views/drawings/chart.py", "_worse", HELD): DEBT + "a bucket's bound",
    ("web/speedtrap_web/views/drawings/curve.py", "TABLE_RATIOS", BAND):
        "the rows of a table: no tone and no verdict comes of them",
    ("web/speedtrap_web/views/drawings/evidence.py", "_bounds", CALCULATED): SHOWN,
    ("web/speedtrap_web/views/drawings/heat.py", "LEVELS", BAND): COLORS,
    ("web/speedtrap_web/views/drawings/heat.py", "_cell", HELD): COLORS,
    ("web/speedtrap_web/views/line/tiles.py", "DROP_WARN, DROP_BAD", BAND): DEBT + "the tone",
    ("web/speedtrap_web/views/line/tiles.py", "SHARE_BAD", BAND): DEBT + "the tone",
    ("web/speedtrap_web/views/line/tiles.py", "_below", BAND): "how many decimals a percentage has",
    ("web/speedtrap_web/views/line/tiles.py", "_peak", BAND): "no sign before what rounds to 0 %",
    ("web/speedtrap_web/views/line/tiles.py", "_share_tone", BAND): DEBT + "the consistent band",
    ("web/speedtrap_web/views/line/verdict.py", "PEAK_IS_SLOWER", BAND): DEBT + "the tone",
    ("web/speedtrap_web/views/line/verdict.py", "PEAK_IS_SLOWER", BY_NAME): DEBT + "the tone",
    ("web/speedtrap_web/views/words.py", "ENOUGH_TO_JUDGE", BY_NAME): DEBT + "the fewest figures",
}  # fmt: skip
"""By module, the constant or function, and the kind: why it may stay. `DEBT` should go."""

BOUNDS = frozenset({
    "below_ratio", "below_mbps", "above_ms", "above_ratio", "subscribed_mbps", "threshold", "bound",
})  # fmt: skip
CALLED_LIKE_A_JUDGEMENT = re.compile("ENOUGH|GRACE|SILENT|OVERDUE|PEAK|LOCAL|BAND|DELIVERED|FEWEST")
PEAK_IN_WORDS = re.compile(r"\b19(:00)?\W{0,3}(to|a|y)?\W{0,3}23\b")
ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def judgements_in(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """What looks like one: the constant or function that it stands in, and its kind."""
    for statement in tree.body:
        yield from _in(statement, "the module")


def _in(statement: ast.stmt, within: str) -> Iterator[tuple[str, str]]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        within = statement.name if within == "the module" else f"{within}.{statement.name}"
        if isinstance(statement, ast.ClassDef):
            for inner in statement.body:
                yield from _in(inner, within)
            return
    elif (name := _constant(statement)) is not None:
        within = name
        yield from ((name, kind) for kind in _kinds_of_a_constant(name, statement))
    nodes = list(ast.walk(statement))
    reads_a_ratio = any(isinstance(n, ast.Constant) and n.value == "belowRatio" for n in nodes)
    if reads_a_ratio and any(isinstance(n, ast.Mult) for n in nodes):
        yield within, CALCULATED
    for node in nodes:
        yield from ((within, kind) for kind in _kinds(node))


PLANTED = {
    LOCALITY: (
        "LOCAL = {'lan'}", "def f(m):\n    return m.tool != 'lan'",
    ),
    PEAK: (
        "HOURS = (19, 23)", "def f(h):\n    return 19 <= h < 23",
        "def f(axes):\n    axes.axvspan(19, 23)", "SAID = 'weekdays 19:00 to 23:00'",
    ),
    BAND: (
        "GOOD = 0.95", "def f(ratio):\n    return ratio >= 0.80", "LEVELS = (0.5, 0.8)",
    ),
    BY_NAME: (
        "ENOUGH_TO_JUDGE = 6", "GRACE = timedelta(minutes=15)", "FEWEST: int = 6",
    ),
    CALCULATED: (
        "def f(rule, mbps):\n    return rule.below_ratio * mbps",
        "def f(rule, plan):\n    return Decimal(repr(rule.below_ratio)) * plan",
        "def f(told, plan):\n    ratio = told['belowRatio']\n    return ratio * plan",
    ),
    HELD: (
        "def f(value, breach):\n    return value < breach.subscribed_mbps",
        "class C:\n    def f(self, value, bound):\n        return value > bound",
    ),
}  # fmt: skip


def _constant(statement: ast.stmt) -> str | None:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
    names = [
        node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)
    ]
    return ", ".join(names) if names and all(name.isupper() for name in names) else None


def _kinds_of_a_constant(name: str, statement: ast.stmt) -> Iterator[str]:
    numbers = [n for node in ast.walk(statement) if (n := _number(node)) is not None]
    if numbers and CALLED_LIKE_A_JUDGEMENT.search(name):
        yield BY_NAME
    if not re.search(r"_S\b", name) and any(0 < number < 1 for number in numbers):
        yield BAND


def _kinds(node: ast.AST) -> Iterator[str]:
    value = node.value if isinstance(node, ast.Constant) else None
    if value == "lan":
        yield LOCALITY
    if isinstance(value, str) and PEAK_IN_WORDS.search(value):
        yield PEAK
    if {19, 23} <= {_number(part) for part in ast.iter_child_nodes(node)}:
        yield PEAK
    if isinstance(node, ast.Compare):
        yield from _kinds_of_a_comparison(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and _names_in(node) & BOUNDS:
        yield CALCULATED


def _kinds_of_a_comparison(node: ast.Compare) -> Iterator[str]:
    if not any(isinstance(sign, ORDERS) for sign in node.ops):
        return
    sides = [node.left, *node.comparators]
    if any((number := _number(side)) is not None and 0 < number < 1 for side in sides):
        yield BAND
    if _names_in(node) & BOUNDS and all(_number(side) != 0 for side in sides):
        yield HELD


def _number(node: ast.AST) -> float | None:
    if isinstance(node, ast.Constant) and type(node.value) in {int, float}:
        return float(node.value)  # type: ignore[arg-type]  # checked the line before
    return None


def _names_in(node: ast.AST) -> set[str]:
    found = {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
    return found | {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


@cache
def found_in_clients() -> frozenset[tuple[str, str, str]]:
    return frozenset(
        (str(file.relative_to(REPOSITORY)), *found)
        for client in CLIENTS
        for file in sorted((REPOSITORY / client).rglob("*.py"))
        for found in judgements_in(ast.parse(file.read_text(encoding="utf-8")))
    )


def test_no_client_holds_a_threshold_a_peak_hour_a_band_or_a_tools_locality() -> None:
    assert found_in_clients() - ALLOWED.keys() == set()


def test_what_is_allowed_is_still_there_and_has_a_reason() -> None:
    assert ALLOWED.keys() - found_in_clients() == set()
    assert all(len(reason) > 15 for reason in ALLOWED.values())


@pytest.mark.parametrize(
    ("kind", "source"), [(kind, source) for kind, sources in PLANTED.items() for source in sources]
)
def test_a_judgement_in_a_client_is_found(kind: str, source: str) -> None:
    assert kind in {found for _, found in judgements_in(ast.parse(source))}


def test_drawing_is_no_judgement() -> None:
    drawing = (
        "WIDTH = 1000.0\ndef f(value, breach):\n    return breach.subscribed_mbps > 0, value * 3"
    )
    assert list(judgements_in(ast.parse(drawing))) == []
