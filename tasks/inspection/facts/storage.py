"""Free disk where rented work can live."""

from __future__ import annotations

from storage.records import Severity
from tasks.inspection.facts.fact import Fact
from tasks.inspection.facts.text import Unreadable, rows, whole
from tasks.inspection.output import Command


def parse_disk_free(text: str) -> int | Unreadable:
    """`df -P -k` -> bytes available to an ordinary user on the roomiest of the asked places: 1717986918400."""
    lines = rows(text, 16)
    if isinstance(lines, Unreadable):
        return lines
    free = [kib << 10 for line in lines if (kib := _available_kib(line.split())) is not None]
    return max(free) if free else Unreadable("no row of a file system")


def _available_kib(words: list[str]) -> int | None:
    """The third of three numbers before `42%`: devices may hold spaces or break the line, mount points hold spaces."""
    for i in range(3, len(words)):
        if words[i].endswith("%") and all(whole(word, 1 << 45) is not None for word in words[i - 3 : i]):
            return whole(words[i - 1], 1 << 45)
    return None


DISK = Fact(
    Command(
        "disk",
        # Without an engine its folder is not there: df complains, and still tells of the working directory.
        "df -P -k . /var/lib/docker /var/lib/containers 2>/dev/null; true",
        timeout_s=10,
        limit_bytes=8 << 10,
    ),
    parse_disk_free,
    Severity.FAIL,
)
