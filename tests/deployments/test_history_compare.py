"""`subnet history compare`, as a user types it."""

import json
from dataclasses import replace

import pytest

from storage.history import write_epoch
from tests.deployments.warm import warm
from tests.storage.histories import outcome, write_days

pytestmark = pytest.mark.xdist_group("history compare command")
"""What is typed here is imported once: one worker has it all."""


@pytest.fixture(scope="module")
def subnet():
    """The command, imported once."""
    with warm("deployments.commands.history.compare") as typed:
        yield typed


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two histories: epoch 2 has another score, epoch 9 is in the other one alone."""
    root = tmp_path_factory.mktemp("two")
    write_days(root / "a", epochs=3)
    write_days(root / "b", epochs=3)
    first, *others = outcome(2).scores
    write_epoch(root / "b", replace(outcome(2), scores=(replace(first, score=0.6), *others)))
    write_epoch(root / "b", outcome(9))
    return str(root / "a"), str(root / "b")


def test_what_differs_is_shown(tmp_path, two, subnet):
    """What both have, the columns that differ, the machines; exit code 1."""

    done = subnet("history", "compare", *two, folder=tmp_path, COLUMNS="120")

    assert (done.returncode, done.stderr) == (1, "")
    assert "3 epochs in both (1 to 3), 0 in A alone, 1 in B alone" in done.stdout
    assert "6 scores compared: 1 values of machines and miners differ" in done.stdout
    assert "scores: columns that differ" in done.stdout
    assert "5Alice/m-0" in done.stdout


def test_what_is_the_same(tmp_path, two, subnet):
    """Exit code 0, also when all differences are within the tolerance."""

    done = subnet("history", "compare", *two, "--tolerance", "0.5", folder=tmp_path)

    assert done.returncode == 0
    assert "6 scores compared: nothing differs" in done.stdout
    assert subnet("history", "compare", *two, "--epochs", "3-9", folder=tmp_path).returncode == 0


def test_json_for_programs(tmp_path, two, subnet):
    """Every difference with its machine, column, size and values."""

    done = subnet("history", "compare", *two, "--json", folder=tmp_path)

    told = json.loads(done.stdout)
    assert (told["both"], told["only_b"]) == ([1, 2, 3], [9])
    (difference,) = told["differences"]
    assert (difference["column"], difference["epoch"], difference["b"]) == ("score", 2, "0.6")


def test_a_mistake_is_one_sentence(tmp_path, two, subnet):
    """No epoch in common, or a range that is none: exit code 2."""

    none = subnet("history", "compare", *two, "--epochs", "7-9", folder=tmp_path)
    wrong = subnet("history", "compare", *two, "--epochs", "9-7", folder=tmp_path)

    assert (none.returncode, wrong.returncode) == (2, 2)
    assert "and they share none" in none.stderr
    assert "--epochs is '9-7', expected A-B" in wrong.stderr
