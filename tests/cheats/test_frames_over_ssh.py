from __future__ import annotations

import shlex
import sys
import time
import tracemalloc
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from deployments.localnet.executors import ANNOUNCED_PYTHON, USER, Machine, make_host_key, public_key_blob
from deployments.localnet.warming import warm_cache
from kernels.cards import add_simulated_card
from storage.records import Executor, Severity, Verdict
from tasks.edges.shell import EpochKey, Shell
from tasks.inspection.talk import start_prover, start_runner
from tasks.proof.archive import prover_archive
from tasks.proof.conversation import converse
from tasks.proof.verdict import verify_shard
from tasks.proof.wave import MonotonicClock, Wave, gate_limits_s
from tests.cheats import liar
from tests.cheats.rig import TINY, tiny_challenge
from tests.deployments.localnet.visiting import let_key_in, served

pytestmark = pytest.mark.xdist_group("cheats-over-ssh")
"""Its machines are served once: one worker has them all."""

PATIENT = replace(
    TINY, fill_deadline_s=30.0, barrier_deadline_s=30.0, round_deadline_s=30.0, open_deadline_s=30.0
)
HASTY = replace(PATIENT, round_deadline_s=1.5)
MIB = 1 << 20


@dataclass(frozen=True)
class Told:
    """How a proof over SSH ended, and what it cost."""

    verdict: Verdict
    wire_bytes: int
    """From the network, all of the session."""
    wall_s: float
    peak_bytes: int


@pytest.fixture(scope="module")
def machines(tmp_path_factory, request):
    """A real SSH server for each lie."""
    folder, cache = tmp_path_factory.mktemp("lies"), request.config.cache.mkdir("kernels")
    warm_cache(cache)
    add_simulated_card(folder / "cards", "GPU-0", 32 * 4_096)
    made = [_machine(folder / f"{at}", lie, folder / "cards", cache) for at, lie in enumerate(liar.LIES)]
    with served({machine.executor_id: machine for machine in made}) as machines:
        yield dict(zip(liar.LIES, machines.values(), strict=True))


def _machine(folder: Path, lie: str, cards: Path, cache: Path) -> Machine:
    home = folder / "home"
    for needed in (home / "bin", home / "scratch", home / ".ssh", home / ".cache"):
        needed.mkdir(parents=True)
    (home / ".cache" / "subnet").symlink_to(cache)
    make_host_key(folder / "host_key")
    python = home / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(liar.__file__), lie])} "$@"\n')
    python.chmod(0o755)
    return Machine(
        executor_id=f"machine-{folder.name}",
        address="127.0.0.1",
        port=0,
        home=home,
        host_key=folder / "host_key",
        authorized_keys=home / ".ssh" / "authorized_keys",
        environment={"SUBNET_SIMULATED_CARDS": str(cards)},
    )


def _proved(machine: Machine, policy=PATIENT) -> Told:
    """A whole proof of the machine over SSH, alone in its wave."""
    key, challenge, clock = EpochKey.generate(), tiny_challenge(), MonotonicClock()
    let_key_in(machine, key)
    with Shell().open(_announced(machine), key, deadline=clock.now() + 20.0) as session:
        start_runner(session, deadline=clock.now() + 30.0)
        start_prover(session, prover_archive().content, "~/.cache/subnet", deadline=clock.now() + 60.0)
        wave = Wave([challenge.origin.executor_key], gate_limits_s(policy, 30.0), clock)
        began = time.monotonic()
        tracemalloc.start()
        try:
            reply = converse(session, challenge, wave, clock, policy, lambda size: bytes(range(size)))
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        wall_s, wire_bytes = time.monotonic() - began, session.bytes_received
    return Told(verify_shard([(challenge, reply)])[0], wire_bytes, wall_s, peak_bytes)


def _announced(machine: Machine) -> Executor:
    return Executor(
        executor_id=machine.executor_id,
        miner_hotkey="5Miner",
        miner_uid=4,
        miner_registered_at_block=10,
        address=machine.address,
        port=machine.port,
        user=USER,
        python=ANNOUNCED_PYTHON,
        host_key=public_key_blob(machine.host_key),
        price_usd_per_hour=1.0,
    )


WINDOW_BYTES, BUDGET_BYTES = 2 * MIB, 9 * MIB
"""What a session reads at most before it is closed: the window of output that nobody asked for yet, with its packets' frames;
its whole budget, where errors are read on to give the window back."""
MALFORMED, LATE, GONE = "PROOF_MALFORMED", "PROOF_TOO_LATE", "PROOF_ABANDONED"
ENDS = {
    "no lie": ("PROVED", ""),
    "a frame of 100 MB": (MALFORMED, "walk 0: a frame of 104857600 bytes"),
    "a frame of 100 MB at OPEN": (MALFORMED, "open: a frame of 104857600 bytes"),
    "a line instead of a frame": (MALFORMED, "walk 0: a frame of "),
    "half a frame, then silence": (LATE, "walk 0: no answer by its deadline"),
    "half a frame, then gone": (GONE, "walk 1: connection lost"),
    "a frame dripped": (LATE, "walk 0: no answer by its deadline"),
    "two answers": (MALFORMED, "walk 1: round is 0"),
    "deep JSON": (MALFORMED, "open: more than "),
    "empty frames without end": (MALFORMED, "walk 0: no JSON object"),
    "errors without end": (MALFORMED, "walk 0: bytes received over its limit"),
    "gone at OPEN": (GONE, "open: connection lost"),
    "bytes after the end, in its frame": (MALFORMED, "open: no JSON object: Extra data"),
    "bytes after the end, without end": ("PROVED", ""),
}
WAITS = {"half a frame, then silence", "a frame dripped"}


@pytest.mark.parametrize("lie", liar.LIES)
def test_what_lies_on_the_wire_ends_with_its_code(machines, lie):
    """Over real SSH each lie ends the proof with its own code, soon, in little memory, and with most of its bytes unread.

    After the last answer nothing is read any more: bytes without end cost their sender alone.
    """
    told = _proved(machines[lie], HASTY if lie in WAITS else PATIENT)
    code, says = ENDS[lie]
    assert told.verdict.code == code
    assert told.verdict.severity is (None if code == "PROVED" else Severity.FAIL)
    assert " ".join(reason.got for reason in told.verdict.reasons).startswith(says)
    assert told.wire_bytes < (BUDGET_BYTES if lie == "errors without end" else WINDOW_BYTES)
    assert told.verdict.bytes_received < 64 * 1024
    assert told.peak_bytes < 4 * MIB
    assert told.wall_s < 20.0
