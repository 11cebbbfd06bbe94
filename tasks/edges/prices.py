"""Asking the market: every source over HTTPS, all side by side, each with one bounded try.

Bounds: a deadline for everything, a budget of bytes for whatever a connection receives, no redirect, no compression, no
proxy, https only but for loopback. Nothing that a source does raises: it becomes a `PriceAnswer` with a fault.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from storage.records import PriceAnswer, Quote
from tasks.edges.budget import budgeted_transport
from tasks.edges.wire import plain
from tasks.errors import BadAnswer, LimitExceeded, SettingError, SourceAway
from tasks.pricing.book import PriceBook, book_of
from tasks.pricing.sources import Source

DEFAULT_BOOK = Path(__file__).parents[1] / "pricing" / "default.toml"
MAX_BOOK_BYTES = 256 * 1024


class Market(Protocol):
    """Whoever knows what the market pays."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the sources that are asked."""

    async def ask(self, names: Collection[str], now: datetime) -> tuple[PriceAnswer, ...]:
        """The answers of these sources, or why they gave none; never raises, never takes longer than its deadline."""


@dataclass(frozen=True, slots=True)
class MarketSettings:
    """How long and how much a source may answer."""

    deadline_s: float = 10.0
    """For one source, from the name's lookup to the last byte."""
    connect_s: float = 5.0
    max_answer_bytes: int = 8 * 1024 * 1024
    """The longest list of offers is about 3 MB."""
    tls: ssl.SSLContext | None = None
    """Whom to trust; None: the authorities that httpx brings."""


class HttpMarket:
    """The sources that the settings name; without any, nobody is asked and only the price file counts."""

    def __init__(self, sources: Iterable[Source] = (), settings: MarketSettings | None = None) -> None:
        """SettingError for a source that is neither https nor on loopback."""
        self._sources = {source.name: source for source in sources}
        self._settings = settings or MarketSettings()
        for source in self._sources.values():
            _check_address(source)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the sources that are asked."""
        return tuple(self._sources)

    async def ask(self, names: Collection[str], now: datetime) -> tuple[PriceAnswer, ...]:
        """Ask these side by side."""
        wanted = [source for name, source in self._sources.items() if name in names]
        if not wanted:
            return ()
        settings = self._settings
        transport = budgeted_transport(
            budget_bytes=settings.max_answer_bytes,
            connections=len(wanted),
            tls=settings.tls or _authorities(),
        )
        async with httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(settings.deadline_s, connect=settings.connect_s),
            follow_redirects=False,
            trust_env=False,
            headers={
                "accept": "application/json",
                "accept-encoding": "identity",
                "user-agent": "subnet-validator",
            },
        ) as client:
            return tuple(await asyncio.gather(*(self._answer(client, source, now) for source in wanted)))

    async def _answer(self, client: httpx.AsyncClient, source: Source, now: datetime) -> PriceAnswer:
        quotes: tuple[Quote, ...] = ()
        fault = ""
        try:
            async with asyncio.timeout(self._settings.deadline_s):
                body = await self._fetch(client, source)
            quotes = source.parse(body, now)
        except TimeoutError:
            fault = f"no whole answer within {self._settings.deadline_s:g} s"
        except (SourceAway, LimitExceeded, BadAnswer) as error:
            fault = plain(str(error), 240)
        return PriceAnswer(source.name, now, fault, quotes)

    async def _fetch(self, client: httpx.AsyncClient, source: Source) -> bytes:
        method, headers = ("POST", {"content-type": "application/json"}) if source.body else ("GET", {})
        try:
            async with client.stream(
                method, source.url, content=source.body or None, headers=headers
            ) as response:
                return await self._read(response)
        except httpx.TimeoutException as error:
            raise SourceAway(f"no connection or answer in time ({type(error).__name__})") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise SourceAway(f"{type(error).__name__}: {error}") from None

    async def _read(self, response: httpx.Response) -> bytes:
        if response.status_code != 200:
            raise BadAnswer(f"status {response.status_code}, wanted 200")
        if "content-encoding" in response.headers:
            raise BadAnswer("the answer is compressed, which was not asked for")
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece  # the connection's budget ends it
        return bytes(body)


def load_book(file: Path | None) -> PriceBook:
    """The price file, ours when None is named; SettingError when it can't be read."""
    path = file or DEFAULT_BOOK
    try:
        with path.open("rb") as opened:
            text = opened.read(MAX_BOOK_BYTES + 1)
        if len(text) > MAX_BOOK_BYTES:
            raise SettingError("SUBNET_PRICE_FILE", str(path), f"a file of at most {MAX_BOOK_BYTES} bytes")
        return book_of(text.decode("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError("SUBNET_PRICE_FILE", str(path), f"a file that can be read ({error})") from None


@cache
def _authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _check_address(source: Source) -> None:
    parts = urlsplit(source.url)
    if parts.scheme == "https" and parts.hostname:
        return
    try:
        is_own = parts.scheme == "http" and ip_address(parts.hostname or "").is_loopback
    except ValueError:
        is_own = False
    if not is_own:
        raise SettingError(f"source {source.name}", source.url, "an https address, or one on loopback")
