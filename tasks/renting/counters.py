"""What one container has used since its start, in the kernel's own counters: how its control groups are found and read. Pure.

    find FIND(container)      -> read_folders    its folders: one with cgroup v2, one for each controller with v1
    sh READ folder, files...  -> read_counters   Counters

One `sh` and one `grep` a sample: an engine's own `stats` takes seconds and a request to its daemon for the same figures.
Every byte is a machine's own word: what does not fit is None, and no number is greater than a column holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ROOT = "/sys/fs/cgroup"
MOST = 1 << 62
MOST_PIDS = (1 << 31) - 1
MAX_FOLDERS = 24
MAX_CORES = 4_096
FIND_BYTES, READ_BYTES = 16 << 10, 64 << 10
_FILES = (
    "cpu.stat",
    "cpuacct.usage",
    "memory.current",
    "memory.max",
    "memory.stat",
    "memory.usage_in_bytes",
    "memory.limit_in_bytes",
    "io.stat",
    "blkio.throttle.io_service_bytes_recursive",
    "pids.current",
)
"""Of both versions; those that a folder does not have are passed over."""
_WANTED = (
    r"^(usage_usec |inactive_file |total_inactive_file |MemTotal:|max$|[0-9]| *[A-Za-z0-9.@_-]+: *[0-9]+ )"
)
READ = (
    # The first process that is seen in it tells its network; with none there are the rest.
    'p=; for g in "$1/cgroup.procs" "$1"/*/cgroup.procs; do [ -r "$g" ] && read -r p < "$g" && break; done; shift; '
    f'exec grep -sHE \'{_WANTED}\' -- /proc/uptime /proc/meminfo "/proc/${{p:-0}}/net/dev" "$@"'
)
"""A script for POSIX sh: its first argument is a folder, the others are the files of all of them."""
_FOLDER = re.compile(re.escape(ROOT) + r"(/[A-Za-z0-9_.:@,=+\\-]{1,255}){1,16}")
_NETWORK = re.compile(r"/proc/[0-9]{1,10}/net/dev")
_CONTAINER = re.compile(r"[0-9a-f]{12,64}")
_NUMBER = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Counters:
    """Of a container since its start; None: its machine does not say."""

    uptime_s: float | None = None
    """Of the machine, as it counted."""
    cpu_s: float | None = None
    memory_bytes: int | None = None
    """Without what is only cached of files, as engines show it."""
    memory_limit_bytes: int | None = None
    """What it may have, at most what the machine has."""
    received_bytes: int | None = None
    sent_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    pids: int | None = None


def find(container_id: str) -> tuple[str, ...]:
    """The words that list the control groups of a container by its id; ValueError for what is no id."""
    if not _CONTAINER.fullmatch(container_id):
        raise ValueError(f"{container_id[:80]!r} is no id of a container")
    return ("find", ROOT, "-maxdepth", "9", "-type", "d", "-name", f"*{container_id}*", "-prune")


def read_folders(printed: bytes) -> tuple[str, ...]:
    """The folders that were listed, but for those of the engine's own helper beside the container."""
    lines = printed.decode("utf-8", "replace").splitlines()[: 4 * MAX_FOLDERS]
    found = [line for line in lines if _FOLDER.fullmatch(line) and "/../" not in line]
    return tuple(one for one in found if "conmon" not in one.rpartition("/")[2])[:MAX_FOLDERS]


def reading(folders: Sequence[str]) -> tuple[str, ...]:
    """The words that read the counters in these folders."""
    files = (f"{folder}/{name}" for folder in folders for name in _FILES)
    return ("sh", "-c", READ, "read", folders[0], *files)


def read_counters(printed: bytes) -> Counters:
    """`path:line` of every file -> Counters(uptime_s=8100.52, cpu_s=12.5, memory_bytes=9437184, ...)."""
    told = _Told(printed.decode("utf-8", "replace").splitlines()[:2_000])
    return Counters(
        uptime_s=told.uptime_s(),
        cpu_s=told.cpu_s(),
        memory_bytes=told.memory(),
        memory_limit_bytes=told.limit(),
        received_bytes=told.network(0),
        sent_bytes=told.network(8),
        read_bytes=told.disk("rbytes", "Read"),
        written_bytes=told.disk("wbytes", "Write"),
        pids=_at_most(told.number("pids.current"), MOST_PIDS),
    )


def cpu_percent(before: Counters | None, after: Counters) -> float | None:
    """Of one core between two readings: 250 is two and a half; None when it can't be told, as after a new start."""
    if before is None or None in (before.cpu_s, before.uptime_s, after.cpu_s, after.uptime_s):
        return None
    assert before.cpu_s is not None
    assert before.uptime_s is not None
    assert after.cpu_s is not None
    assert after.uptime_s is not None
    used_s, passed_s = after.cpu_s - before.cpu_s, after.uptime_s - before.uptime_s
    if used_s < 0 or passed_s < 0.5:
        return None
    return round(min(100.0 * used_s / passed_s, 100.0 * MAX_CORES), 2)


class _Told:
    """The lines by the file that they stand in."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._of: dict[str, list[str]] = {}
        for line in lines:
            name, content = _split(line)
            if name:
                self._of.setdefault(name, []).append(content)

    def number(self, name: str) -> int | None:
        """Of a file that holds just one."""
        return next((n for line in self._of.get(name, ()) if (n := _number(line)) is not None), None)

    def of_key(self, name: str, *keys: str) -> int | None:
        """The number behind the first of these words that a line begins with."""
        told = {
            key: value.strip() for line in self._of.get(name, ()) for key, _, value in [line.partition(" ")]
        }
        found = next((told[key] for key in keys if key in told), "")
        return _number(found.split(" ")[0])

    def uptime_s(self) -> float | None:
        """Of the machine."""
        told = next(iter(self._of.get("uptime", ())), "").split(" ")[0]
        return float(told) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", told) else None

    def cpu_s(self) -> float | None:
        """Of all its processes."""
        microseconds, nanoseconds = self.of_key("cpu.stat", "usage_usec"), self.number("cpuacct.usage")
        if microseconds is not None:
            return microseconds / 1e6
        return None if nanoseconds is None else nanoseconds / 1e9

    def memory(self) -> int | None:
        """What it has, less what is only cached and has not been used for long."""
        has = self.number("memory.current")
        has = self.number("memory.usage_in_bytes") if has is None else has
        if has is None:
            return None
        return max(0, has - (self.of_key("memory.stat", "total_inactive_file", "inactive_file") or 0))

    def limit(self) -> int | None:
        """The smallest of what it may have and what there is."""
        kib = self.of_key("meminfo", "MemTotal:")
        there_is = None if kib is None else min(MOST, kib * 1_024)
        may = (self.number("memory.max"), self.number("memory.limit_in_bytes"), there_is)
        return min((one for one in may if one is not None), default=None)

    def network(self, column: int) -> int | None:
        """Of all its interfaces but the one to itself."""
        total = None
        for line in self._of.get("dev", ()):
            name, _, told = line.partition(":")
            columns = told.split()
            if name.strip() != "lo" and len(columns) > column:
                value = _number(columns[column])
                total = (total or 0) + value if value is not None else total
        return _at_most(total, MOST)

    def disk(self, key: str, word: str) -> int | None:
        """Of all disks: `8:0 rbytes=1 wbytes=2 ...` each, or `8:0 Read 1`; a file without a line is one of no use yet."""
        found = [line.split() for line in self._of.get("io.stat", ())]
        values = [
            _number(part.removeprefix(f"{key}="))
            for line in found
            for part in line
            if part.startswith(f"{key}=")
        ]
        old = [line.split() for line in self._of.get("blkio.throttle.io_service_bytes_recursive", ())]
        values += [_number(line[2]) for line in old if len(line) == 3 and line[1] == word]
        known = [value for value in values if value is not None]
        if known:
            return _at_most(sum(known), MOST)
        return 0 if self.cpu_s() is not None else None


def _split(line: str) -> tuple[str, str]:
    """`/sys/fs/cgroup/.../cpu.stat:usage_usec 12` -> ('cpu.stat', 'usage_usec 12'); paths of groups may hold colons."""
    for name in _FILES:
        place, found, content = line.partition(f"/{name}:")
        if found and place.startswith(ROOT):
            return name, content
    place, _, content = line.partition(":")
    if place in ("/proc/uptime", "/proc/meminfo") or _NETWORK.fullmatch(place):
        return place.rpartition("/")[2], content
    return "", ""


def _number(told: str) -> int | None:
    return min(MOST, int(told)) if _NUMBER.fullmatch(told.strip()) else None


def _at_most(value: int | None, most: int) -> int | None:
    return None if value is None else min(most, value)
