"""What one installation does with a run: measure it, write it down, bring it to the service."""

from dataclasses import dataclass

from speedtrap_probe import conditions, report
from speedtrap_probe import run as rounds
from speedtrap_probe.errors import ProbeError
from speedtrap_probe.model import Conditions, Run
from speedtrap_probe.outbox import Outbox
from speedtrap_probe.run import Watcher
from speedtrap_probe.settings import Settings
from speedtrap_probe.submit import Delivery, Service, deliver
from speedtrap_probe.tool import Progress, Setup, Tool


@dataclass(frozen=True, slots=True)
class Session:
    """A probe with its settings and its tools. Without a key it keeps to itself."""

    settings: Settings
    outbox: Outbox | None = None
    service: Service | None = None
    tools: tuple[Tool, ...] = ()

    def measure(self, watcher: Watcher, progress: Progress) -> Run:
        """One round."""
        setup = Setup(
            service_url=self.settings.url,
            options=self.settings.options,
            proxy=self.settings.proxy,
            window_s=self.settings.window_s,
            progress=progress,
            ip_version=self.settings.ip_version,
            bind=self.settings.bind,
        )
        return rounds.measure(self.settings.name, self.tools, setup, self._conditions, watcher)

    def record(self, run: Run) -> list[str]:
        """Queues the run and writes the CSV; returns what to tell. Raises if neither worked."""
        told, failed = [], 0
        if self.outbox is not None:
            try:
                if lost := self.outbox.put([run]):
                    told.append(f"the outbox is full: its {lost} oldest runs are only in the CSV")
            except ProbeError as error:
                told.append(str(error))
                failed += 1
        try:
            written = report.append(self.settings.csv, run)
        except ProbeError as error:
            told.append(str(error))
            failed += 1
        else:
            if written != self.settings.csv:
                told.append(
                    f"{self.settings.csv} is another program's report; written to {written} "
                    f"(the old one can be imported: probe import {self.settings.csv})"
                )
        if failed == (2 if self.outbox is not None else 1):
            raise ProbeError("the run could not be kept: " + "; ".join(told))
        return told

    def deliver(self) -> Delivery | None:
        """Empties the outbox; None without a key."""
        if self.outbox is None or self.service is None:
            return None
        return deliver(self.outbox, self.service)

    def _conditions(self) -> Conditions:
        return conditions.observe(
            self.settings.checks, through_proxy=self.settings.proxy is not None
        )
