"""What was purchased, as far as the probe cares: for the share of the plan, and the second look."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from speedtrap_probe.run import Doubt


@dataclass(frozen=True, slots=True)
class Plan:
    """`below_mbps`: a download below it breaks the service's rule."""

    download_mbps: float
    upload_mbps: float | None = None
    below_mbps: float | None = None

    def to_json(self) -> dict[str, float | None]:
        return {
            "downloadMbps": self.download_mbps,
            "uploadMbps": self.upload_mbps,
            "belowMbps": self.below_mbps,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(document["downloadMbps"], document["uploadMbps"], document["belowMbps"])

    @classmethod
    def told(cls, probe: Mapping[str, Any] | None) -> Self | None:
        """As the service answers."""
        plan = (probe or {}).get("plan")
        if not probe or not plan:
            return None
        promised = float(plan["downloadMbps"])
        below = None
        for rule in probe["rules"]:
            if rule["metric"] == "DOWNLOAD" and rule["belowRatio"] is not None:
                below = rule["belowRatio"] * promised
            elif rule["metric"] == "DOWNLOAD":
                below = rule["belowMbps"]
        return cls(promised, plan["uploadMbps"], below)

    def doubt(self, ratio: float | None) -> Doubt | None:
        """When to measure once more: below *ratio* of the plan, or as the service's rule says.

        A ratio of 0 is never.
        """
        below = self.below_mbps if ratio is None else ratio * self.download_mbps
        if not below:
            return None
        return Doubt(below, f"the {below:,.0f} Mbps at which the plan's {self.download_mbps:,.0f} "
                            "Mbps are doubted")  # fmt: skip
