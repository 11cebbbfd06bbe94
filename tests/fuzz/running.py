"""Inputs through a target, each held to its limits; what breaks one is a finding, kept with how to replay it."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.fuzz.target import Limits, Target

FOLDER = Path(__file__).parents[2] / ".local" / "fuzz"
MAX_FINDINGS = 5
"""Of one target: then it is broken, and more say nothing more."""
AGAIN = 2
"""A cost is a finding when it is one each time: this machine may have been busy."""


@dataclass(frozen=True)
class Finding:
    """An input that did what none may do."""

    target: str
    kind: str
    """`error`, `cpu`, `memory`, `time`, `thread`, `stuck`, `crash`."""
    detail: str
    path: Path

    def told(self) -> str:
        """Two lines: what, and how to see it again."""
        replay = f"python -m tests.fuzz --replay {os.path.relpath(self.path)}"
        return f"{self.target}: {self.kind}: {self.detail}\n  {replay}"


@dataclass
class Run:
    """What a target was put through."""

    target: str
    seed: int
    inputs: int = 0
    wall_s: float = 0.0
    worst_cpu_s: float = 0.0
    worst_grown_mib: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    def told(self) -> str:
        """One line of figures."""
        return (
            f"{self.target:8} seed {self.seed}  {self.inputs:7} inputs in {self.wall_s:5.1f} s, "
            f"{self.inputs / max(self.wall_s, 1e-9):6.0f}/s  worst {self.worst_cpu_s * 1e3:5.1f} ms CPU, "
            f"{self.worst_grown_mib:4.1f} MiB  {len(self.findings)} findings"
        )


@dataclass(frozen=True)
class Cost:
    """What one input took."""

    cpu_s: float
    wall_s: float
    grown_mib: float
    threads_left: int


def fuzz(
    target: Target,
    seed: int,
    *,
    inputs: int | None = None,
    until: float | None = None,
    folder: Path = FOLDER,
    watch: Callable[[bytes], None] = lambda _: None,
) -> Run:
    """So many inputs, or as many as there is time for (`until`, monotonic); `watch` is shown each before it is tried."""
    rng, run, began = random.Random(f"{target.name} {seed}"), Run(target.name, seed), time.monotonic()
    with target.opened() as take, _Memory() as memory:
        tried = _Tried(target, take, memory, folder)
        while not _is_over(run, inputs, until):
            data = target.make(rng)
            watch(data)
            run.inputs += 1
            finding, cost = tried.once(data)
            run.worst_cpu_s = max(run.worst_cpu_s, cost.cpu_s)
            run.worst_grown_mib = max(run.worst_grown_mib, cost.grown_mib)
            if finding is not None:
                run.findings.append(finding)
    run.wall_s = time.monotonic() - began
    return run


def replay(target: Target, data: bytes, folder: Path = FOLDER) -> Finding | None:
    """One input again."""
    with target.opened() as take, _Memory() as memory:
        return _Tried(target, take, memory, folder).once(data)[0]


def keep(folder: Path, target: str, kind: str, data: bytes, detail: str) -> Finding:
    """Write the input down; its name says what it is for, so that it can be replayed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target}-{kind}-{hashlib.blake2s(data).hexdigest()[:12]}.bin"
    path.write_bytes(data)
    return Finding(target, kind, detail, path)


def _is_over(run: Run, inputs: int | None, until: float | None) -> bool:
    return (
        len(run.findings) >= MAX_FINDINGS
        or (inputs is not None and run.inputs >= inputs)
        or (until is not None and time.monotonic() >= until)
    )


class _Tried:
    """A target that is open, and what is known of its inputs so far."""

    def __init__(self, target: Target, take: Callable[[bytes], None], memory: _Memory, folder: Path) -> None:
        self._target, self._take, self._memory, self._folder = target, take, memory, folder
        self._seen: set[str] = set()
        self._found: set[bytes] = set()

    def once(self, data: bytes) -> tuple[Finding | None, Cost]:
        """Try it; a cost over its limit is looked at again before it counts."""
        if data in self._found:
            return None, Cost(0.0, 0.0, 0.0, 0)
        kind, detail, cost = self._try(data)
        for _ in range(AGAIN):
            if kind not in {"cpu", "memory", "time"}:
                break
            kind, detail, cost = self._try(data)
        if not kind or detail in self._seen:
            return None, cost
        self._found.add(data)
        if kind == "error":
            self._seen.add(detail)
        return keep(self._folder, self._target.name, kind, data, detail), cost

    def _try(self, data: bytes) -> tuple[str, str, Cost]:
        self._memory.begin()
        began, cpu_s, threads = time.monotonic(), time.process_time(), threading.active_count()
        error = ""
        try:
            self._take(data)
        except Exception as caught:  # noqa: BLE001  any error that comes out of a target is what is looked for
            error = _where(caught)
        wall_s = time.monotonic() - began
        left = self._threads_left(threads)
        cost = Cost(time.process_time() - cpu_s, wall_s, self._memory.grown_mib(), left)
        return (("error", error) if error else _over(cost, self._target.limits)) + (cost,)

    def _threads_left(self, before: int) -> int:
        until = time.monotonic() + self._target.limits.threads_left_s
        while (more := threading.active_count() - before) > 0 and time.monotonic() < until:
            time.sleep(0.01)
        return max(0, more)


def _over(cost: Cost, limits: Limits) -> tuple[str, str]:
    """The first limit that it broke, empty when it broke none."""
    if cost.threads_left:
        return "thread", f"{cost.threads_left} left {limits.threads_left_s:g} s later"
    if cost.cpu_s > limits.cpu_s:
        return "cpu", f"{cost.cpu_s:.3f} s of CPU, at most {limits.cpu_s:g}"
    if cost.grown_mib > limits.grown_mib:
        return "memory", f"{cost.grown_mib:.1f} MiB more, at most {limits.grown_mib:g}"
    if cost.wall_s > limits.wall_s:
        return "time", f"{cost.wall_s:.2f} s, at most {limits.wall_s:g}"
    return "", ""


def _where(error: BaseException) -> str:
    """The error and the line of ours that it came from; the same for all inputs that find the same."""
    frames = traceback.extract_tb(error.__traceback__)
    last = next((f for f in reversed(frames) if "/site-packages/" not in f.filename), frames[-1])
    return (
        f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:120]!r}".replace(
            "\n", " "
        )
    )


class _Memory:
    """The most memory of this process since `begin`, as the kernel counts it."""

    def __enter__(self) -> Self:
        self._mark = Path("/proc/self/clear_refs").open("wb", buffering=0)
        self._status = Path("/proc/self/status").open("rb", buffering=0)
        self._before_kib = 0
        return self

    def __exit__(self, *_: object) -> None:
        self._mark.close()
        self._status.close()

    def begin(self) -> None:
        """From here on."""
        self._mark.write(b"5")
        self._before_kib = self._read_kib(b"VmRSS:")

    def grown_mib(self) -> float:
        """Over what there was at the beginning."""
        return (self._read_kib(b"VmHWM:") - self._before_kib) / 1_024

    def _read_kib(self, name: bytes) -> int:
        status = os.pread(self._status.fileno(), 4_096, 0)
        return int(status[status.index(name) + len(name) :].split(None, 1)[0])
