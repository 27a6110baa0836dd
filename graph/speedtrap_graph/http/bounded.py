# ruff: noqa: ASYNC109 - the time-outs are parameters of httpcore's own base classes
"""An HTTP client that reads no more than it must from a server that means harm.

httpx bounds one read by time and one header block by size. It reads interim answers (`100
Continue`) without end, and without giving way to any other task while more of them are there.
"""

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpcore
import httpx

_AT_ONCE_BYTES = 4096
"""What one read may bring is looked through before any other task has its turn."""


def bounded(client: httpx.AsyncClient, most_bytes: int) -> httpx.AsyncClient:
    """*client*, whose answers end with a ReadError after *most_bytes* each, as they come."""
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001 - as said below
        if isinstance(transport, httpx.AsyncHTTPTransport):
            # httpx has no parameter for it, and a transport of our own would ignore the
            # environment's proxies. The attacks in the tests notice if this place moves.
            pool = transport._pool  # noqa: SLF001 - as said above
            backend = _Backend(pool._network_backend, most_bytes)  # noqa: SLF001 - as said above
            pool._network_backend = backend  # noqa: SLF001 - as said above
    return client


@dataclass
class _Backend(httpcore.AsyncNetworkBackend):
    inner: httpcore.AsyncNetworkBackend
    most_bytes: int

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = await self.inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(found, self.most_bytes)

    async def sleep(self, seconds: float) -> None:
        await self.inner.sleep(seconds)


@dataclass
class _Stream(httpcore.AsyncNetworkStream):
    inner: httpcore.AsyncNetworkStream
    most_bytes: int
    read_bytes: int = field(default=0, init=False)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = await self.inner.read(min(max_bytes, _AT_ONCE_BYTES), timeout)
        self.read_bytes += len(data)
        if self.read_bytes > self.most_bytes:
            raise httpcore.ReadError(f"an answer of more than {self.most_bytes} bytes")
        await asyncio.sleep(0)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.read_bytes = 0  # a new request
        await self.inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self.inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        inner = await self.inner.start_tls(ssl_context, server_hostname, timeout)
        return _Stream(inner, self.most_bytes)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)
