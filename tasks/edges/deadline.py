"""Coroutines of a library under our own deadline, on a loop that can be thrown away.

A library that waits longer than we do, or blocks the loop outright, costs one daemon thread and one
deadline, never the caller. The loop belongs to the process that made it: after a fork make another.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakSet

T = TypeVar("T")

GRACE_S = 2.0
"""For the cancelled coroutine to unwind, before the whole loop is given up."""


class LoopThread:
    """A private event loop in a daemon thread."""

    def __init__(self, name: str, farewell: Callable[[], Awaitable[object]]) -> None:
        """`farewell` closes what was opened on the loop; it runs there, last."""
        self._loop = _RememberingLoop()
        self._farewell = farewell
        self._given_up = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], Awaitable[T]], deadline_s: float) -> T:
        """The coroutine's result; TimeoutError at the deadline, CancelledError when the loop is given up."""

        async def bounded() -> T:
            async with asyncio.timeout(deadline_s):
                return await work()

        future = asyncio.run_coroutine_threadsafe(bounded(), self._loop)
        return future.result(deadline_s + GRACE_S)

    def stop(self, wait_s: float = 0.0) -> None:
        """Give the loop up: what still runs is cancelled. Waits for the thread when asked to."""
        # Once: a second time would stop it while it winds down.
        if self._given_up.acquire(blocking=False):
            self._loop.call_soon_threadsafe(self._loop.stop)
        if wait_s:
            self._thread.join(wait_s)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._wind_down())
        self._loop.close()

    async def _wind_down(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(Exception):  # whatever a broken connection raises when it is closed, it is gone
            await asyncio.wait_for(self._farewell(), GRACE_S)
        for transport in self._loop.transports:
            transport.abort()  # a connection whose opening was cancelled has no owner who closes it
        await asyncio.sleep(0)


class _RememberingLoop(asyncio.SelectorEventLoop):
    """A loop that knows the connections opened on it."""

    def __init__(self) -> None:
        super().__init__()
        self.transports: WeakSet[asyncio.WriteTransport] = WeakSet()

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        """As the base class does it, remembered."""
        transport, protocol = await super().create_connection(*args, **options)
        self.transports.add(transport)
        return transport, protocol
