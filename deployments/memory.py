"""A bound on this process' memory while it reads what others wrote: a file of a kilobyte may unfold to any size.

The largest allocation then fails inside Arrow, which is told as damage of that file, and the machine keeps its memory.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from tasks.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")

MAX_BYTES = 16 << 30
"""Far above what an epoch of 10,000 machines takes; of a smaller machine three quarters of its memory."""


def memory_bounded(command: Callable[P, T]) -> Callable[P, T]:
    """The command, ended with a sentence where it would take more memory than that."""

    @wraps(command)
    def bounded(*args: P.args, **kwargs: P.kwargs) -> T:
        with at_most(min(MAX_BYTES, _memory_bytes() * 3 // 4)):
            return command(*args, **kwargs)

    return bounded


@contextmanager
def at_most(more_bytes: int) -> Iterator[None]:
    """Let this process take no more than so much on top of what it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = (limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_DATA, (min(_used_bytes() + more_bytes, *limits, 1 << 62), hard))
    try:
        yield
    except MemoryError as error:
        gib = more_bytes / (1 << 30)
        raise UserError(f"this history takes more than {gib:.1f} GiB of memory to read") from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _used_bytes() -> int:
    """What counts for the limit: private memory that can be written to."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    return pages * os.sysconf("SC_PAGE_SIZE")
