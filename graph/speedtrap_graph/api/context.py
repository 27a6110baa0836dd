"""What every resolver is handed: who calls, the services, and loaders that ask once for many."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from strawberry.dataloader import DataLoader
from strawberry.types import Info as StrawberryInfo

from speedtrap_graph.api.guards.bounds import Limits
from speedtrap_graph.api.services import Services
from speedtrap_graph.errors import ForbiddenError
from speedtrap_graph.http.callers import Caller, Role
from speedtrap_graph.http.quotas import Quotas
from speedtrap_graph.http.trusted import TrustedDocuments
from speedtrap_graph.services.judging.standards import Standards, load_standards_of
from speedtrap_graph.services.notices.channels import unable
from speedtrap_graph.store.database import Row
from speedtrap_graph.store.documents import BreachDocument, NoticeDocument, SilenceDocument

V = TypeVar("V")


@dataclass
class Context:
    """Of a request or a WebSocket. Loaders batch but do not remember: sockets live long."""

    caller: Caller
    services: Services
    limits: Limits = field(default_factory=Limits)
    quotas: Quotas = field(default_factory=Quotas)
    documents: TrustedDocuments | None = None
    """What a viewer's key may run; None: anything."""
    connection_params: dict[str, object] | None = None
    standards: DataLoader[str, Standards] = field(init=False)
    last_runs: DataLoader[str, Row | None] = field(init=False)
    breaches: DataLoader[str, BreachDocument | None] = field(init=False)
    notices: DataLoader[str, list[NoticeDocument]] = field(init=False)
    digests: DataLoader[str, NoticeDocument | None] = field(init=False)
    open_breaches: DataLoader[str, BreachDocument | None] = field(init=False)
    silences: DataLoader[str, SilenceDocument | None] = field(init=False)
    contents: DataLoader[str, list[bytes]] = field(init=False)
    unable: DataLoader[str, bool] = field(init=False)
    """Of a channel: whether it has nobody to write to."""

    def __post_init__(self) -> None:
        self.standards = _loader(self._standards)
        self.last_runs = _loader(self._last_runs)
        self.breaches = _loader(self._breaches)
        self.notices = _loader(self._notices)
        self.digests = _loader(self._digests)
        self.open_breaches = _loader(self._open_breaches)
        self.silences = _loader(self._silences)
        self.contents = _loader(self._contents)
        self.unable = _loader(self._unable)

    def own(self, probe: str | None) -> str | None:
        """The probe to read: a probe's key reads its own, which it need not name."""
        if self.caller.role is not Role.PROBE:
            return probe
        if probe not in {None, self.caller.name}:
            raise ForbiddenError(
                f"the key of probe {self.caller.name!r} reads its own runs only",
                field="probe",
                allowed=[self.caller.name],
            )
        return self.caller.name

    def may_see(self, probe: str) -> bool:
        return self.caller.role is not Role.PROBE or probe == self.caller.name

    async def _standards(self, probes: list[str]) -> list[Standards]:
        found = await load_standards_of(self.services.store, list(set(probes)))
        return [found[name] for name in probes]

    async def _last_runs(self, probes: list[str]) -> list[Row | None]:
        found = await self.services.browse.last_runs(list(set(probes)))
        return [found.get(name) for name in probes]

    async def _breaches(self, ids: list[str]) -> list[BreachDocument | None]:
        found = await self.services.browse.breaches_by_id(ids)
        return [found.get(key) for key in ids]

    async def _notices(self, breaches: list[str]) -> list[list[NoticeDocument]]:
        by_breach: dict[str, list[NoticeDocument]] = defaultdict(list)
        for notice in await self.services.browse.notices_of(breaches):
            by_breach[notice.breach].append(notice)
        return [by_breach[key] for key in breaches]

    async def _digests(self, keys: list[str]) -> list[NoticeDocument | None]:
        found = await self.services.browse.notices_by_id(keys)
        return [found.get(key) for key in keys]

    async def _unable(self, channels: list[str]) -> list[bool]:
        found = await unable(self.services.store, self.services.clock(), set(channels))
        return [name in found for name in channels]

    async def _open_breaches(self, probes: list[str]) -> list[BreachDocument | None]:
        found = await self.services.browse.open_breaches(probes)
        by_probe = {breach.probe: breach for breach in found}
        return [by_probe.get(name) for name in probes]

    async def _silences(self, probes: list[str]) -> list[SilenceDocument | None]:
        found = await self.services.browse.silences(probes, self.services.clock())
        by_probe = {silence.id: silence for silence in found}
        return [by_probe.get(name) for name in probes]

    async def _contents(self, notices: list[str]) -> list[list[bytes]]:
        found = await self.services.browse.contents_of(notices)
        return [found.get(key, []) for key in notices]


def _loader(load: Callable[[list[str]], Awaitable[list[V]]]) -> DataLoader[str, V]:
    return DataLoader(load_fn=load, cache=False)


Info = StrawberryInfo[Context, None]
