"""The miner's file while the agent runs: taken again once it has changed, without a restart."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from tasks.errors import SettingError
from tasks.offering.config import MinerConfig, load_config

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 3.0
_Seen = tuple[int, int, int] | None


class Followed:
    """The config in a file, as it is now: looked at no more often than `every_s`, read when it is another file.

    A file that does not fit, or is gone, is told once in the log, and the config before it goes on. The first one must
    fit: SettingError.
    """

    def __init__(
        self,
        path: Path,
        *,
        every_s: float = LOOK_EVERY_S,
        monotonic: Callable[[], float] = time.monotonic,
        on_change: Callable[[MinerConfig], None] | None = None,
    ) -> None:
        self._path, self._every_s, self._monotonic, self._on_change = path, every_s, monotonic, on_change
        # Seen before it is read: a file that is replaced in between is read again, never missed.
        self._seen = _seen(path)
        self._config = load_config(path)
        self._looked_at = monotonic()

    def __call__(self) -> MinerConfig:
        """The newest config that fits."""
        now = self._monotonic()
        if now - self._looked_at >= self._every_s:
            self._looked_at = now
            self._look()
        return self._config

    def _look(self) -> None:
        seen = _seen(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            config = load_config(self._path)
        except SettingError as error:
            _log.error("%s is not taken, the one before it goes on: %s", self._path, error)
            return
        _log.info("%s is taken: %d machines", self._path, len(config.executors))
        self._config = config
        if self._on_change is not None:
            self._on_change(config)


def _seen(path: Path) -> _Seen:
    """What is another one whenever the file is: inode, nanoseconds of its change, size; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
