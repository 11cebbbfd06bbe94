"""Something outside that is asked in the background while somebody looks: the last answer is there at once, and nobody waits.

Asking(ask, failed, fresh_s).look() -> the last answer; None before the first
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class Asking(Generic[T]):
    """Keeps the last answer, and asks again when it is older than some seconds, one question at a time; safe for threads."""

    def __init__(
        self,
        ask: Callable[[], T] | None,
        failed: Callable[[Exception], T],
        fresh_s: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`failed` makes an answer of what `ask` raises; None for `ask`: there is nobody to ask."""
        self._ask, self._failed, self._fresh_s, self._clock = ask, failed, fresh_s, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="asking")
        self._lock = threading.Lock()
        self._is_asking = False
        self._asked_at = float("-inf")
        self._last: T | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is anybody to ask."""
        return self._ask is not None

    def look(self) -> T | None:
        """The last answer; None: none has come yet."""
        with self._lock:
            is_old = self._clock() - self._asked_at >= self._fresh_s
            if self._ask is not None and is_old and not self._is_asking:
                self._is_asking, self._asked_at = True, self._clock()
                self._thread.submit(self._refresh, self._ask)
            return self._last

    def close(self) -> None:
        """Ask no more; what is asked now has a deadline of its own."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _refresh(self, ask: Callable[[], T]) -> None:
        try:
            told = ask()
        except Exception as error:  # noqa: BLE001  whatever it is, the page says it, and a later look asks again
            told = self._failed(error)
        with self._lock:
            self._last, self._is_asking = told, False
