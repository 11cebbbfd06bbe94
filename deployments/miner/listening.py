"""The agent's port, for TLS and plain HTTP: the first byte tells which it is, and costs nobody a handshake who may not have one.

    accept -> so many at once, of all and of one address -> a byte within seconds -> 0x16: so many handshakes a second of
    one address -> TLS -> HTTP                         anything else -> HTTP

Validators of an earlier version, and those that have not read the chain since, speak plain HTTP; which of the two a
validator speaks is its own choice, by what the chain tells it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Protocol, cast

import uvicorn

from deployments.miner.bounds import Bounds, Throttle, bounded_connection, network_of
from tasks.errors import SettingError
from tasks.onboarding.agent import EVERYWHERE

HANDSHAKE_BYTE = b"\x16"
HANDSHAKES = 2
"""For each request that an address may make: those over their rate are told so as long as they can be."""
PAUSE_S = 0.1
"""When there is no descriptor left."""


class Serves(Protocol):
    """An ASGI app with bounds for its connections: `deployments.miner.agent.Door`."""

    bounds: Bounds

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""

    async def close(self) -> None:
        """Release what it holds."""


@contextlib.asynccontextmanager
async def serve(
    app: Serves, host: str, port: int, tls: Callable[[], ssl.SSLContext] | None = None
) -> AsyncIterator[int]:
    """Serve the door while the context is open; yields the port (0: a free one). SettingError when it is taken.

    `tls`: with whose newest context it answers those that begin so, beside plain HTTP on the same port.
    """
    listener = _listen(host, port)
    server = _Server(
        uvicorn.Config(
            app,
            http=bounded_connection(app.bounds),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=2,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=app.bounds.header_bytes,
        )
    )
    bound_port: int = listener.getsockname()[1]
    own = [listener] if tls is None else []
    serving = asyncio.create_task(server.serve(sockets=own), name=f"door {host}:{bound_port}")
    accepting = None if tls is None else asyncio.create_task(_accept(server, listener, tls, app.bounds))
    try:
        # The listener is open: whoever connects before the server is up waits in its queue.
        yield bound_port
    finally:
        if accepting is not None:
            accepting.cancel()
            await asyncio.wait([accepting])  # before its descriptor is anybody else's
            listener.close()
        server.should_exit = True
        await serving
        await app.close()


class _Server(uvicorn.Server):
    """Without signal handlers: whoever opened the door closes it, and many doors share one process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, and say so."""
        await super().startup(sockets)
        self.is_up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave the process's signals alone."""
        yield


async def _accept(
    server: _Server, listener: socket.socket, tls: Callable[[], ssl.SSLContext], bounds: Bounds
) -> None:
    """Bring connections to a server that has no listener of its own."""
    await server.is_up.wait()
    config = server.config
    make_one = cast("Callable[..., asyncio.Protocol]", config.http_protocol_class)
    make = partial(make_one, config=config, server_state=server.server_state, app_state={})
    ways = TwoWays(listener, make, tls, bounds)
    try:
        await ways.accept()
    finally:
        ways.close()


class TwoWays:
    """The connections of one listener until they are HTTP's."""

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        tls: Callable[[], ssl.SSLContext],
        bounds: Bounds,
    ) -> None:
        self._listener, self._make_protocol, self._tls, self._bounds = listener, make_protocol, tls, bounds
        self._coming: Counter[str] = Counter()
        self._handshakes = Throttle(
            bounds.requests_per_s * HANDSHAKES, bounds.burst * HANDSHAKES, bounds.remembered_addresses
        )
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        self._listener.settimeout(0.0)
        while True:
            try:
                link, address = await loop.sock_accept(self._listener)
            except OSError:
                await asyncio.sleep(PAUSE_S)
                continue
            network = network_of(address[0])
            if self._is_one_too_many(network):
                link.close()
                continue
            self._coming[network] += 1
            task = loop.create_task(self._bring_in(link, network))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Hang up on all that are not HTTP's yet."""
        for task in self._tasks:
            task.cancel()

    def _is_one_too_many(self, network: str) -> bool:
        return (
            self._coming.total() >= self._bounds.connections
            or self._coming[network] >= self._bounds.connections_per_address
        )

    async def _bring_in(self, link: socket.socket, network: str) -> None:
        try:
            async with asyncio.timeout(self._bounds.first_byte_s):
                first = await _first_byte(link)
            if first != HANDSHAKE_BYTE:
                await self._hand_over(link, None)
            elif self._handshakes.allows(network, now_s=time.monotonic()):
                await self._hand_over(link, self._tls())
            else:
                link.close()
        except (OSError, TimeoutError):
            link.close()
        except BaseException:
            link.close()
            raise
        finally:
            self._coming[network] -= 1
            if not self._coming[network]:
                del self._coming[network]

    async def _hand_over(self, link: socket.socket, tls: ssl.SSLContext | None) -> None:
        limit_s = None if tls is None else self._bounds.first_byte_s
        await asyncio.get_running_loop().connect_accepted_socket(
            self._make_protocol,
            link,
            ssl=tls,
            ssl_handshake_timeout=limit_s,
            ssl_shutdown_timeout=limit_s,
        )


async def _first_byte(link: socket.socket) -> bytes:
    """The first byte that comes, left where it is; empty when the other side hung up."""
    loop = asyncio.get_running_loop()
    link.settimeout(0.0)
    while True:
        try:
            return link.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            readable = loop.create_future()
            loop.add_reader(link.fileno(), _settle, readable)
            try:
                await readable
            finally:
                loop.remove_reader(link.fileno())


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _listen(host: str, port: int) -> socket.socket:
    is_dual = host == EVERYWHERE and socket.has_dualstack_ipv6()
    if host == EVERYWHERE and not is_dual:
        host = "0.0.0.0"  # noqa: S104  all there is
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=128, dualstack_ipv6=is_dual)
    except (OSError, OverflowError) as error:
        raise SettingError("miner address", f"{host}:{port}", f"a free local address ({error})") from None
    # Its connections inherit it: asyncio does not set it for them, and an answer's second piece waited for 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
