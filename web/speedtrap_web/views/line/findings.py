"""Findings: what one tool says against all the others, which is no breach of the line."""

from collections.abc import Iterable

from speedtrap_web.graphql.answers import Finding
from speedtrap_web.views.words import Words

MOST_SHOWN = 5


def finding_lines(findings: Iterable[Finding], words: Words) -> list[str]:
    """Of downloads, the newest first, as graph gives them."""
    downloads = [finding for finding in findings if finding.metric == "DOWNLOAD"]
    return [_line(finding, words) for finding in downloads[:MOST_SHOWN]]


def _line(finding: Finding, words: Words) -> str:
    said = words.plural(
        "finding.open" if finding.ended_at is None else "finding.ended",
        finding.count,
        tool=finding.tool,
        since=words.when(finding.since),
        end=words.when(finding.last_run_at),
    )
    others = ", ".join(
        words.text("finding.other", tool=other.tool, median=words.catalogue.mbps(other.median))
        for other in finding.others
    )
    median = words.catalogue.mbps(finding.median)
    return f"{said} {words.text('finding.figures', median=median, others=others)}"
