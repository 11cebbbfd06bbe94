"""The charts of the last days, made in a process of its own when somebody looks and the archive has more; nobody waits for them.

Drawn(make).look() -> what was made last, or that it is being made
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from tempfile import TemporaryFile
from time import monotonic
from typing import IO

from deployments.sites import REPOSITORY
from storage.places import Place
from tasks.errors import SubnetError

DAYS = (30, 7, 1)
"""The first; where that takes too long, the next."""
DEADLINE_S = 240.0
LOOK_S = 0.1
MOST_BYTES = 2 << 20
REST_S, REST_FACTOR = 300.0, 20.0
"""Between two: so long, and so many times what the last one took."""
Make = Callable[[date, int, threading.Event], str]
"""The HTML of so many days up to this one; it gives up when the event is set."""
_log = logging.getLogger("subnet.marketplace")


class TooSlow(SubnetError):
    """It was not made within its time."""


class NotMade(SubnetError):
    """It could not be made: what was said of it."""


@dataclass(frozen=True, slots=True)
class Charts:
    """Where they stand."""

    html: str = ""
    """What was made last; empty: nothing was."""
    fault: str = ""
    """Why the last try came to nothing."""


class Drawn:
    """Keeps what was made last; safe for threads."""

    def __init__(self, make: Make | None, clock: Callable[[], float] = monotonic) -> None:
        self._make, self._clock = make, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="charts")
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._last = Charts()
        self._of: tuple[date, int | None] | None = None
        self._is_making, self._rests_until, self._days = False, float("-inf"), 0

    @property
    def is_known(self) -> bool:
        """Whether there is an archive to make them of."""
        return self._make is not None

    def look(self, day: date, epoch: int | None) -> Charts:
        """What was made last, at once; for another day or epoch new ones are begun, if it is time for that."""
        with self._lock:
            is_new = self._of != (day, epoch)
            if self._make and is_new and not self._is_making and self._clock() >= self._rests_until:
                self._is_making = True
                self._thread.submit(self._run, self._make, day, epoch)
            return self._last

    def close(self) -> None:
        """Make no more, what is being made included."""
        self._stop.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _run(self, make: Make, day: date, epoch: int | None) -> None:
        begun, html, fault, rest_s = self._clock(), "", "", REST_S
        try:
            html = make(day, DAYS[self._days], self._stop)
        except TooSlow:
            fault = f"{DAYS[self._days]} days take too long to add up"
            self._days, rest_s = min(self._days + 1, len(DAYS) - 1), 0.0
        except Exception as error:  # noqa: BLE001  a thread that ends here would leave the page waiting for ever
            fault = "the archive can't be read: the log says why"
            _log.warning("no charts: %s: %s", type(error).__name__, error)
        now = self._clock()
        with self._lock:
            self._last = Charts(html or self._last.html, fault)
            self._of = (day, epoch) if html else self._of
            self._rests_until = now + (max(rest_s, REST_FACTOR * (now - begun)) if html else rest_s)
            self._is_making = False


def charts_of(
    history: Place, day: date, days: int, stop: threading.Event, deadline_s: float = DEADLINE_S
) -> str:
    """The HTML of these days, by a process that ends within the deadline. Raises TooSlow, NotMade."""
    words = ("deployments.marketplace.pages.charting", str(history.absolute()), day.isoformat(), str(days))
    with TemporaryFile() as out, TemporaryFile() as err:
        process = subprocess.Popen(  # noqa: S603  our own program, with a path and two numbers
            [sys.executable, "-m", *words], cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        ends_at = monotonic() + deadline_s
        try:
            while process.poll() is None:
                if stop.wait(LOOK_S) or monotonic() >= ends_at:
                    raise TooSlow(f"{days} days are not added up within {deadline_s:g} s")
        finally:
            process.kill()
            process.wait()
        html = _head(out, MOST_BYTES + 1)
        if process.returncode != 0 or len(html) > MOST_BYTES:
            raise NotMade(_head(err, 400) or f"it has more than {MOST_BYTES} bytes")
        return html


def _head(file: IO[bytes], most: int) -> str:
    file.seek(0)
    return file.read(most).decode("utf-8", "replace")
