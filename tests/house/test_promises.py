"""What is written must be so: README, guides, changelog, Makefile, secrets, contracts."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema, parse, validate
from pydantic_settings import BaseSettings
from speedtrap_bots import cli as bots
from speedtrap_bots.channel import kinds
from speedtrap_bots.settings import Settings as BotsSettings
from speedtrap_graph import cli as graph
from speedtrap_graph.exporters import kinds as exporters
from speedtrap_graph.settings import GraphSettings
from speedtrap_probe import cli as probe
from speedtrap_probe import settings as probe_settings
from speedtrap_probe.tools import discover
from speedtrap_web import cli as web
from speedtrap_web.settings import WebSettings
from typer.main import get_command

from speedtrap import app as house
from speedtrap import keys_app, probes_app, secrets_app
from speedtrap_up import api, plan
from speedtrap_up import secrets as house_secrets
from tests.lab.drills import mostly_drilled

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = [ROOT, *(ROOT / part for part in ("probe", "graph", "bots", "web"))]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
GUIDES = sorted((ROOT / "docs").rglob("*.md"))

PARTS = {
    "plan": plan.app,
    "bots": bots.app,
    "notices": bots.notices_app,
    "graph": graph.app,
    "web": web.app,
    "probe": probe.app,
    "keys": keys_app,
    "probes": probes_app,
    "secrets": secrets_app,
}
"""Whose commands `speedtrap` hands on, or that it imports only when they are called."""

FOR_TESTS = {"address", "ca_file", "request_timeout_s", "verdict_timeout_s"}
"""Settings of channels that stand in for the outside world in tests, or that nobody need turn."""


def words() -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in [*DOCUMENTS, *GUIDES])


def version(project: Path) -> str:
    return str(tomllib.loads((project / "pyproject.toml").read_text())["project"]["version"])


def test_all_distributions_have_one_version_and_the_changelog_has_it_too() -> None:
    versions = {version(project) for project in PROJECTS}
    assert len(versions) == 1
    headings = re.findall(r"^## \[?([^]\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert versions <= set(headings) | {"0.1.0"}


@pytest.mark.parametrize("file", [*DOCUMENTS, *GUIDES, ROOT / "secrets/README.md"], ids=str)
def test_every_make_target_that_is_named_exists(file: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"`?\bmake ([a-z-]+)\b", _code(file.read_text(encoding="utf-8")))
    assert set(named) <= targets


@pytest.mark.parametrize("file", [*DOCUMENTS, *GUIDES], ids=str)
def test_every_link_leads_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text(encoding="utf-8")):
        assert (file.parent / target).exists(), target


def test_every_command_that_is_named_exists() -> None:
    known = _commands()
    for command in re.findall(r"\bspeedtrap ((?:[a-z][a-z-]* ?){1,2})", _code(words())):
        first, *rest = command.split()
        if first in {"up", "backup", "restore", "doctor"}:
            continue
        assert first in known, command
        assert not rest or rest[0] in known[first], command


COMMANDS = [
    (file.name, line)
    for file in [*DOCUMENTS, *GUIDES]
    for block in re.findall(r"```sh\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL)
    for line in re.findall(
        r"^\s*(?:docker compose .*?)?((?:\.venv/bin/)?speedtrap(?:-[a-z]+)? .*)$",
        block,
        re.MULTILINE,
    )
]


@pytest.mark.parametrize(("file", "line"), COMMANDS)
def test_every_command_of_a_guide_can_be_typed_as_it_stands(file: str, line: str) -> None:
    """Its subcommands and options are there, with as many arguments; nothing is run."""
    assert file
    program, *words = shlex.split(re.split(" [<>] ", line.replace("\u2026", ""))[0], comments=True)
    part = program.removeprefix(".venv/bin/").removeprefix("speedtrap").removeprefix("-")
    words = [part, *words] if part else words
    name = words[0]
    command = get_command(house) if name not in PARTS else get_command(PARTS[name])
    words = words if name not in PARTS else words[1:]
    while commands := getattr(command, "commands", None):
        assert words[0] in commands, line
        command, words = commands[words[0]], words[1:]
    context = command.make_context(name, words, resilient_parsing=True)
    parser = command.make_parser(context)
    _, left, _ = parser.parse_args(list(words))
    assert left == [], line


def test_every_file_that_a_command_of_a_guide_is_about_exists() -> None:
    named = re.findall(r"make [a-z-]+ ARGS=\"?(tests/[\w/.]+)", words())
    assert len(named) > 2
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_test_that_the_threat_model_names_exists() -> None:
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)`", text)
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_setting_of_graph_and_web_is_documented() -> None:
    text = words()
    every: list[type[BaseSettings]] = [GraphSettings, WebSettings, BotsSettings]
    every += [kind.settings for kind in exporters().values()]
    for settings in every:
        for name in _names(settings) - {"poll_seconds", "patrol_seconds"}:
            assert re.search(rf"\b{name.upper()}\b", text), f"{settings.__name__}.{name}"


def test_every_setting_of_a_channel_is_documented() -> None:
    text = (ROOT / "docs/bots.md").read_text()
    aliases = {"sender": "from", "recipient": "to"}
    for kind in kinds().values():
        for name in _names(kind.settings) - FOR_TESTS:
            assert f"`{aliases.get(name, name).upper()}`" in text, f"{kind.settings}.{name}"


def test_every_setting_of_the_probe_is_documented() -> None:
    text = (ROOT / "docs/probe.md").read_text()
    options = [option.name for tool in discover().values() for option in tool.options]
    for name in [*probe_settings.NAMES, *options]:
        assert f"`{name.upper()}`" in text, name


def test_every_variable_that_is_named_exists() -> None:
    known = {f"SPEEDTRAP_PROBE_{name.upper()}" for name in probe_settings.NAMES}
    every: list[type[BaseSettings]] = [GraphSettings, WebSettings, BotsSettings]
    every += [kind.settings for kind in kinds().values()]
    every += [kind.settings for kind in exporters().values()]
    for settings in every:
        prefix = str(settings.model_config["env_prefix"])
        for name in _names(settings):
            known |= {f"{prefix}{name.upper()}", f"{prefix}{name.upper()}_FILE"}
    known |= {"SPEEDTRAP_BOTS_MAIL_FROM", "SPEEDTRAP_BOTS_MAIL_TO", "SPEEDTRAP_MONGOD"}
    known |= set(re.findall(r"\$\{(SPEEDTRAP_[A-Z_]+)", (ROOT / "compose.yaml").read_text()))
    assert set(re.findall(r"\bSPEEDTRAP_[A-Z_]+[A-Z]\b(?!_)", words())) <= known


def test_every_secret_of_compose_is_explained_and_made_or_said_not_to_be(tmp_path: Path) -> None:
    compose = (ROOT / "compose.yaml").read_text()
    text = (ROOT / "secrets/README.md").read_text()
    made = {file.name for file in house_secrets.init(tmp_path)}
    for name in re.findall(r"^  ([\w-]+): \{ file:", compose, re.MULTILINE):
        row = next((line for line in text.splitlines() if f"`{name}`" in line), "")
        assert row, name
        assert (name in made) == row.endswith("| yes |"), name
    for name in made:
        assert f"`{name}`" in text, name


def test_real_secrets_are_ignored_by_git_and_examples_are_not() -> None:
    def ignored(name: str) -> bool:
        done = subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT, check=False)  # noqa: S607 - git from PATH
        return done.returncode == 0

    assert ignored("secrets/api_keys")
    assert ignored(".env")
    assert not ignored("secrets/api_keys.example")
    assert not ignored("secrets/README.md")


def test_ci_runs_check_test_and_drill_and_can_be_executed() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    lines = script.read_text().splitlines()
    assert lines[0].startswith("#!")
    assert [line for line in lines if line.startswith("make")] == [
        "make check",
        "make test",
        "make drill",
    ]


def test_test_and_drill_together_run_every_test_once() -> None:
    selected = re.findall(r'pytest .*-m "([^"]+)"', (ROOT / "Makefile").read_text())
    assert sorted(selected) == [
        "drill and not system",
        "drill and system",
        "not drill and not system",
        "not drill and system",
    ]


def test_each_marker_of_a_drill_has_its_short_row() -> None:
    rows = mostly_drilled(["a", "b", "c"], ["b"])
    assert rows[1] == "b"
    marks = [[mark.name for mark in getattr(row, "marks", ())] for row in rows]
    assert marks == [["drill"], [], ["drill"]]
    with pytest.raises(LookupError, match=r"not in the table: .*d"):
        mostly_drilled(["a"], ["d"])


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema((ROOT / "graph/schema.graphql").read_text())


@pytest.mark.parametrize("file", sorted(api.OPERATIONS.glob("*.graphql")), ids=lambda p: p.name)
def test_every_packaged_document_fits_the_schema(file: Path, schema: GraphQLSchema) -> None:
    assert validate(schema, parse(file.read_text())) == []


def test_adding_a_tool_and_a_channel_take_five_lines_each() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for title in ("Add a tool", "Add a channel"):
        section = text.split(f"## {title}\n")[1].split("\n## ")[0]
        assert len(re.findall(r"^\d\. ", section, re.MULTILINE)) == 5


def test_a_missing_part_is_said_so_without_a_traceback(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['speedtrap_probe'] = None\n"
        "import speedtrap; sys.argv = ['speedtrap', 'probe', 'tools']; speedtrap.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "speedtrap-probe, which is not installed here" in done.stderr
    assert "Traceback" not in done.stderr


def _names(settings: type[BaseSettings]) -> set[str]:
    """Without the `..._file` variants of secrets, which are named in the row of the secret."""
    return {
        name for name in settings.model_fields if name == "keys_file" or not name.endswith("_file")
    }


def _code(text: str) -> str:
    """What stands in code blocks and between backticks."""
    found = re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", text, re.DOTALL)
    return "\n".join(block or inline for block, inline in found)


def _commands() -> dict[str, set[str]]:
    found = {}
    for name, app in PARTS.items():
        command = get_command(app)
        found[name] = set(getattr(command, "commands", {}))
    return found
