"""HTTP and HTTPS connections that receive only so many bytes in their life, whatever the bytes are."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import httpx

from tasks.errors import LimitExceeded


def budgeted_transport(
    *,
    budget_bytes: int,
    connections: int,
    tls: ssl.SSLContext | None = None,
    check: Callable[[bytes], None] | None = None,
) -> httpx.AsyncHTTPTransport:
    """One request a connection; LimitExceeded when a server sends more than the budget.

    `tls`: whom to trust under https; `check` raises for a certificate (DER) that may not be shown, before anything is sent.
    """
    transport = httpx.AsyncHTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trust_env=False)
    # httpx has no argument for it: without the budget, endless interim responses are read until the deadline.
    transport._pool = httpcore.AsyncConnectionPool(  # noqa: SLF001  see above
        ssl_context=tls,
        max_connections=connections,
        max_keepalive_connections=0,
        network_backend=_BudgetedBackend(budget_bytes, check),
    )
    return transport


class _BudgetedBackend(httpcore.AsyncNetworkBackend):
    """Connections that receive only so many bytes in their life."""

    def __init__(self, budget_bytes: int, check: Callable[[bytes], None] | None) -> None:
        self._real, self._budget_bytes, self._check = httpcore.AnyIOBackend(), budget_bytes, check

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the interface's name
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._real.connect_tcp(host, port, timeout, local_address, socket_options)
        return _BudgetedStream(stream, self._budget_bytes, self._check)


class _BudgetedStream(httpcore.AsyncNetworkStream):
    def __init__(
        self,
        real: httpcore.AsyncNetworkStream,
        budget_bytes: int,
        check: Callable[[bytes], None] | None = None,
    ) -> None:
        self._real, self._budget_bytes, self._left, self._check = real, budget_bytes, budget_bytes, check

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  the interface's name
        data = await self._real.read(max_bytes, timeout)
        self._left -= len(data)
        if self._left < 0:
            raise LimitExceeded("everything received", f"{self._budget_bytes} bytes")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  the interface's name
        await self._real.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._real.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  the interface's name
    ) -> httpcore.AsyncNetworkStream:
        """The same budget for what is inside; OpenSSL bounds the handshake's own messages."""
        stream = await self._real.start_tls(ssl_context, server_hostname, timeout)
        if self._check is not None:
            try:
                self._check(stream.get_extra_info("ssl_object").getpeercert(binary_form=True) or b"")
            except BaseException:
                await stream.aclose()
                raise
        return _BudgetedStream(stream, self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._real.get_extra_info(info)
