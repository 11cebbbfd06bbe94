"""Talking to a lease's container while a request waits: in threads of its own, a bounded number for each renter.

    async with open_console(desk, renter_id, lease) as console:
        printed = await console.call(lambda one: one.execute(...))

A request that is gone closes its session as soon as what runs in it has ended.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from deployments.marketplace.buckets import Counted
from deployments.marketplace.market import Console, Desk, Printed
from deployments.marketplace.problems import Refused
from storage.rental import Rental, RentalState
from tasks.errors import MoveRefused

T = TypeVar("T")
NEXT_LINES = 10_000
_TIME = re.compile(
    r"^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})(?: |$)", re.MULTILINE
)
"""A line ends by a line feed alone: whatever else can end one is the program's own."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


class OpenConsole:
    """A session that is used by one call at a time."""

    def __init__(self, desk: Desk, console: Console) -> None:
        self._desk, self._console = desk, console
        self._running: Future[object] | None = None

    async def call(self, ask: Callable[[Console], T]) -> T:
        """What comes of it, in a thread of those that talk to machines."""
        running = self._desk.threads.submit(ask, self._console)
        self._running = running  # type: ignore[assignment]
        return await asyncio.wrap_future(running)

    async def call_within(self, places: Counted, name: str, ask: Callable[[Console], T]) -> T | None:
        """The same in a place among these, which it holds until it has ended, waited for or not; None: there is none now."""
        if not places.enter(name):
            return None
        try:
            return await self.call(ask)
        finally:
            self.afterwards(lambda: places.leave(name))

    def afterwards(self, then: Callable[[], None]) -> None:
        """Do this once the call that still runs in it has ended."""
        if self._running is None or self._running.done():
            then()
        else:
            self._running.add_done_callback(lambda _: then())

    def close(self) -> None:
        """End the session, after the call that still runs in it."""
        if self._running is None or self._running.done():
            self._desk.threads.submit(self._console.close)
        else:
            self._running.add_done_callback(lambda _: self._console.close())


@asynccontextmanager
async def open_console(
    desk: Desk, renter_id: str, lease: Rental, *, may_stand_still: bool = False
) -> AsyncIterator[OpenConsole]:
    """A session to the lease's machine for this renter; Refused when it has as many as it may."""
    check_running(lease, may_stand_still=may_stand_still)
    full = "too many requests of yours, or of all, talk to machines now"
    refused = Refused(
        429, "TOO_MANY_SESSIONS", full, "wait for one of them to end", headers={"Retry-After": "2"}
    )
    async with _session(desk, renter_id, lease, desk.containers, refused) as console:
        yield console


@asynccontextmanager
async def follow_console(desk: Desk, renter_id: str, lease: Rental) -> AsyncIterator[OpenConsole]:
    """One that stays open for whoever follows a log: it takes no place from requests that wait for an answer."""
    check_running(lease, may_stand_still=False)
    full = f"you follow {desk.market.limits.followers_per_renter} logs, or too many are followed in all"
    refused = Refused(429, "TOO_MANY_FEEDS", full, "close one", headers={"Retry-After": "5"})
    async with _session(desk, renter_id, lease, desk.followers, refused) as console:
        yield console


@asynccontextmanager
async def _session(
    desk: Desk, renter_id: str, lease: Rental, places: Counted, refused: Refused
) -> AsyncIterator[OpenConsole]:
    """A session in a place among these, which is free again when what runs in it has ended."""
    if not places.enter(renter_id):
        raise refused
    try:
        opened = await desk.market.consoles.open(lease, desk.market.limits.console_open_s)
    except BaseException:
        places.leave(renter_id)
        raise
    console = OpenConsole(desk, opened)
    try:
        yield console
    finally:
        console.afterwards(lambda: places.leave(renter_id))
        console.close()


@dataclass(frozen=True, slots=True)
class LogRead:
    """The end of a log."""

    text: str
    is_truncated: bool
    behind_ns: int
    """When the last line that was given was printed, in nanoseconds since 1970; -1: none was."""


async def read_log(
    desk: Desk,
    renter_id: str,
    lease: Rental,
    tail: int,
    since: datetime | None,
    *,
    has_times: bool,
    cleaned: Callable[[str], str] = str,
) -> LogRead:
    """The last lines of a container's log, also of one that stands still."""
    ask = partial(
        LogTail(has_times=has_times, cleaned=cleaned).read, tail, since, desk.market.limits.log_bytes
    )
    async with open_console(desk, renter_id, lease, may_stand_still=True) as console:
        return await console.call(ask)


def check_running(lease: Rental, *, may_stand_still: bool) -> None:
    """MoveRefused when there is no container to talk to."""
    states = {RentalState.ACTIVE, RentalState.STOPPED} if may_stand_still else {RentalState.ACTIVE}
    if lease.state not in states or lease.access is None:
        raise MoveRefused(lease.lease_id, lease.state.value, "talked to")


class LogTail:
    """A log that is asked for again and again: each line is given once, by the time that stands before it."""

    def __init__(
        self, *, has_times: bool = False, behind_ns: int = -1, cleaned: Callable[[str], str] = str
    ) -> None:
        self._has_times, self._cleaned = has_times, cleaned
        self._last_ns = behind_ns

    @property
    def since(self) -> datetime | None:
        """From when on to ask next; None: nothing was read yet."""
        if self._last_ns < 0:
            return None
        return _EPOCH + timedelta(microseconds=min(self._last_ns // 1_000, _LATEST_US))

    def read(self, tail: int, since: datetime | None, limit_bytes: int, console: Console) -> LogRead:
        """What is new, or the last lines; it blocks, and a long log takes its time to be made readable, too."""
        asked = (tail, since) if self.since is None else (NEXT_LINES, self.since)
        text, is_truncated = self.fresh(console.logs(*asked, limit_bytes))
        return LogRead(self._cleaned(text), is_truncated, self._last_ns)

    def fresh(self, printed: Printed) -> tuple[str, bool]:
        """The lines that were not given before, and whether some are missing."""
        text, given = printed.stdout.decode("utf-8", "replace"), []
        newest, begin, is_new = self._last_ns, 0, self._last_ns < 0
        for found in _TIME.finditer(text):
            if is_new:
                given.append(text[begin : found.start()])
            at_ns = _nanoseconds(*found.groups())
            is_new = at_ns > self._last_ns or self._last_ns < 0
            newest = max(newest, at_ns)
            begin = found.start() if self._has_times else found.end()
        if is_new:
            given.append(text[begin:])
        self._last_ns = newest
        return "".join(given), printed.is_truncated


def _nanoseconds(seconds: str, fraction: str | None, zone: str) -> int:
    try:
        moment = datetime.fromisoformat(seconds + ("+00:00" if zone == "Z" else zone))
    except ValueError:
        return 0
    return (moment - _EPOCH) // timedelta(seconds=1) * 10**9 + int((fraction or "").ljust(9, "0"))
