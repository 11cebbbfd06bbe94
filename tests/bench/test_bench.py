"""The bench's own arithmetic: what it prints must follow from what it measured."""

import json

import pytest

from tests.bench.epochs import FEW, MANY, Series, rows
from tests.bench.measure import race
from tests.bench.rows import Row, write
from tests.bench.told import Told


def test_work_and_floor_are_run_in_turns_after_a_warm_up():
    """Ours and the floor alternate, once unmeasured and then as often as was asked."""
    done = []
    raced = race(lambda: done.append("ours"), lambda: done.append("floor"), runs=5)
    assert done == ["ours", "floor"] * 6
    assert raced.runs == 5


def test_cpu_of_all_threads_and_ended_children_is_counted():
    """A child process that computes is seen in its parent's cost."""
    import subprocess
    import sys

    raced = race(
        lambda: subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True),
        lambda: None,
        runs=1,
    )
    assert raced.ours.cpu_s > 0.02
    assert raced.floor.cpu_s < raced.ours.cpu_s / 5


def test_rows_are_written_with_their_ratio(tmp_path):
    """The file is a list with a ratio for each floor, and none where there is no floor."""
    path = tmp_path / "local" / "bench.json"
    write([Row("a", 3.0, "ms", 2.0, 5, "x"), Row("b", 4.0, "%", None, 5, "y")], path)
    assert json.loads(path.read_text()) == [
        {"name": "a", "value": 3.0, "unit": "ms", "floor": 2.0, "runs": 5, "note": "x", "ratio": 1.5},
        {"name": "b", "value": 4.0, "unit": "%", "floor": None, "runs": 5, "note": "y", "ratio": None},
    ]
    assert list(path.parent.iterdir()) == [path]


def test_the_marginal_cost_leaves_the_fixed_one_out():
    """Epochs of 1 s and 10 ms an executor, the server's 0.5 s in: 10 ms marginal, and Prefect's share of the larger."""

    def series(executors: int, **cpu_s: float) -> Series:
        told = {word: [Told(executors, executors, executors, s, s)] for word, s in cpu_s.items()}
        return Series(0.5, told)

    one = series(1, epoch=0.51, view=0.005)
    few = series(FEW, epoch=0.5 + 0.01 * FEW, floor=0.004 * FEW)
    many = series(MANY, epoch=0.5 + 0.01 * MANY, floor=0.004 * MANY, bare=0.3 + 0.01 * MANY)
    each, wall, fixed, share = rows(one, few, many)
    assert (each.value, each.floor) == (pytest.approx(10.0), pytest.approx(4.0))
    assert wall.value == pytest.approx(0.5 + 0.01 * FEW)
    assert fixed.value == pytest.approx(1_010.0)
    assert share.value == pytest.approx(100 * (0.2 + 0.5) / (1.0 + 0.01 * MANY))


def test_a_row_that_there_is_not_is_a_users_mistake(capsys):
    """`--only` with an unknown name ends with exit code 2 and one sentence that lists the names."""
    from tests.bench.__main__ import main

    assert main(["--only", "nope"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("Error: --only is 'nope', expected one of cli_import, ")
    assert told.count("\n") == 1


@pytest.mark.long
def test_epochs_follow_each_other_without_waiting(tmp_path, request):
    """The rig's validator runs one epoch after the other over a farm: the chain's next epoch begins when it asks."""
    import os
    import subprocess
    import sys

    from tests.bench.paths import REPOSITORY

    (tmp_path / "localnet").mkdir()
    (tmp_path / "localnet" / "cache").symlink_to(request.config.cache.mkdir("kernels"))
    started = subprocess.Popen(
        [
            *(sys.executable, "-m", "deployments.localnet.farm", "--folder", tmp_path / "localnet"),
            *("--executors", "1", "--miners", "1"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    with started as farm:
        assert farm.stdout is not None
        assert farm.stdout.readline() == "ready\n"
        validator = subprocess.run(
            [sys.executable, "-m", "tests.bench.validator", tmp_path],
            input="bare\nbare\n",
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=REPOSITORY,
            env={k: v for k, v in os.environ.items() if not k.startswith(("SUBNET_", "PREFECT_API"))},
        )
        farm.kill()
    assert [json.loads(line)["proved"] for line in validator.stdout.splitlines()] == [1, 1]
