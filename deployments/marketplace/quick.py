"""GET /v1/offers from memory: the question that many ask often is answered without a thread, a database and a route.

A page that was made before, for a key that was looked at within the last second, from offers that are about as old: then the
bytes are there already. Whatever is missing goes the usual way, which leaves behind what the next one needs. A key that
was revoked may read offers, and nothing else, for a second more.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

from deployments.marketplace.buckets import Buckets
from deployments.marketplace.catalogue import Answer, Catalogue
from storage.renter import ApiKey
from tasks.renting.api_keys import ended

KEY_S = 1.0
MAX_KEYS = 10_000
PATH = "/v1/offers"
ASGIScope = MutableMapping[str, Any]
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Quick:
    """An answer that only has to be sent."""

    status: int
    headers: Headers
    body: bytes


class KnownKeys:
    """Keys that were found to open the offers a moment ago, by the digest of the header that they came in."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, tuple[ApiKey, float]] = OrderedDict()

    def learn(self, header: bytes, key: ApiKey) -> None:
        """This header is this key's; it may read."""
        with self._lock:
            self._known[_digest(header)] = (key, self._clock() + KEY_S)
            self._known.move_to_end(_digest(header))
            if len(self._known) > MAX_KEYS:
                self._known.popitem(last=False)

    def forget(self, key_id: str) -> None:
        """It was revoked or changed here."""
        with self._lock:
            for digest in [digest for digest, (key, _) in self._known.items() if key.key_id == key_id]:
                del self._known[digest]

    def find(self, header: bytes, now: datetime) -> ApiKey | None:
        """The key, if it was looked at just now and has not ended since."""
        found = self._known.get(_digest(header))
        if found is None or found[1] < self._clock() or ended(found[0], now):
            return None
        return found[0]


class QuickOffers:
    """What can be answered from memory."""

    def __init__(
        self, catalogue: Catalogue, keys: KnownKeys, per_key: Buckets, now: Callable[[], datetime]
    ) -> None:
        self._catalogue, self._keys, self._per_key, self._now = catalogue, keys, per_key, now

    def answer(self, scope: ASGIScope) -> Quick | None:
        """The whole answer; None when something of it has to be looked up."""
        if scope["path"] != PATH or scope["method"] != "GET":
            return None
        snapshot = self._catalogue.usable
        page = snapshot.cached(scope["query_string"]) if snapshot else None
        headers = dict(scope["headers"])
        if page is None or b"origin" in headers:  # another site's page: CORS decides
            return None
        key = self._keys.find(headers.get(b"authorization", b""), self._now())
        if key is None:
            return None
        grant = self._per_key.take(key.key_id)
        if not grant.is_granted:
            return None
        rate = [(name.lower().encode(), value.encode()) for name, value in grant.headers.items()]
        return _reply(page, headers, rate)


def _reply(page: Answer, headers: dict[bytes, bytes], rate: Headers) -> Quick:
    sent = [*rate, (b"etag", page.etag.encode()), *_ALWAYS]
    if headers.get(b"if-none-match") == page.etag.encode():
        return Quick(304, sent, b"")
    body = page.body
    if b"gzip" in headers.get(b"accept-encoding", b""):
        body = page.compressed
        sent.append((b"content-encoding", b"gzip"))
    sent += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return Quick(200, sent, body)


_ALWAYS = ((b"cache-control", b"private, max-age=1"), (b"vary", b"Accept-Encoding"))


def _digest(header: bytes) -> bytes:
    return blake2b(header, digest_size=16).digest()
