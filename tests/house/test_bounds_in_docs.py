"""docs/security.md names every bound with the number that holds."""

from pathlib import Path

import pytest
from speedtrap_bots import bounded as to_bots
from speedtrap_bots import rendering
from speedtrap_bots.channels import mail
from speedtrap_graph import exporters, logs, timestamps
from speedtrap_graph.api.authentication import MOST_BODIES
from speedtrap_graph.api.guards import bounds as limits
from speedtrap_graph.http import socket
from speedtrap_graph.http.callers import Role
from speedtrap_graph.http.patience import PatientHttp
from speedtrap_graph.http.quotas import BYTES_PER_MINUTE, CPU_S_PER_MINUTE
from speedtrap_graph.http.unpacking import BODY_WITHIN_S
from speedtrap_graph.rules import permission
from speedtrap_graph.services.intake import validate
from speedtrap_graph.settings import GraphSettings
from speedtrap_probe import settings as probe_settings
from speedtrap_probe import tool
from speedtrap_probe.engine import answers, link
from speedtrap_probe.engine import limits as limits_of_tools
from speedtrap_probe.programs import command
from speedtrap_probe.service import submit
from speedtrap_web.graphql import bounded as to_web

from speedtrap_up import logfile, visitors

TEXT = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
DEFAULTS = GraphSettings(callers="gateway")
BOUNDS: dict[str, str] = {
    "a request's body, unpacked": f"{DEFAULTS.max_body_bytes:,} bytes",
    "the text of a query": f"{limits.MAX_QUERY_CHARS:,} characters",
    "its tokens, levels, fields, aliases": (
        f"{limits.MAX_TOKENS:,}, {limits.MAX_DEPTH}, {limits.MAX_FIELDS:,}, {limits.MAX_ALIASES}"
    ),
    "selections that ask again for what was asked for already": str(limits.MAX_REPEATED),
    "values in a request's JSON": f"{limits.MAX_JSON_VALUES:,}",
    "its variables, items of a list among them": f"{limits.MAX_VARIABLES}, {limits.MAX_ITEMS:,}",
    "documents that it may read, as estimated beforehand": f"{DEFAULTS.max_cost:,}",
    "errors in an answer": str(limits.MAX_ERRORS),
    "documents kept parsed, and their length": (
        f"{limits.MAX_CACHED} of {limits.CACHED_CHARS:,} characters"
    ),
    "runs in a batch, measurements in a run, values in a run": (
        f"{validate.MAX_BATCH}, {validate.MAX_MEASUREMENTS}, {validate.MAX_VALUES:,}"
    ),
    "bytes that a measurement may claim": f"{validate.MAX_BYTES:,}",
    "a run's start": f"the years {timestamps.FIRST_YEAR} to {timestamps.LAST_YEAR}",
    "what a probe's key may send": f"{BYTES_PER_MINUTE[Role.PROBE]:,} bytes a minute",
    "processor time a minute of a probe's key, of any other": (
        f"{CPU_S_PER_MINUTE[Role.PROBE]:g} s, {CPU_S_PER_MINUTE[Role.VIEWER]:g} s"
    ),
    "requests of one key that are still arriving": str(MOST_BODIES),
    "`speedtrap up`: a request's head, its body": (
        f"{PatientHttp.head_within_s:g} s, {BODY_WITHIN_S:g} s"
    ),
    "records that one place in the code writes into a log": (
        f"{logs.MOST_ALIKE} a minute, then a count"
    ),
    "`speedtrap up`: the bytes of a head, requests ahead of their answers": (
        f"{PatientHttp.most_head_bytes:,}, {PatientHttp.most_pipelined}"
    ),
    "`speedtrap up`: an answer of which nothing is taken": f"{PatientHttp.taken_within_s:g} s",
    "a message on a socket, its pieces": (
        f"{socket.MOST_MESSAGE_BYTES:,} bytes, {socket.MOST_PIECES:,}"
    ),
    "messages and pings on a socket": (
        f"{socket.MOST_FRAMES} at once, {socket.FRAMES_PER_S:g} a second"
    ),
    "a socket's handshake": f"{socket.HANDSHAKE_WITHIN_S:g} s",
    "`speedtrap up`: requests of one address for `/speed/`": f"{visitors.MOST_MEASURING} at a time",
    "`speedtrap up`: connections of one address": str(PatientHttp.most_of_an_address),
    "`speedtrap up`: requests of one address": (
        f"{visitors.BURST:g} at once, {visitors.PER_SECOND:g} a second"
    ),
    "`speedtrap up`: the log of each part": (
        f"{1 + logfile.OLDER_FILES} files of {logfile.MOST_BYTES:,} bytes"
    ),
    "a query or a mutation": f"{DEFAULTS.operation_timeout_s:g} s",
    "notices to the subscriber, for each of the owner's channels": (
        f"{permission.OWNER_PER_HOUR} an hour, {permission.OWNER_PER_DAY} a day"
    ),
    "probe: a tool in all, unless set": (
        f"{tool.DEADLINE_S:g} s and {tool.DEADLINE_WINDOWS:g} windows"
    ),
    "probe: a request to the service": f"{submit.WITHIN_S:g} s",
    "probe: a list or a page of a measuring server": (
        f"{link.DOCUMENT_LIMIT:,} bytes, {link.REDIRECT_LIMIT} redirects"
    ),
    "probe: an answer to a ping or an upload": f"{answers.SMALL_ANSWER_BYTES:,} bytes",
    "probe: what a program printed": f"the last {command.OUTPUT_LIMIT:,} bytes of each stream",
    "probe: what a server may ask to wait": f"{limits_of_tools.MOST_S / 3600:g} hours",
    "probe: its outbox, unless set": (
        f"{probe_settings.OUTBOX_SIZE:,} bytes, {probe_settings.OUTBOX_AGE_S // 86_400} days"
    ),
    "an answer of a receiver of exported runs": (
        f"{exporters.MOST_HEAD_BYTES + exporters.MOST_READ_BYTES:,} bytes, not unpacked"
    ),
    "bots: a step of a conversation with a mail server": f"{mail.STEP_TIMEOUT_S:g} s",
    "bots: a picture that is drawn": (
        f"{rendering.CPU_LIMIT_S} s of processor time, {rendering.MEMORY_LIMIT_BYTES:,} bytes"
    ),
    "graph's answer to the page, to a bot": (
        f"{to_web.LARGEST_ANSWER_BYTES:,} bytes, {to_bots.LARGEST_ANSWER_BYTES:,} bytes"
    ),
}


@pytest.mark.parametrize("what", BOUNDS)
def test_a_bound_is_named_with_its_number(what: str) -> None:
    assert f"| {what} | {BOUNDS[what]} |" in TEXT


def test_no_bound_is_named_that_nothing_holds() -> None:
    table = TEXT.partition("## Bounds")[2].partition("\n## ")[0]
    named = [
        line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if " | " in line
    ]
    assert set(named[1:]) <= set(BOUNDS)
