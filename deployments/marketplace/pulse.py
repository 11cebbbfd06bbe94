"""Waking those who wait for something to happen to a lease: one look into the table for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.concurrency import run_in_threadpool

from storage.errors import StorageError

LOOK_S = 0.2


class Pulse:
    """The newest event's number, looked up while somebody waits."""

    def __init__(self, last: Callable[[], int], look_s: float = LOOK_S) -> None:
        self._read, self._look_s = last, look_s
        self._last = 0
        self._waiters = 0
        self._news: asyncio.Event | None = None
        self._looking: asyncio.Task[None] | None = None

    async def now(self) -> int:
        """The newest number."""
        self._last = max(self._last, await run_in_threadpool(self._read))
        return self._last

    async def beyond(self, sequence: int, timeout_s: float) -> bool:
        """Wait until there is a greater number; False when there is none after so many seconds."""
        if self._last > sequence:
            return True
        self._waiters += 1
        if self._looking is None:
            self._news = asyncio.Event()
            self._looking = asyncio.create_task(self._look(), name="pulse")
        try:
            async with asyncio.timeout(timeout_s):
                while self._last <= sequence:
                    assert self._news is not None
                    await self._news.wait()
        except TimeoutError:
            return False
        else:
            return True
        finally:
            self._waiters -= 1

    async def _look(self) -> None:
        """Until nobody waits any more; a database that is away is looked at again."""
        while self._waiters:
            await asyncio.sleep(self._look_s)
            with suppress(StorageError):
                found = await run_in_threadpool(self._read)
                if found > self._last:
                    self._last = found
                    old, self._news = self._news, asyncio.Event()
                    assert old is not None
                    old.set()
        self._looking = None
