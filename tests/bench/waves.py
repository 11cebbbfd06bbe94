"""What a wave costs the validator: `python -m tests.bench.waves [--sessions 1000] [--cards 8]`.

A hand's whole part of a wave, with its gates, greenlets, statements and strict readers, over sessions that answer from
memory, all of a round at the same instant: what is left is our own work. It tells the seconds from GO to the last verdict, how far the instants of GO and of each nonce lie apart, how late the answers of a round are seen, and
the memory of the process at its peak. What the sessions answer is
well formed and wrong, so that the verdicts' arithmetic, which `python -m tests.bench` measures by itself, is not in it.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path

import gevent

from kernels import merkle  # noqa: F401  what a verdict needs is loaded before the first memory is read
from kernels.messages import (
    Multiplied,
    Opened,
    OpenedCard,
    OpenedSegment,
    OpenedTile,
    Ready,
    Walked,
    encode,
)
from storage.records import Executor, Verdict
from tasks.crew.gates import Gate, HandWave
from tasks.crew.orders import AtGate, Proving
from tasks.crew.station import Station
from tasks.edges.signing import is_signed_by
from tasks.epoch import EpochRun
from tasks.policy import LOCALNET, Policy
from tasks.proof.archive import prover_archive
from tasks.proof.busy import Notary
from tasks.proof.challenge import ProofKind
from tasks.proof.proving import ASSEMBLY_S, Occasion, Talked, prove_machine, verdicts_of
from tasks.proof.wave import gate_limits_s
from tests.storage.outcomes import executor
from tests.tasks.inspection.runs import edges_in, run_over, station_of

DEPTH = 27
"""Of the trees of a card of 80 GB: the answers have the size of a real card's."""
POLICY = replace(LOCALNET, proof=replace(LOCALNET.proof, fill_deadline_s=60.0, round_deadline_s=30.0))


ROUND_S = 3.0
"""From the first nonce of a round to the answers, all of them: long enough that every nonce is out before."""


class Sent:
    """The instants at which requests went out, by kind, and how late the answers to the walks were seen."""

    def __init__(self) -> None:
        self.instants: defaultdict[str, list[float]] = defaultdict(list)
        self.late_s: list[float] = []

    def note(self, kind: str) -> float:
        """Note it, and tell when the first of this kind went out."""
        now = time.monotonic()
        self.instants[kind].append(now)
        return self.instants[kind][0]

    def late_ms(self) -> dict[str, int]:
        ranks = statistics.quantiles(self.late_s, n=100)
        return {"median": round(1e3 * ranks[49]), "99 of 100": round(1e3 * ranks[98])}

    def spread_ms(self, kind: str) -> float:
        return 1e3 * (max(self.instants[kind]) - min(self.instants[kind]))


_KIND = re.compile(rb'{"type":"([a-z]+)"(?:,"round":([0-9]))?')


class MemorySession:
    """Answers each request at once, with as many bytes as a real prover."""

    is_alive, steps = True, ()

    def __init__(self, answers: dict[str, bytes], sent: Sent) -> None:
        self._answers, self._sent, self._next, self._due = answers, sent, b"", 0.0
        self.bytes_received = 0

    def send(self, frame: bytes, *, deadline: float) -> None:  # noqa: ARG002  memory takes it at once
        if frame[:1] != b"{":
            self._next = self._answers["proving"]
            return
        if frame.startswith(b'{"do"'):
            return
        kind = _KIND.match(frame)
        if kind is None or kind[1] == b"end":
            return
        key = " ".join(part.decode() for part in kind.groups() if part is not None)
        first_at = self._sent.note(key)
        self._next, self._due = self._answers[key], first_at + ROUND_S if kind[2] else 0.0

    def receive(self, *, deadline: float, limit_bytes: int) -> bytes:  # noqa: ARG002  memory is in time
        frame = bytes(bytearray(self._next))
        if self._due:
            gevent.sleep(max(0.0, self._due - time.monotonic()))
            self._sent.late_s.append(time.monotonic() - self._due)
        self.bytes_received += len(frame)
        return frame

    def close(self) -> None:
        pass


def answers_of(cards: int, policy: Policy) -> dict[str, bytes]:
    """Well-formed answers of a machine."""
    p = policy.proof
    digest = prover_archive().digest
    segment = OpenedSegment(bytes(128), bytes(32 * DEPTH), bytes(128), bytes(32 * DEPTH))
    tile = OpenedTile(bytes(512), bytes(32 * DEPTH))
    opened = Opened((OpenedCard((segment,) * p.rounds, (tile,) * p.opened_tiles),) * cards)
    roots = (bytes(32),) * cards
    return {
        "proving": json.dumps({"proving": digest, "seconds": 0.1}).encode(),
        "go": encode(Ready()),
        **{f"walk {r}": encode(Walked(r, roots)) for r in range(p.rounds)},
        "multiply": encode(Multiplied(roots)),
        "open": encode(opened),
    }


def machines_of(count: int) -> list[Executor]:
    return [
        replace(executor(), miner_hotkey=f"5Miner{n % 97:02}", executor_id=f"m-{n}", address="127.0.0.2")
        for n in range(count)
    ]


def proving_of(run: EpochRun, machine: Executor, cards: int) -> Proving:
    listed = tuple((i, f"GPU-{machine.executor_id}-{i}") for i in range(cards))
    model, vram_mib = "NVIDIA H100 80GB HBM3", 81_559
    return Proving(machine, run.access_to(machine), listed, model, vram_mib, ProofKind.FULL, None)


class OpeningWave(HandWave):
    """A hand's part of a wave that is all of it: the gates open as the foreman would open them."""

    def __init__(self, members: list[str], limits_s: tuple[float, ...]) -> None:
        super().__init__(1, members, limits_s, self._hear)
        self._gate = Gate(0, time.monotonic() + limits_s[0], {1: (0, len(members))})

    def _hear(self, told: AtGate) -> None:
        self._gate = self._gate.told(1, told)
        if self._gate.is_due(time.monotonic()):
            number, self._gate = self._gate.number, self._gate.opened(time.monotonic(), 1e9)
            gevent.spawn(self.open, number)


def proved(run: EpochRun, station: Station, provings: list[Proving]) -> list[Verdict]:
    """As a hand proves them: a greenlet each, the verdicts of a shard together."""
    notary = Notary(partial(station.ask, "sign"), is_signed_by, frozenset(), time.time)
    occasion = Occasion(51, run.edges.own_hotkey, 350, run.view.head.block_hash, 1, notary)
    gates = OpeningWave([p.executor.key for p in provings], gate_limits_s(run.policy.proof, ASSEMBLY_S))
    workers = [
        gevent.spawn(prove_machine, station, occasion, gates, proving, secrets.token_bytes)
        for proving in provings
    ]
    gevent.joinall(workers, raise_error=True)
    talked: list[Talked] = [worker.value for worker in workers]
    size = run.edges.executors_per_shard
    return [
        verdict
        for at in range(0, len(talked), size)
        for verdict in verdicts_of(talked[at : at + size], run.policy)
    ]


def memory_mib(key: str) -> float:
    """VmRSS or VmHWM of this process."""
    line = next(s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith(key))
    return int(line.split()[1]) / 1024


def measure(sessions: int, cards: int) -> None:
    machines, sent = machines_of(sessions), Sent()
    answers = answers_of(cards, POLICY)
    with (
        tempfile.TemporaryDirectory() as folder,
        edges_in(Path(folder), node="ws://127.0.0.1:1", max_sessions=sessions) as edges,
        run_over(edges, policy=POLICY) as run,
    ):
        station = station_of(run, *machines)
        for machine in machines:
            station.keep(machine, MemorySession(answers, sent))
        provings = [proving_of(run, machine, cards) for machine in machines]
        before, begin, cpu = memory_mib("VmRSS"), time.monotonic(), time.process_time()
        verdicts = proved(run, station, provings)
        end = time.monotonic()
        threads = len(list(Path("/proc/self/task").iterdir()))
    kinds = ["go", *[f"walk {r}" for r in range(POLICY.proof.rounds)], "multiply", "open"]
    told = {
        "sessions": sessions,
        "cards": cards,
        "codes": sorted({v.code for v in verdicts}),
        "begin_to_end_s": round(end - begin, 2),
        "go_to_end_s": round(end - min(sent.instants["go"]), 2),
        "cpu_s": round(time.process_time() - cpu, 2),
        "spread_ms": {kind: round(sent.spread_ms(kind)) for kind in kinds},
        "late_ms": sent.late_ms(),
        "threads": threads,
        "rss_before_mib": round(before),
        "rss_peak_mib": round(memory_mib("VmHWM")),
    }
    sys.stdout.write(json.dumps(told, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.waves", description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000)
    parser.add_argument("--cards", type=int, default=8)
    given = parser.parse_args()
    measure(given.sessions, given.cards)


if __name__ == "__main__":
    main()
