"""Every word of the page, and how it writes numbers and times. English first; others add a table.

A key with `.one` and `.other` is chosen by `n`. Numbers are words too: a language owns its marks.
"""

# ruff: noqa: RUF001 (typography: readers get real dashes)

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from typing import Any

MINUS = "\N{MINUS SIGN}"
NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"

ENGLISH: Mapping[str, str] = {
    # Page furniture
    "site.title": "speedtrap",
    "site.skip": "Skip to the content",
    "site.login": "Log in",
    "site.logout": "Log out",
    "site.logged_in": "Logged in as {name}",
    "site.plan": "Plan",
    "site.back": "Back to the overview",
    "site.about": "speedtrap measures an internet line against the speed that was bought.",
    "site.times": "Times are in {zone}.",
    # Header
    "header.plan": "{provider} · {down} Mbps down",
    "header.plan_both": "{provider} · {down} Mbps down, {up} Mbps up",
    "header.no_plan": "No plan set",
    "header.probe": "Probe",
    "header.range": "Range",
    "range.24h": "24 h",
    "range.7d": "7 d",
    "range.30d": "30 d",
    "range.90d": "90 d",
    "range.all": "All",
    "range.24h.words": "the last 24 hours",
    "range.7d.words": "the last 7 days",
    "range.30d.words": "the last 30 days",
    "range.90d.words": "the last 90 days",
    "range.all.words": "all time",
    # Verdict
    "verdict.delivered": "Yes, you get what you pay for.",
    "verdict.delivered_but_peak": "Yes, though evenings are slower.",
    "verdict.not_now": "Mostly, but not right now.",
    "verdict.partly": "Mostly, but not always.",
    "verdict.partly_peak": "Mostly, but evenings fall short.",
    "verdict.not_delivered": "No, the line falls short.",
    "verdict.not_delivered_peak": "No, evenings fall short.",
    "verdict.too_few": "Too early to say.",
    "verdict.no_runs": "No runs in this range.",
    "verdict.no_plan": "No verdict without a plan.",
    "verdict.no_plan.text": "Tell speedtrap what you pay for and it will judge; until then it "
    "only shows what it measured.",
    "verdict.no_plan.typical": "The typical run reached {median} Mbps.",
    "verdict.no_plan.login": "Set the plan",
    "verdict.no_runs.text": "The last run was {ago}. Choose a longer range to see it.",
    "verdict.too_few.text.one": "There is {n} measured run in {range}; a fair answer needs more.",
    "verdict.too_few.text.other": "There are {n} measured runs in {range}; "
    "a fair answer needs more.",
    "verdict.typical": "In {range} the typical run reached {median} Mbps, "
    "{ratio} of the {subscribed} Mbps you pay for.",
    "verdict.peak": "On weekday evenings (19–23 h) it drops to {peak} Mbps, "
    "{drop} lower than the rest of the time.",
    "verdict.share.one": "{n} run in {total} was below {rule}.",
    "verdict.share.other": "{n} of {total} runs were below {rule}.",
    "verdict.open": "Right now: {count} runs in a row below {rule}, since {since}.",
    "rule.ratio": "{ratio} of the subscribed speed",
    "rule.mbps": "{mbps} Mbps",
    "rule.none": "the rule",
    # Tiles
    "unit.mbps": "Mbps",
    "tile.few": "too few to judge",
    "tile.n.one": "n = {n} run",
    "tile.n.other": "n = {n} runs",
    "tile.n_two": "n = {peak} at peak, {off} off-peak",
    "tile.none": "–",
    "tile.median": "Median against plan",
    "tile.median.no_plan": "Median",
    "tile.median.detail": "{median} of {subscribed} Mbps",
    "tile.median.no_plan.detail": "no plan to compare with",
    "tile.below": "Runs below {rule}",
    "tile.below.detail": "{below} of {total} runs",
    "tile.below.no_plan": "Runs below the rule",
    "tile.below.no_plan.detail": "needs a plan",
    "tile.consistent": "Speed you can count on",
    "tile.consistent.detail": "at least {mbps} Mbps in 80{space}% of peak runs",
    "tile.consistent.none": "no runs on weekdays 19–23 h yet",
    "tile.peak": "Evenings against the rest",
    "tile.peak.detail": "{peak} at peak, {off} Mbps off-peak",
    "tile.peak.none": "needs runs at peak and off-peak",
    "tile.outages": "Outages",
    "tile.outages.none": "no run found the line down",
    "tile.outages.detail": "{duration} in all",
    "tile.last": "Last run",
    "tile.last.streak": "{count} in a row below {rule}",
    "tile.last.no_streak": "no streak below {rule}",
    "tile.last.detail": "{ago}, {outcome}",
    # Outcomes
    "outcome.MEASURED": "measured",
    "outcome.OUTAGE": "line down",
    "outcome.INCONCLUSIVE": "inconclusive",
    "medium.WIRED": "wired",
    "medium.WIFI": "Wi-Fi",
    "medium.UNKNOWN": "",
    # Chart
    "chart.title": "Download, Mbps",
    "chart.legend.median": "median {bucket}",
    "chart.legend.band": "80{space}% of the runs (p10 to p90)",
    "chart.legend.dot": "one run",
    "chart.legend.below": "run below {rule}",
    "chart.legend.breach": "breach",
    "chart.legend.outage": "line down",
    "chart.legend.inconclusive": "inconclusive",
    "chart.bucket.hour": "by the hour",
    "chart.bucket.hours": "by {n} hours",
    "chart.bucket.day": "by the day",
    "chart.bucket.days": "by {n} days",
    "chart.hint": "Drag to zoom, double-click to go back. Arrow keys read the chart.",
    "chart.subscribed": "you pay for {mbps}",
    "chart.threshold": "{ratio} = rule",
    "chart.label": "Chart of download throughput over time. "
    "Arrow keys move through it; the table below holds the same numbers.",
    "chart.empty": "Nothing was measured in this range.",
    "chart.read": "{when}: median {median} Mbps, p10 {p10}, p90 {p90}, n = {n}",
    "chart.read_ratio": "{when}: median {median} Mbps ({ratio} of plan), "
    "p10 {p10}, p90 {p90}, n = {n}",
    "chart.read_gap": "{when}: no measured run",
    "chart.failed": "The chart's numbers did not arrive; the table below has them.",
    "table.title": "The same numbers as a table",
    "table.when": "From",
    "table.median": "Median",
    "table.p10": "p10",
    "table.p90": "p90",
    "table.n": "n",
    "table.below": "Below",
    "table.outages": "Line down",
    "table.inconclusive": "Inconcl.",
    # Heat map
    "heat.title": "When is it slow?",
    "heat.unit.ratio": "Median in % of the subscribed speed, by weekday and hour",
    "heat.unit.mbps": "Median in Mbps, by weekday and hour",
    "heat.sparse": "in steps of 4 hours while runs are few; small figures say how many",
    "heat.none": "no runs",
    "heat.cell": "{day} {hours}: {value}, n = {n}",
    "heat.empty": "Appears with the first measured run in this range.",
    "weekday.0": "Mon",
    "weekday.1": "Tue",
    "weekday.2": "Wed",
    "weekday.3": "Thu",
    "weekday.4": "Fri",
    "weekday.5": "Sat",
    "weekday.6": "Sun",
    "month.1": "Jan",
    "month.2": "Feb",
    "month.3": "Mar",
    "month.4": "Apr",
    "month.5": "May",
    "month.6": "Jun",
    "month.7": "Jul",
    "month.8": "Aug",
    "month.9": "Sep",
    "month.10": "Oct",
    "month.11": "Nov",
    "month.12": "Dec",
    # Tools
    "tools.title": "Tools side by side",
    "tools.note": "Median download in {range}",
    "tools.tool": "Tool",
    "tools.median": "Median, Mbps",
    "tools.ratio": "Of plan",
    "tools.n": "Runs",
    "tools.failures": "Failed",
    "tools.lan": "your own network, not the internet",
    "tools.differ": "{fast} reads {factor} times what {slow} reads: look at that path "
    "before you blame the whole line.",
    "tools.empty": "No tool has run in this range.",
    # Last run
    "last.title": "Last run",
    "last.when": "{when} ({ago})",
    "last.download": "Down, Mbps",
    "last.upload": "Up, Mbps",
    "last.latency": "Latency, ms",
    "last.failed": "{kind}: {message}",
    "failure.NO_NETWORK": "no network",
    "failure.TIMEOUT": "no answer in time",
    "failure.RATE_LIMITED": "rate-limited",
    "failure.TOOL_MISSING": "not installed",
    "failure.TOOL_FAILED": "failed",
    "failure.SKIPPED": "skipped",
    # Breaches
    "breaches.title": "Breaches",
    "breaches.rule": "A breach opens after more than {more} runs in a row below {rule}.",
    "breaches.none": "None recorded.",
    "breaches.silenced": "Silenced until {until}: {reason}",
    "breaches.more": "Only the newest 20 are shown.",
    "breach.status.OPEN": "open",
    "breach.status.RESOLVED": "resolved",
    "breach.status.RETRACTED": "retracted: late data showed that it never was one",
    "breach.stale": "It was over before it became known, so it is recorded and not announced.",
    "breach.median": "{median} Mbps ({ratio} of {subscribed})",
    "breach.median.none": "line down",
    "breach.count.one": "{n} run in a row",
    "breach.count.other": "{n} runs in a row",
    "breach.span.open": "since {start}",
    "breach.span": "{start} to {end}",
    "breach.no_notice": "No notice has been written.",
    "notice.read": "Read and decide",
    "notice.open": "Read",
    "stage.OPENING": "complaint",
    "stage.REMINDER": "second letter",
    "stage.RECOVERY": "recovery note",
    "stage.DIGEST": "digest",
    "channel.mail": "Mail",
    "channel.twitter": "X post",
    "notice.line": "{channel}, {stage}:",
    "notice.status.PLANNED": "written, waits for approval",
    "notice.status.APPROVED": "approved, waits for its turn",
    "notice.status.DUE": "approved, about to go out",
    "notice.status.CLAIMED": "being sent",
    "notice.status.SENDING": "being sent",
    "notice.status.SENT": "sent {when}",
    "notice.status.DEAD": "refused by the other side",
    "notice.status.UNKNOWN": "may have arrived; not repeated blindly",
    "notice.status.CHECKING": "being looked up",
    "notice.status.REJECTED": "rejected, not sent",
    "notice.status.SUPPRESSED": "held back, not sent",
    "notice.status.SILENCED": "silenced, not sent",
    "notice.why": "because: {why}",
    "notice.due": "not before {when}",
    # Empty
    "empty.title": "Waiting for the first run",
    "empty.text": "Nothing has been measured yet. If you started speedtrap with “speedtrap up”, "
    "its own probe is at work and the first run appears here within two minutes.",
    "empty.other": "To measure from another machine, make it a key and run the probe there:",
    "empty.step1": "On this machine, make a key:",
    "empty.step2": "On the machine to measure from:",
    "empty.key": "YOUR-KEY",
    "empty.live": "This page updates by itself.",
    "empty.copy": "Copy",
    "empty.copied": "Copied",
    "live.updated": "A new run arrived; the page was updated.",
    "live.away": "speedtrap has not answered since {when}. What you see is from then.",
    # Login
    "login.title": "Log in",
    "login.text": "With an admin key. On the machine that runs speedtrap, "
    "“speedtrap keys list” shows where the keys are.",
    "login.key": "Admin key",
    "login.submit": "Log in",
    "login.wrong": "This key is not known.",
    "login.not_admin": "The key of {name} is a {role} key; approving needs an admin key.",
    "login.missing": "Enter a key.",
    "login.throttled": "Too many attempts. Try again in {seconds} seconds.",
    "login.expired": "The session has ended, or its key was revoked. Log in again.",
    "login.needed": "Log in to go on.",
    # Plan form
    "plan.title": "What do you pay for?",
    "plan.text": "The figures of your contract. Runs are judged by the plan that was in force "
    "when they started.",
    "plan.provider": "Provider",
    "plan.download": "Subscribed download, Mbps",
    "plan.upload": "Subscribed upload, Mbps (optional)",
    "plan.time_zone": "Time zone",
    "plan.time_zone.hint": "For example America/Denver. Peak hours are counted in it.",
    "plan.since": "In force from (optional)",
    "plan.since.hint": "Empty: from the first run on.",
    "plan.probe": "For",
    "plan.probe.all": "every probe",
    "plan.submit": "Save the plan",
    "plan.number": "Must be a number of Mbps above 0, such as 940.",
    "plan.missing": "Must not be empty.",
    "plan.zone": "No such time zone; use an IANA name such as Europe/Berlin.",
    "plan.date": "Must be a date such as 2026-11-24.",
    "plan.saved": "The plan is saved.",
    "plan.known": "Plans so far",
    "plan.known.line": "{provider}: {down} Mbps down, from {since}",
    "plan.known.always": "the first run on",
    # Notice page
    "notice.title": "{channel}: {stage} about {reference}",
    "notice.to": "To",
    "notice.to.nobody": "nobody is configured yet",
    "notice.subject": "Subject",
    "notice.planned": "Written",
    "notice.digest": "SHA-256",
    "notice.text": "Text",
    "notice.html": "As the reader sees it",
    "notice.html.frame": "Preview of the letter",
    "notice.attachments": "Attachments",
    "notice.attachments.none": "None.",
    "notice.size": "{size} kB",
    "notice.history": "What happened",
    "notice.step": "{when}, {by}: {status}",
    "notice.approve": "Approve and send",
    "notice.approve.text": "Exactly what you see here will be sent, once.",
    "notice.reject": "Reject",
    "notice.reason": "Why it should not be sent",
    "notice.reason.missing": "Give a reason.",
    "notice.decide": "Decide",
    "notice.changed": "The notice changed after you opened it. Read it again.",
    "notice.approved": "Approved. It goes out when its turn comes.",
    "notice.rejected": "Rejected. It will not be sent.",
    # Errors
    "error.away.title": "The service that keeps the runs does not answer.",
    "error.away.text": "It {reason}. Nothing is lost: probes keep their runs until it is back. "
    "This page tries again by itself.",
    "error.key.title": "This page may not read from the service that keeps the runs.",
    "error.key.text": "Its viewer key was refused. Whoever runs speedtrap can set "
    "SPEEDTRAP_WEB_KEY to a valid one.",
    "error.refused.title": "That was not accepted.",
    "error.refused.text": "{message}",
    "error.400.title": "That could not be read.",
    "error.400.text": "What was sent is no form of this page.",
    "error.404.title": "There is no such page.",
    "error.404.text": "The address may be mistyped, or what it showed is gone.",
    "error.405.title": "That is not how this page is used.",
    "error.405.text": "Go back to the overview and try from there.",
    "error.500.title": "Something went wrong in this page.",
    "error.500.text": "The details are in the log of the service.",
    # Times
    "time.now": "just now",
    "time.minutes.one": "{n} minute ago",
    "time.minutes.other": "{n} minutes ago",
    "time.hours.one": "{n} hour ago",
    "time.hours.other": "{n} hours ago",
    "time.days.one": "{n} day ago",
    "time.days.other": "{n} days ago",
    "time.duration.minutes": "{minutes} min",
    "time.duration.full_hours": "{hours} h",
    "time.duration.hours": "{hours} h {minutes} min",
    "time.duration.days": "{days} d {hours} h",
}


@dataclass(frozen=True)
class Catalogue:
    """One language."""

    language: str
    words: Mapping[str, str]
    thousands: str = ","
    decimal: str = "."

    def text(self, key: str, **values: object) -> str:
        return self.words[key].format(space=NARROW_SPACE, **values)

    def plural(self, key: str, n: int, **values: object) -> str:
        form = "one" if n == 1 else "other"
        return self.text(f"{key}.{form}", n=self.number(n), **values)

    def number(self, value: float, digits: int = 0) -> str:
        """With thousands marks and a real minus sign."""
        written = f"{abs(value):,.{digits}f}"
        written = written.translate({ord(","): self.thousands, ord("."): self.decimal})
        return f"{MINUS}{written}" if value < 0 and written.strip("0.,") else written

    def mbps(self, value: float | None) -> str:
        """Three figures are all that a throughput deserves."""
        if value is None:
            return self.words["tile.none"]
        return self.number(value, 0 if value >= 100 else 1 if value >= 10 else 2)

    def plain(self, value: float) -> str:
        """A figure that someone typed: no more digits than they gave."""
        return self.number(value, 0 if value == int(value) else 1)

    def percent(self, ratio: float | None, digits: int = 0) -> str:
        if ratio is None:
            return self.words["tile.none"]
        return f"{self.number(ratio * 100, digits)}{NARROW_SPACE}%"

    def when(self, moment: datetime, zone: tzinfo, *, year: bool = False) -> str:
        local = moment.astimezone(zone)
        day = self.day(moment, zone)
        return f"{day} {local.year}, {local:%H:%M}" if year else f"{day}, {local:%H:%M}"

    def day(self, moment: datetime, zone: tzinfo) -> str:
        local = moment.astimezone(zone)
        weekday, month = (
            self.words[f"weekday.{local.weekday()}"],
            self.words[f"month.{local.month}"],
        )
        return f"{weekday} {local.day} {month}"

    def ago(self, span: timedelta) -> str:
        minutes = int(span.total_seconds() // 60)
        if minutes < 1:
            return self.words["time.now"]
        if minutes < 60:
            return self.plural("time.minutes", minutes)
        if minutes < 48 * 60:
            return self.plural("time.hours", minutes // 60)
        return self.plural("time.days", minutes // (24 * 60))

    def duration(self, seconds: float) -> str:
        minutes = max(1, round(seconds / 60))
        if minutes < 60:
            return self.text("time.duration.minutes", minutes=minutes)
        hours, minutes = divmod(minutes, 60)
        if hours < 48 and minutes == 0:
            return self.text("time.duration.full_hours", hours=hours)
        if hours < 48:
            return self.text("time.duration.hours", hours=hours, minutes=minutes)
        return self.text("time.duration.days", days=hours // 24, hours=hours % 24)

    @cached_property
    def chart_words(self) -> Mapping[str, Any]:
        """What the page's script needs."""
        return {
            **{
                k: v
                for k, v in self.words.items()
                if k.startswith(("chart.", "weekday.", "month."))
            },
            "thousands": self.thousands,
            "decimal": self.decimal,
        }


EN = Catalogue("en", ENGLISH)
