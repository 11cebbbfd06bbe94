"""Webhooks: what happens to leases is put into an outbox and sent, signed, until it is taken or a day has passed.

    events -> deliveries (in the transaction that moves the webhook's cursor) -> POST -> delivered | tried again | given up

An address must resolve to public addresses only, and the connection goes to the very address that was looked at; no
redirect is followed. On the local subnet this machine itself may be told. A delivery can come twice: its id says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import logging
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Protocol
from urllib.parse import urlsplit

import httpx
from starlette.concurrency import run_in_threadpool

from deployments.marketplace import views
from deployments.marketplace.market import Desk
from deployments.marketplace.problems import Refused
from storage.errors import StorageError
from storage.rental import LeaseEvent
from storage.renter import Delivery, DeliveryState, Webhook
from storage.webhooks import delivery_id

SIGNING_PREFIX = "whsec_"
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=10), timedelta(hours=1)
GIVE_UP = timedelta(days=1)
DISABLE_AFTER = timedelta(days=5)
KEEP = timedelta(days=30)
TAKEN = timedelta(seconds=60)
"""While a delivery is being sent, nobody else sends it; after a kill -9 it is due again then."""
DEADLINE_S, LOOK_S = 10.0, 1.0
AT_ONCE, BATCH = 10, 100
MAX_URL_CHARACTERS = 2_000
USER_AGENT = "subnet-webhooks/1"
_EMBEDDING = tuple(
    ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)
"""IPv6 addresses that lead to an IPv4 address inside of them."""
_log = logging.getLogger("subnet.marketplace")


class AddressRefused(Exception):
    """An address that is not told: it is not public, or there is none."""


Resolve = Callable[[str, int], Awaitable[list[str]]]


class Post(Protocol):
    """Sends one request; the seam to the network."""

    async def __call__(self, url: str, address: str, headers: dict[str, str], body: bytes) -> int:
        """The status of the answer; httpx.HTTPError when there is none."""


def subject_of(webhook_id: str) -> str:
    """What a webhook's secret is sealed for."""
    return f"webhook/{webhook_id}"


def check_address(url: str, *, is_local: bool) -> str:
    """The URL, if it can be told at all: https, or on the local subnet http to this machine; Refused else."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_https = parts.scheme == "https"
    is_own = parts.scheme == "http" and is_local and host in ("127.0.0.1", "localhost", "::1")
    if (
        not (is_https or is_own)
        or parts.username is not None
        or parts.fragment
        or len(url) > MAX_URL_CHARACTERS
    ):
        expected = "https://host/path, without a user and without a fragment"
        raise Refused(
            422, "BAD_URL", f"body.url is none that is told; expected {expected}", f"give {expected}"
        )
    with contextlib.suppress(ValueError):
        if not is_local and not is_public(host):
            raise Refused(
                422, "BAD_URL", f"body.url leads to {host}, which is not public", "give a public address"
            )
    return url


def is_public(address: str) -> bool:
    """Whether an IP address is one that everybody reaches; ValueError for what is none."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in _EMBEDDING):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def choose(addresses: Iterable[str], *, is_local: bool) -> str:
    """The first of a name's addresses; AddressRefused when one of them is not public, or there is none."""
    found = list(addresses)
    if not found:
        raise AddressRefused("the name has no address")
    for address in found:
        is_own = is_local and ipaddress.ip_address(address).is_loopback
        if not is_own and not is_public(address):
            raise AddressRefused(f"the name leads to {address}, which is not public")
    return found[0]


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """`v1=` and the hex HMAC-SHA256 of `<timestamp>.<body>` under the webhook's secret."""
    return "v1=" + hmac.new(secret.encode(), f"{timestamp}.".encode() + body, sha256).hexdigest()


def made_of(webhook: Webhook, events: Iterable[LeaseEvent], now: datetime) -> list[Delivery]:
    """The deliveries of the events that a webhook is told of."""
    return [
        Delivery(
            delivery_id=delivery_id(webhook.webhook_id, event.sequence),
            webhook_id=webhook.webhook_id,
            renter_id=webhook.renter_id,
            lease_id=event.lease_id,
            kind=event.kind,
            body=views.event(event).model_dump_json(),
            created_at=now,
            next_at=now,
        )
        for event in events
        if event.renter_id == webhook.renter_id and (not webhook.kinds or event.kind in webhook.kinds)
    ]


def after_attempt(delivery: Delivery, status: int, fault: str, now: datetime, jitter: float) -> Delivery:
    """How a delivery stands after an attempt; `jitter` from 0 to 1 spreads the next ones. A fault of '' is success."""
    tried = replace(delivery, attempts=delivery.attempts + 1, http_status=status, fault=fault)
    if not fault:
        return replace(tried, state=DeliveryState.DELIVERED, ended_at=now)
    wait = min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(delivery.attempts, 20))
    next_at = now + wait * (0.5 + jitter / 2)
    if next_at - delivery.created_at > GIVE_UP:
        return replace(tried, state=DeliveryState.GIVEN_UP, ended_at=now)
    return replace(tried, next_at=next_at)


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends deliveries: where a name leads, and the request itself, are passed in."""

    resolve: Resolve
    post: Post
    jitter: Callable[[], float] = random.random

    async def send(self, desk: Desk, delivery: Delivery) -> None:
        """One attempt, written down."""
        now = desk.market.now()
        taken = replace(delivery, next_at=now + TAKEN)
        if not await run_in_threadpool(desk.stores.webhooks.take, delivery, taken.next_at):
            return
        webhook = await run_in_threadpool(desk.stores.webhooks.get, delivery.renter_id, delivery.webhook_id)
        if webhook is None:
            return
        status, fault = await self._attempt(desk, webhook, delivery, now)
        after = after_attempt(taken, status, fault, desk.market.now(), self.jitter())
        await run_in_threadpool(desk.stores.webhooks.settle, taken, after)

    async def _attempt(
        self, desk: Desk, webhook: Webhook, delivery: Delivery, now: datetime
    ) -> tuple[int, str]:
        """The status that came, 0 for none, and what went wrong, in words."""
        body, timestamp = delivery.body.encode(), int(now.timestamp())
        try:
            parts = urlsplit(webhook.url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            secret = desk.market.sealer.open(subject_of(webhook.webhook_id), webhook.sealed)["secret"]
            headers = {
                "Content-Type": "application/json",
                "User-Agent": USER_AGENT,
                "Webhook-Id": delivery.delivery_id,
                "Webhook-Timestamp": str(timestamp),
                "Webhook-Signature": signature(str(secret), timestamp, body),
            }
            async with asyncio.timeout(DEADLINE_S):
                addresses = await self.resolve(parts.hostname or "", port)
                address = choose(addresses, is_local=desk.market.is_local)
                status = await self.post(webhook.url, address, headers, body)
        except AddressRefused as error:
            return 0, str(error)
        except (httpx.HTTPError, OSError, ssl.SSLError, StorageError) as error:
            return 0, f"no answer: {type(error).__name__}"
        except TimeoutError:
            return 0, f"no answer within {DEADLINE_S:g} s"
        except Exception as error:  # noqa: BLE001  an address that nothing can be made of is its renter's alone
            _log.exception("webhook %s", webhook.webhook_id)
            return 0, f"it can't be told: {type(error).__name__}"
        return status, "" if 200 <= status < 300 else f"it answered {status}, expected 2xx"


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, as this machine's resolver has them."""
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class HttpPost:
    """Posts to the address that was looked at, under the name that it was found by; of the answer only the status is read."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            transport=transport, trust_env=False, follow_redirects=False, timeout=DEADLINE_S
        )

    async def __call__(self, url: str, address: str, headers: dict[str, str], body: bytes) -> int:
        """The status."""
        parts = httpx.URL(url)
        pinned = parts.copy_with(host=address)
        host = parts.netloc.decode("ascii")
        request = self._client.build_request("POST", pinned, headers={**headers, "Host": host}, content=body)
        request.extensions["sni_hostname"] = parts.host
        answer = await self._client.send(request, stream=True)
        try:
            return answer.status_code
        finally:
            await answer.aclose()

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()


async def put_out(desk: Desk) -> int:
    """Make deliveries of what happened since each webhook was told last; how many."""
    count = 0
    for webhook in await run_in_threadpool(desk.stores.webhooks.enabled):
        events = await run_in_threadpool(
            desk.stores.events.after, webhook.after_sequence, renter_id=webhook.renter_id, limit=BATCH
        )
        if events:
            made = made_of(webhook, events, desk.market.now())
            if await run_in_threadpool(desk.stores.webhooks.put, webhook, made, events[-1].sequence):
                count += len(made)
    return count


async def deliver_due(desk: Desk, sender: Sender) -> int:
    """Send what is due, a bounded number at once; how many were tried."""
    due = await run_in_threadpool(desk.stores.webhooks.due, desk.market.now(), BATCH)
    room = asyncio.Semaphore(AT_ONCE)

    async def one(delivery: Delivery) -> None:
        async with room:
            await sender.send(desk, delivery)

    await asyncio.gather(*(one(delivery) for delivery in due))
    return len(due)


async def keep_house(desk: Desk) -> None:
    """Disable what has failed for days; forget what ended long ago."""
    now, webhooks = desk.market.now(), desk.stores.webhooks
    for name in await run_in_threadpool(webhooks.disable_failing, now - DISABLE_AFTER, now):
        _log.warning("webhook %s was disabled: nothing was taken for %d days", name, DISABLE_AFTER.days)
    await run_in_threadpool(webhooks.forget, now - KEEP)


@contextlib.asynccontextmanager
async def delivering(desk: Desk, sender: Sender | None = None) -> AsyncIterator[None]:
    """Deliver for as long as the block lasts."""
    post = None if sender else HttpPost()
    used = sender or Sender(resolve, post)  # type: ignore[arg-type]
    task = asyncio.create_task(_loop(desk, used), name="webhooks")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if post is not None:
            await post.close()


async def _loop(desk: Desk, sender: Sender) -> None:
    next_house = 0.0
    loop = asyncio.get_running_loop()
    async with desk.pulse.listen() as ear:
        while True:
            try:
                if loop.time() >= next_house:
                    next_house = loop.time() + 60.0
                    await keep_house(desk)
                await put_out(desk)
                tried = await deliver_due(desk, sender)
            except StorageError as error:
                _log.warning("webhooks wait for the database: %s", error)
                await asyncio.sleep(5 * LOOK_S)
                continue
            except Exception:  # noqa: BLE001  one that can't be told must not keep all others from being told
                _log.exception("webhooks go on")
                await asyncio.sleep(5 * LOOK_S)
                continue
            if tried < BATCH:
                await ear.hears(LOOK_S)
