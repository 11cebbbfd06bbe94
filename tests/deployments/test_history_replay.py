"""`subnet history replay`, as a user types it."""

import json
from dataclasses import replace

import pytest

from storage.history import write_epoch
from tests.deployments.warm import warm
from tests.tasks.scoring.epochs import world

pytestmark = pytest.mark.xdist_group("history replay command")
"""What is typed here is imported once: one worker has it all."""


@pytest.fixture(scope="module")
def subnet():
    """The command, imported once."""
    with warm("deployments.commands.history.replay") as typed:
        yield typed


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """Epoch 7 as it was, epoch 8 with one score doubled, epoch 9 that was stopped."""
    root = tmp_path_factory.mktemp("history")
    write_epoch(root, world().epoch(7))
    other = world().epoch(8)
    paid = next(s for s in other.scores if s.score > 0)
    scores = tuple(replace(s, score=2 * s.score) if s is paid else s for s in other.scores)
    write_epoch(root, replace(other, scores=scores))
    write_epoch(root, replace(world().epoch(9), scores=(), weights=None))
    return root


def test_an_epoch_that_is_identical(tmp_path, history, subnet):
    """One line says so; exit code 0."""

    done = subnet("history", "replay", "--epoch", "7", "--history", str(history), folder=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("epoch 7  identical  20 scores and ")


def test_an_epoch_that_differs(tmp_path, history, subnet):
    """The machine, the column, what was archived and what comes out; exit code 1."""

    done = subnet("history", "replay", "--epoch", "8", "--history", str(history), folder=tmp_path)

    assert done.returncode == 1
    assert "epoch 8  differs  20 scores and " in done.stdout
    assert " 1 values differ; archived by version 0.1.0" in done.stdout
    assert " scores.score: archived " in done.stdout


def test_many_epochs_for_programs(tmp_path, history, subnet):
    """A range or all, as JSON with an object an epoch."""

    done = subnet(
        "history", "replay", "--epochs", "all", "--json", "--history", str(history), folder=tmp_path
    )

    told = json.loads(done.stdout)["epochs"]
    assert done.returncode == 1
    assert [(e["epoch"], e["standing"]) for e in told] == [(7, "identical"), (8, "differs"), (9, "nothing")]
    (difference,) = told[1]["differences"]
    assert difference["archived"] == 2 * difference["replayed"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--epochs", "7..8"), "--epochs is '7..8', expected A-B, the first and the last"),
        (("--epoch", "70"), "expected an archived epoch: "),
        (("--epoch", "7", "--epochs", "all"), "--epoch and --epochs exclude each other"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, history, options, said, subnet):
    """Exit code 2."""

    done = subnet("history", "replay", *options, "--history", str(history), folder=tmp_path)

    assert done.returncode == 2
    assert said in done.stderr
