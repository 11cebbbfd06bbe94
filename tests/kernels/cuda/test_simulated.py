import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels.cuda.simulated import CASES, LONG

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def outcomes():
    """What went wrong in each case, all of them in one process under the simulator."""
    return simulated()


def simulated(*words):
    """What a process under the simulator tells."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.cuda.simulated", *words],
        cwd=ROOT,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.xdist_group("cuda_simulator")
@pytest.mark.parametrize("case", CASES)
def test_a_card_computes_what_the_cpu_does(outcomes, case):
    """Under the simulator each kernel gives the bytes of its CPU form (the case's own sentence is in `simulated`)."""

    assert outcomes[case] == ""


@pytest.mark.long
def test_a_card_computes_what_the_cpu_does_in_products_of_many_rows():
    """The same, of cases that take long."""

    assert simulated("long") == dict.fromkeys(LONG, "")
