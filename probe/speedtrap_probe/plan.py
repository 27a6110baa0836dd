"""What was purchased, as far as the probe cares: for the share of the plan, and the second look."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from speedtrap_probe.model import positive
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
        """As the service answers; raises LookupError, TypeError, ValueError or AttributeError."""
        plan = (probe or {}).get("plan")
        if not probe or not plan:
            return None
        promised, below = positive(plan["downloadMbps"]), None
        if promised is None:
            raise ValueError("no downloadMbps")
        for rule in probe["rules"]:
            ratio = positive(rule["belowRatio"])
            if rule["metric"] == "DOWNLOAD":
                below = positive(rule["belowMbps"]) if ratio is None else ratio * promised
        return cls(promised, positive(plan["uploadMbps"]), below)

    def doubt(self, ratio: float | None) -> Doubt | None:
        """When to measure once more: below *ratio* of the plan, or as the service's rule says.

        A ratio of 0 is never.
        """
        below = self.below_mbps if ratio is None else ratio * self.download_mbps
        if not below:
            return None
        return Doubt(below, f"the {below:,.0f} Mbps at which the plan's {self.download_mbps:,.0f} "
                            "Mbps are doubted")  # fmt: skip
