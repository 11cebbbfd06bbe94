"""A whole epoch over real SSH, killed with SIGKILL at its steps and begun again: the same weights, set once.

At every seventh step; at every single one in the long form.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dying")]
REPOSITORY = Path(__file__).parents[2]
SET = {"confirmed", "already_set", "committed"}
DEADLINE_S = 600
STEPS = 40
"""An epoch has more than these."""


@pytest.fixture(scope="module", params=[7, pytest.param(1, marks=pytest.mark.long)])
def every(request):
    """At each of how many steps a run is killed."""
    return request.param


@pytest.fixture(scope="module")
def tries(tmp_path_factory, every):
    """The run that nobody killed, and one try for each step at which a run was killed."""
    script = [sys.executable, "-m", "tests.flows.dying", tmp_path_factory.mktemp("dying"), str(every)]
    done = subprocess.run(
        script, cwd=REPOSITORY, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    whole, *killed = map(json.loads, done.stdout.splitlines())
    return whole, killed


def test_it_was_killed_everywhere(tries, every):
    """Some sixty steps; each that was tried ended a run, and only the last try came through."""
    whole, killed = tries

    assert whole["ended"] == "done"
    assert len(killed) > STEPS // every
    assert Counter(t["ended"] for t in killed) == {"killed, done": len(killed) - 1, "done, done": 1}


def test_the_weights_are_those_of_a_run_that_nobody_killed(tries):
    """The row on the chain is the same, to the last u16."""
    whole, killed = tries

    assert [t["row"] for t in killed] == [whole["row"]] * len(killed)


def test_weights_are_set_once(tries):
    """As many extrinsics as epochs whose weights the state knows to be set: one for each tempo."""
    _, killed = tries

    assert [t["sent"] for t in killed] == [sum(s in SET for s in t["status"].values()) for t in killed]
    assert {t["sent"] for t in killed} == {1, 2}


def test_no_score_is_paid_twice_or_never(tries):
    """The weights of the second epoch begin where those of the first end, or with the first where it set none."""
    _, killed = tries
    second = [t for t in killed if "2" in t["paid_from"] and 1 in t["epochs"]]

    assert second
    assert [t["paid_from"]["2"] for t in second] == [2 if t["status"].get("1") in SET else 1 for t in second]


def test_every_epoch_is_archived(tries):
    """The epoch of a run that died is in the history too."""
    _, killed = tries

    assert [t["archived"] for t in killed] == [t["epochs"] for t in killed]
    assert [1, 2] in [t["archived"] for t in killed]
