"""What trees of processes use while an epoch runs: CPU, memory, threads, sockets, from /proc.

A process belongs to the tree of the nearest named ancestor, or to `validator` when that is nobody but us. One that has
been seen once stays in its tree when its parent is gone. Memory is the sum of resident pages: those that forked
processes share are counted in each.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20
EVERY_S = 0.5
CLOSELY_EVERY = 4
"""Looks from one close look to the next, at memory and sockets: it takes a look at each open file and mapping."""
VALIDATOR = "validator"


@dataclass(frozen=True, slots=True)
class Look:
    """One process at one instant."""

    pid: int
    parent: int
    started: int
    """Ticks since the machine's start: tells processes apart that had the same number one after the other."""
    cpu_s: float
    """Its own."""
    reaped_s: float
    """Of its children that have ended, theirs in."""
    threads: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What one tree has used from the beginning of the watch to its end."""

    cpu_s: float = 0.0
    children_cpu_s: float = 0.0
    """Of it, by others than the tree's first process."""
    peak_processes: int = 0
    peak_memory_mib: float = 0.0
    peak_threads: int = 0
    peak_sockets: int = 0


@dataclass(slots=True)
class _Tree:
    """What is remembered of a tree."""

    usage: Usage = field(default_factory=Usage)
    seen: set[tuple[int, int]] = field(default_factory=set)
    """Numbers and starts of all processes that ever belonged to it."""
    root: Look | None = None
    """The newest look at its first process."""
    used_s: float = 0.0
    """By all of its processes at the newest look that found any, their reaped children in."""
    before_s: float = 0.0
    root_before_s: float = 0.0
    """The same, and of the first process alone, when the watch began."""


class Watch:
    """Looks at the trees every half second, in a thread of its own, until the block ends."""

    def __init__(
        self, roots: Mapping[str, int], every_s: float = EVERY_S, proc: Path = Path("/proc")
    ) -> None:
        self._names = {pid: name for name, pid in roots.items()}
        self._us, self._every_s, self._proc = os.getpid(), every_s, proc
        self._trees: dict[str, _Tree] = {name: _Tree() for name in (*roots, VALIDATOR)}
        self._looks = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        """Begin: what was used until now does not count."""
        self.look()
        for tree in self._trees.values():
            tree.before_s = tree.used_s
            tree.root_before_s = tree.root.cpu_s if tree.root is not None else 0.0
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, with a last look."""
        self._over.set()
        self._thread.join()
        self.look()

    def usage(self, name: str, *, ended_cpu_s: float | None = None) -> Usage:
        """What this tree has used; `ended_cpu_s`: of all its processes, as the kernel told when they had ended."""
        tree = self._trees[name]
        used_s = tree.used_s - tree.before_s if ended_cpu_s is None else ended_cpu_s
        own_s = tree.root.cpu_s - tree.root_before_s if tree.root is not None else 0.0
        return replace(tree.usage, cpu_s=used_s, children_cpu_s=max(0.0, used_s - own_s))

    def look(self) -> None:
        """Look once at every process."""
        looks = {look.pid: look for look in map(self._read, self._numbers()) if look is not None}
        members: dict[str, list[Look]] = {name: [] for name in self._trees}
        for look in looks.values():
            name = self._tree_of(look, looks)
            if name is not None:
                members[name].append(look)
        is_close = self._looks % CLOSELY_EVERY == 0
        self._looks += 1
        for name, found in members.items():
            self._note(self._trees[name], found, is_close=is_close)

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            self.look()

    def _tree_of(self, look: Look, looks: Mapping[int, Look]) -> str | None:
        for name, tree in self._trees.items():
            if (look.pid, look.started) in tree.seen:
                return name
        at: Look | None = look
        while at is not None and at.pid != self._us:
            if at.pid in self._names:
                return self._names[at.pid]
            if at.parent == self._us:
                return VALIDATOR
            at = looks.get(at.parent)
        return None

    def _note(self, tree: _Tree, found: list[Look], *, is_close: bool) -> None:
        if not found:
            return
        first = min(found, key=lambda look: (look.started, look.pid))
        if not tree.seen or (tree.root is not None and first.pid == tree.root.pid):
            tree.root = first
        tree.seen.update((look.pid, look.started) for look in found)
        tree.used_s = sum(look.cpu_s + look.reaped_s for look in found)
        was = tree.usage
        tree.usage = replace(
            was,
            peak_processes=max(was.peak_processes, len(found)),
            peak_threads=max(was.peak_threads, sum(look.threads for look in found)),
        )
        if is_close:
            memory_mib = sum(self._memory_bytes(look.pid) for look in found) / MIB
            sockets = sum(self._sockets(look.pid) for look in found)
            tree.usage = replace(
                tree.usage,
                peak_memory_mib=max(was.peak_memory_mib, memory_mib),
                peak_sockets=max(was.peak_sockets, sockets),
            )

    def _numbers(self) -> list[int]:
        return [int(path.name) for path in self._proc.iterdir() if path.name.isdigit()]

    def _read(self, pid: int) -> Look | None:
        try:
            text = (self._proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None  # it has ended meanwhile
        return parse_stat(pid, text)

    def _memory_bytes(self, pid: int) -> int:
        with suppress(OSError):
            for line in (self._proc / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
        return 0  # it has ended meanwhile

    def _sockets(self, pid: int) -> int:
        count = 0
        with suppress(OSError), os.scandir(self._proc / str(pid) / "fd") as opened:
            for entry in opened:
                with suppress(OSError):
                    # Ten thousand of them, twice a second: a path object for each is most of the cost.
                    count += os.readlink(entry.path).startswith("socket:")  # noqa: PTH115
        return count


def parse_stat(pid: int, text: str) -> Look:
    """A line of /proc/PID/stat; the program's name in it may hold anything, brackets too."""
    fields = text.rpartition(")")[2].split()
    user, system, child_user, child_system = (int(number) / TICKS_PER_S for number in fields[11:15])
    return Look(
        pid=pid,
        parent=int(fields[1]),
        started=int(fields[19]),
        cpu_s=user + system,
        reaped_s=child_user + child_system,
        threads=int(fields[17]),
    )


def idle_cores(root: int, over_s: float, sleep: Callable[[float], None]) -> float:
    """What a tree of processes takes while nothing is asked of it."""
    watch = Watch({"idle": root})
    with watch:
        sleep(over_s)
    return watch.usage("idle").cpu_s / over_s
