"""A short run of the fuzzer with a fixed seed, and the fuzzer itself: it finds what is planted and shows it again."""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.fuzz.__main__ import main
from tests.fuzz.mutating import MAX_BYTES, mutated
from tests.fuzz.planted import LIMITS
from tests.fuzz.running import fuzz
from tests.fuzz.supervising import supervised
from tests.fuzz.targets import TARGETS, named

SEED = 20_261_127
INPUTS = {
    "facts": 120,
    "replies": 150,
    "proofs": 100,
    "answers": 200,
    "texts": 200,
    "http": 40,
    "sessions": 12,
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_short_run_finds_nothing(name, tmp_path):
    """What strangers may send ends with an error of ours or is read, within its budgets; `make fuzz` looks for longer."""

    run = fuzz(TARGETS[name], SEED, inputs=INPUTS[name], folder=tmp_path)

    assert [finding.told() for finding in run.findings] == []
    assert run.inputs == INPUTS[name]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("errs", "error"), ("burns", "cpu"), ("grows", "memory"), ("waits", "time"), ("leaves", "thread")],
)
def test_what_is_planted_is_found(name, kind, tmp_path):
    """An error that nobody caught, CPU, memory, time, a thread: each is a finding, kept once, and found again by its file."""

    run = fuzz(named(name), 1, inputs=30, folder=tmp_path)

    (finding,) = run.findings
    assert (finding.target, finding.kind, finding.path.read_bytes()) == (name, kind, b"input 7")
    assert f"--replay {os.path.relpath(finding.path)}" in finding.told()
    assert main(["--replay", str(finding.path)]) == 1


@pytest.mark.parametrize(("name", "kind"), [("hangs", "stuck"), ("crashes", "crash")])
def test_what_takes_the_process_with_it_is_found(name, kind, tmp_path):
    """An input that never ends, or ends the process, is known to who looks from outside, and kept."""

    run = supervised(named(name), 1, 20.0, tmp_path, stuck_s=1.0)

    (finding,) = run.findings
    assert (finding.kind, finding.path.read_bytes()) == (kind, b"input 7")


def test_one_seed_makes_the_same_inputs():
    """A run is told by its seed alone; another seed makes others."""

    seeds = [b'{"facts":[{"name":"a","exit":0}]}', b"GPU 0: NVIDIA H100 (UUID: GPU-1)\n" * 3]

    def made(seed: int) -> list[bytes]:
        rng = random.Random(seed)
        return [mutated(rng, seeds) for _ in range(200)]

    assert made(1) == made(1)
    assert made(1) != made(2)
    assert max(map(len, made(1))) <= MAX_BYTES
    assert len(set(made(1))) > 150


def test_a_run_ends_with_its_time(tmp_path):
    """However many inputs there could be."""

    began = time.monotonic()
    run = fuzz(named("texts"), 1, until=began + 0.3, folder=tmp_path)

    assert run.inputs > 0
    assert time.monotonic() - began < 10.0


@pytest.mark.parametrize("arguments", [["--only", "weather"], ["--replay", "no-such-file"]])
def test_a_mistake_is_told(arguments, capsys):
    """Exit code 2, and what was expected."""

    assert main(arguments) == 2
    assert "expected" in capsys.readouterr().err


def test_limits_are_those_of_the_issue():
    """Every target of ours is held to 20 MB and two seconds for its threads, as a hostile server is."""

    assert {t.limits.grown_mib for t in TARGETS.values()} == {LIMITS.grown_mib} == {20.0}
    assert {t.limits.threads_left_s for t in TARGETS.values()} == {2.0}
