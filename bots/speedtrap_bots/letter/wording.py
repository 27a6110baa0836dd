"""A breach's rule and figures in words. Pure."""

from decimal import Decimal

from speedtrap_bots.letter.clean import clean
from speedtrap_bots.model import Breach, Rule

METRICS = {
    "DOWNLOAD": ("download", "Mbps"),
    "UPLOAD": ("upload", "Mbps"),
    "LATENCY": ("latency", "ms"),
    "JITTER": ("jitter", "ms"),
    "PACKET_LOSS": ("packet loss", "%"),
    "LOADED_LATENCY_DOWN": ("latency under download load", "ms"),
    "LOADED_LATENCY_UP": ("latency under upload load", "ms"),
}
PEAK = "at peak (weekdays 19:00 to 23:00)"
"""The FCC's hours, on the clocks of the plan's zone."""


def threshold(breach: Breach) -> float:
    """The rule's bound in the metric's unit (packet loss as a ratio)."""
    rule = breach.rule
    if rule.below_ratio is not None:
        # As graph does it: 0.55 of 100 is 55, and as binary floats a little more.
        return float(Decimal(repr(rule.below_ratio)) * Decimal(repr(breach.subscribed_mbps)))
    bounds = (rule.below_mbps, rule.above_ms, rule.above_ratio)
    return next((bound for bound in bounds if bound is not None), 0.0)


def broken_in_words(breach: Breach) -> str:
    """E.g. "below half of the subscribed 940 Mbps"."""
    rule = breach.rule
    if rule.below_ratio is not None:
        share = "half" if rule.below_ratio == 0.5 else f"{number(rule.below_ratio * 100)} %"
        return f"below {share} of the subscribed {number(breach.subscribed_mbps)} Mbps"
    return _limit_in_words(breach)


def kept_in_words(breach: Breach) -> str:
    """E.g. "at or above 470.0 Mbps"."""
    side = "above" if _below(breach.rule) else "below"
    return f"at or {side} {amount(threshold(breach), breach.rule.metric)}"


def _limit_in_words(breach: Breach) -> str:
    side = "below" if _below(breach.rule) else "above"
    return f"{side} {amount(threshold(breach), breach.rule.metric)}"


def _below(rule: Rule) -> bool:
    return rule.below_ratio is not None or rule.below_mbps is not None


def rule_in_words(breach: Breach) -> str:
    """E.g. "download below 50 % of the subscribed 940 Mbps (470 Mbps) more than 5 times ..."."""
    rule = breach.rule
    bound = _limit_in_words(breach)
    if rule.below_ratio is not None:
        share = number(rule.below_ratio * 100)
        limit, subscribed = number(threshold(breach)), number(breach.subscribed_mbps)
        bound = f"below {share} % of the subscribed {subscribed} Mbps ({limit} Mbps)"
    often = f"more than {rule.more_than} times in a row"
    if rule.out_of is not None:
        often = f"in more than {rule.more_than} of the last {rule.out_of} measurements"
    when = f" {PEAK}" if rule.only_at_peak else ""
    over = f", until {rule.recovered_after} in a row keep it" if rule.recovered_after > 1 else ""
    return f"{metric_in_words(rule)} {bound} {often}{when}{over}"


def metric_in_words(rule: Rule) -> str:
    """E.g. "download", or "download by ookla" where the rule looks at that tool alone."""
    name = METRICS.get(rule.metric, METRICS["DOWNLOAD"])[0]
    return f"{name} by {clean(rule.tool, 30)}" if rule.tool else name


def is_in_a_row(rule: Rule) -> bool:
    """Whether no good one can be between a breach's bad ones: else nobody may say so."""
    return rule.out_of is None and rule.recovered_after <= 1


def times_in_words(breach: Breach) -> str:
    """E.g. "6 measurements in a row"."""
    which = "measurements at peak" if breach.rule.only_at_peak else "measurements"
    return f"{breach.count} {which}{' in a row' if is_in_a_row(breach.rule) else ''}"


def number(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"


def plain(value: float, metric: str) -> str:
    return f"{value * 100:.1f}" if metric == "PACKET_LOSS" else f"{value:.1f}"


def amount(value: float | None, metric: str) -> str:
    if value is None:
        return "no figure"
    return f"{plain(value, metric)} {METRICS.get(metric, ('', 'Mbps'))[1]}"


def share_of(value: float | None, breach: Breach) -> str:
    if value is None or breach.rule.metric not in {"DOWNLOAD", "UPLOAD"}:
        return ""
    return f"{value / breach.subscribed_mbps * 100:.0f} %" if breach.subscribed_mbps > 0 else ""
