"""Waking those who wait for something to happen to a lease: one look into the tables for all of them.

    new events -> whose leases they are about -> the ears of these renters, and of whoever hears everything
    the keys of all ears, every few seconds -> the ears of those that open nothing any more

Whoever is woken reads for itself. An ear is there before its owner reads for the first time: nothing is missed between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from storage.errors import StorageError

LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class News:
    """What a look finds: the newest event's number, and whose leases have new ones."""

    last: int
    renter_ids: frozenset[str] = frozenset()


@dataclass(eq=False)
class Ear:
    """Somebody who waits."""

    renter_id: str
    """Empty: it hears of all of them."""
    key_id: str
    ended: str = ""
    """Why its key opens nothing any more."""
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """There is something to be read."""
        self._woken.set()

    async def hears(self, timeout_s: float) -> bool:
        """Wait to be woken; False when nobody did within so many seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True


class Pulse:
    """Looks while somebody waits."""

    def __init__(
        self,
        last: Callable[[], int],
        news: Callable[[int], News],
        ended: Callable[[Iterable[str]], Mapping[str, str]],
        key_check_s: float,
        look_s: float = LOOK_S,
    ) -> None:
        self._read_last, self._read_news, self._read_ended = last, news, ended
        self._key_check_s, self._look_s = key_check_s, look_s
        self._last = 0
        self._ears: dict[str, set[Ear]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()

    async def now(self) -> int:
        """The newest number."""
        return await run_in_threadpool(self._read_last)

    @asynccontextmanager
    async def listen(self, renter_id: str = "", key_id: str = "") -> AsyncIterator[Ear]:
        """An ear that is woken by every event from now on."""
        ear = Ear(renter_id, key_id)
        self._ears.setdefault(renter_id, set()).add(ear)
        try:
            if self._looking is None:
                self._begun = asyncio.Event()
                self._looking = asyncio.create_task(self._look(), name="pulse")
            await self._begun.wait()
            yield ear
        finally:
            self._ears[renter_id].discard(ear)
            if not self._ears[renter_id]:
                del self._ears[renter_id]

    async def _look(self) -> None:
        """Until nobody waits any more; a database that is away is looked at again."""
        try:
            keys_at = time.monotonic()
            while self._ears:
                try:
                    if not self._begun.is_set():
                        self._last = await self.now()
                        self._begun.set()
                    await asyncio.sleep(self._look_s)
                    self._tell(await run_in_threadpool(self._read_news, self._last))
                    if time.monotonic() >= keys_at + self._key_check_s:
                        keys_at = time.monotonic()
                        await self._check_keys()
                except StorageError:
                    await asyncio.sleep(self._look_s)
        finally:
            self._looking = None

    def _tell(self, news: News) -> None:
        self._last = max(self._last, news.last)
        for name in (*news.renter_ids, *([""] if news.renter_ids else [])):
            for ear in self._ears.get(name, ()):
                ear.wake()

    async def _check_keys(self) -> None:
        keys = {ear.key_id for ears in self._ears.values() for ear in ears if ear.key_id}
        ended = await run_in_threadpool(self._read_ended, keys)
        for ears in self._ears.values():
            for ear in ears:
                if why := ended.get(ear.key_id):
                    ear.ended = why
                    ear.wake()
