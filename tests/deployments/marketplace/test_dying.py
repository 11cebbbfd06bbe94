"""The marketplace, killed with SIGKILL at every step of a renter's requests: nothing is doubled, nothing is lost."""

import json
import subprocess
import sys

import pytest

from deployments.sites import REPOSITORY

DEADLINE_S = 300


def killed(folder, every):
    """All tries."""
    script = [sys.executable, "-m", "tests.deployments.marketplace.dying", str(folder / "tries"), str(every)]
    done = subprocess.run(
        script, cwd=REPOSITORY, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_killed_at_several_steps_of_its_requests_it_does_them_once(tmp_path):
    """The renter sends them again to another process: one lease with its secrets, one volume, one run for each work."""
    check(killed(tmp_path, 4))


@pytest.mark.long
def test_killed_at_each_step_of_its_requests_it_does_them_once(tmp_path):
    """The same, at every single step."""
    tries = killed(tmp_path, 1)

    assert len(tries) > 20
    check(tries)


def check(tries):
    """What has to be true after each kill."""
    assert len(tries) > 5
    assert [told["ended"] for told in tries] == ["killed"] * (len(tries) - 1) + ["done"]
    for told in tries:
        step = f"killed at step {told['step']}"
        assert told["again"] == "done", step
        assert told["leases"] == [True], step
        assert told["secrets"] == [{"environment": {"TOKEN": "hunter2"}}], step
        assert told["events"] == ["REQUESTED", "END_ASKED"], step
        assert told["volumes"] == ["data"], step
        assert (told["waiting"], told["runs"]) == (0, {"rent": 1, "teardown": 1}), step
