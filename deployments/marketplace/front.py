"""What every request goes through before any route sees it, and every answer on its way out.

    whose address it is -> its rate -> size of the body -> whether the market is where it was asked for -> time -> routes
    headers of the answer <- problems, or pages for browsers, instead of tracebacks <-

Plain ASGI: a body is counted as it comes, and streams pass through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from deployments.marketplace.guard import neighbourhood
from deployments.marketplace.market import Desk
from deployments.marketplace.pages.frame import is_page, refusal_page, wants_page
from deployments.marketplace.problems import Refused, answer, problem_of
from deployments.marketplace.proxies import client_of, scheme_of
from deployments.marketplace.quick import Quick
from tasks.origins import is_loopback, origin_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIScope = MutableMapping[str, Any]
App = Callable[[ASGIScope, Receive, Send], Awaitable[None]]

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"cross-origin-resource-policy", b"same-site"),
)
EXEC_S, CONTENT_S = 360.0, 3_600.0


class Front:
    """The outermost part of the app."""

    def __init__(self, app: App, desk: Desk) -> None:
        self._app, self._desk = app, desk
        self._refreshing: asyncio.Future[Any] | None = None

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """One request; other kinds of connections are not ours."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = self._from_its_client(scope)
        exchange = _Exchange(scope, receive, send, self._desk.market.limits.body_bytes)
        try:
            self._check_address(scope)
            exchange.check_length()
            if (quick := self._desk.quick.answer(scope)) is not None:
                self._refresh()
                await exchange.send_quick(quick)
                return
            exchange.scope = self._at_our_place(scope)
            await self._within_time(exchange, _limit_s(scope, self._desk.market.limits.request_s))
        except Exception as error:  # noqa: BLE001  the last place before the server: nothing of ours may get out
            await exchange.end_with(error)

    def _refresh(self) -> None:
        """Have the offers read anew in a thread, when they are not fresh any more and nobody does it yet."""
        if self._desk.catalogue.fresh is None and (self._refreshing is None or self._refreshing.done()):
            loop = asyncio.get_running_loop()
            self._refreshing = loop.run_in_executor(None, self._desk.catalogue.snapshot)
            self._refreshing.add_done_callback(_forget)

    def _from_its_client(self, scope: ASGIScope) -> ASGIScope:
        """The request with the address of whoever asks, where a proxy of ours stands between."""
        trusted, peer = self._desk.market.trusted_proxies, scope.get("client")
        if not trusted or not peer:
            return scope
        return {
            **scope,
            "client": (client_of(peer[0], scope["headers"], trusted), peer[1]),
            "scheme": scheme_of(peer[0], scope["headers"], trusted, scope["scheme"]),
        }

    def _at_our_place(self, scope: ASGIScope) -> ASGIScope:
        """The request with the market's own address as its Host, or with none, for which there is no page: it is another's."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        others = [(name, value) for name, value in scope["headers"] if name != b"host"]
        origin = origin_of(scope["scheme"], hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        named = self._desk.market.origins
        if origin is not None and (origin in named if named else is_loopback(origin)):
            host = origin.partition("://")[2].encode()
            return {**scope, "headers": [(b"host", host), *others]}
        if is_page(scope["path"]):
            raise _misdirected(named)
        return {**scope, "headers": others}

    def _check_address(self, scope: ASGIScope) -> None:
        client = scope.get("client")
        grant = self._desk.per_address.take(neighbourhood(client[0] if client else ""))
        if not grant.is_granted:
            raise Refused(
                429,
                "TOO_MANY_REQUESTS",
                "too many requests come from this address",
                "wait as long as Retry-After says",
                headers=grant.headers,
            )

    async def _within_time(self, exchange: _Exchange, limit_s: float | None) -> None:
        """Run the routes; when they take too long, the client is told so, and what they do goes on to its end unheard."""
        if limit_s is None:
            await self._app(exchange.scope, exchange.receive, exchange.send)
            return
        task = asyncio.ensure_future(self._app(exchange.scope, exchange.receive, exchange.send))
        try:
            done, _ = await asyncio.wait({task}, timeout=limit_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            detail = f"this took longer than {limit_s:g} s"
            late = Refused(
                503, "TOO_LATE", detail, "ask what came of it, then try again", headers={"Retry-After": "5"}
            )
            await exchange.refuse(late)
            task.cancel()
            task.add_done_callback(_forget)
            return
        task.result()


class _Exchange:
    """One request and its answer: the body counted, the headers added, answered once."""

    def __init__(self, scope: ASGIScope, receive: Receive, send: Send, body_bytes: int) -> None:
        self.scope = scope
        self._receive, self._send, self._left_bytes = receive, send, body_bytes
        self._most_bytes = body_bytes
        self._has_begun = self._is_over = False
        length = dict(scope["headers"]).get(b"content-length", b"0")
        self._is_announced_too_large = not length.isdigit() or int(length[:20]) > body_bytes

    async def receive(self) -> Message:
        """The next piece of the body; 413 once there are too many bytes."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._left_bytes -= len(message.get("body", b""))
            if self._left_bytes < 0:
                raise HTTPException(413, self._too_large().detail)  # the one kind that FastAPI lets through
        return message

    async def send(self, message: Message) -> None:
        """A piece of the answer, unless somebody has answered meanwhile."""
        if self._is_over:
            return
        if message["type"] == "http.response.start":
            self._has_begun = True
            rate = self.scope.get("state", {}).get("rate", {})
            headers = [*message.get("headers", ())]
            names = {name.lower() for name, _ in headers}
            headers += [(name, value) for name, value in HEADERS if name not in names]
            if b"cache-control" not in names:
                headers.append((b"cache-control", b"no-store"))
            headers += [
                (name.lower().encode(), value.encode())
                for name, value in rate.items()
                if name.lower().encode() not in names
            ]
            message = {**message, "headers": headers}
        await self._send(message)

    async def send_quick(self, quick: Quick) -> None:
        """Send what is whole already."""
        await self.send({"type": "http.response.start", "status": quick.status, "headers": quick.headers})
        await self.send({"type": "http.response.body", "body": quick.body})

    async def end_with(self, error: Exception) -> None:
        """Answer what went wrong, unless somebody did already."""
        if not self._has_begun:
            await self.refuse(problem_of(error))
        self._is_over = True

    async def refuse(self, refused: Refused) -> None:
        """Answer this instead; where an answer has begun, it just ends."""
        if not self._has_begun:
            is_browser = wants_page(self.scope)
            response: Response = refusal_page(Request(self.scope), refused) if is_browser else answer(refused)
            await response(self.scope, self._receive, self.send)
        self._is_over = True

    def check_length(self) -> None:
        """Refused when the body is said to be too large: none of it is read."""
        if self._is_announced_too_large:
            raise self._too_large()

    def _too_large(self) -> Refused:
        return Refused(
            413,
            "TOO_LARGE",
            f"a body has at most {self._most_bytes} bytes",
            "send less",
            headers={"Connection": "close"},
        )


def _misdirected(named: tuple[str, ...]) -> Refused:
    mend = f"open {named[0]}" if named else "open http://localhost with the market's port"
    return Refused(
        421,
        "MISDIRECTED",
        "the market has no pages at this address",
        f"{mend}; its operator names its addresses in SUBNET_MARKET_ORIGINS",
    )


def _limit_s(scope: ASGIScope, request_s: float) -> float | None:
    """How long the routes may take; None: it is a feed, which bounds itself."""
    path = scope["path"]
    is_api_feed = b"follow=" in scope.get("query_string", b"") and path.startswith("/v1/")
    if is_api_feed or path.endswith("/logs/follow"):
        return None
    if path.endswith(("/exec", "/console")):
        return EXEC_S
    return CONTENT_S if path.endswith("/content") else request_s


def _forget(task: asyncio.Future[Any]) -> None:
    """Nobody waits for it any more: what it raised is of no use."""
    if not task.cancelled():
        task.exception()
