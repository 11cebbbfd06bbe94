"""One setting chooses which engine talks to machines, and none of them finds anything else."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from deployments.sites import REPOSITORY
from tests.flows.engines import MACHINES

pytestmark = pytest.mark.long
"""Four epochs, and clusters that are started for two of them: more than two minutes."""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What threads and Dask found of the same machines."""
    return _told(tmp_path_factory, "threads", "dask")


@pytest.fixture(scope="module")
def told_by_all(tmp_path_factory):
    """The same with Ray, whose start takes more than all the others' work, and with processes, which all other tests use."""
    return _told(tmp_path_factory, "threads", "processes", "ray")


def _told(tmp_path_factory, *engines):
    """In a process of its own: engines leave much behind in theirs."""
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [sys.executable, "-m", "tests.flows.engines", str(tmp_path_factory.mktemp("engines")), *engines],
        cwd=REPOSITORY,
        # Ray writes a token into the home of who starts it.
        env=os.environ
        | {"HOME": str(home), "PYTHONPATH": str(REPOSITORY), "PREFECT_HOME": str(home / "prefect")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.xdist_group("engines")
def test_dask_gives_the_same_findings_and_scores_as_threads(told):
    """Seventy machines, a third of them broken or hostile, on two hands: codes and scores are equal, machine by machine."""
    assert told["dask"] == told["threads"]


@pytest.mark.xdist_group("engines")
@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_the_other_engines_do_so_too(told_by_all, engine):
    """The same by child processes and on Ray's workers."""
    assert told_by_all[engine] == told_by_all["threads"]


@pytest.mark.xdist_group("engines")
def test_the_machines_are_worth_comparing(told):
    """Most are proved and paid, and the others fail in many ways."""
    codes = Counter(
        verdict if not reasons else reasons[0] for reasons, verdict, _ in told["threads"].values()
    )

    assert codes.total() == MACHINES
    assert codes["PROVED"] > MACHINES / 2
    assert len(codes) >= 5
