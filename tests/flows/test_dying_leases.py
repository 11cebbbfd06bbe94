"""The life of a lease, killed with SIGKILL at every step: no double charge, no double lease, no orphan, no lost volume."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DEADLINE_S = 1_200
SEVERAL = {"rent": 8, "operate": 11, "teardown": 5}
"""Every so many steps; all of them in the long tests."""


def killed(folder, life, every):
    """All tries of a life."""
    script = [sys.executable, "-m", "tests.flows.dying_leases", folder / life, life, str(every)]
    done = subprocess.run(
        script, cwd=REPOSITORY, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("life", SEVERAL)
def test_killed_at_several_steps_it_comes_out_as_if_it_had_not_been(tmp_path, life):
    """Fresh processes go on: one container that runs, or none, the renter's key alone, and the books are right."""
    check(life, killed(tmp_path, life, SEVERAL[life]))


@pytest.mark.long
@pytest.mark.parametrize("life", SEVERAL)
def test_killed_at_each_step_it_comes_out_as_if_it_had_not_been(tmp_path, life):
    """The same, at every single step."""
    tries = killed(tmp_path, life, 1)

    assert len(tries) > 40
    check(life, tries)


def check(life, tries):
    """What has to be true after each kill."""
    assert len(tries) > 8
    assert Counter(t["ended"] for t in tries) == {"killed": len(tries) - 1, "done": 1}
    for told in tries:
        step = f"killed at step {told['step']}"
        assert told["again"] == ["done", "done"], step
        assert (told["leases"], told["gapless"], told["is_even"], told["claims"]) == (1, True, True, []), step
        assert len(told["volumes"]) == 1, step
        assert told["volumes_before"] in ([], told["volumes"]), step
        if life == "teardown":
            check_ended(told, step)
        else:
            check_active(life, told, step)


def check_active(life, told, step):
    """Handed over once: its one container runs, and lets in the renter's key alone."""
    assert told["state"] == "active", step
    assert told["containers"] == told["running"] == [told["container"]], step
    assert told["held"] == ["l-1"] * 2, step
    assert told["volume"] == ["l-1"], step
    assert len(told["keys"]) == 1, step
    assert told["operations"] == (["done"] * 4 if life == "operate" else []), step
    assert told["charged"] == 0, step


def check_ended(told, step):
    """Nothing is left but the volume, and it was charged once, to the second."""
    assert (told["state"], told["reason"]) == ("ended", "enough"), step
    assert (told["containers"], told["held"], told["volume"]) == ([], [], [""]), step
    assert told["charged"] == told["cost"] > 0, step
