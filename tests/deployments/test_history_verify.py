"""`subnet history verify`, as a user types it."""

import json
from dataclasses import replace

import pytest

from storage.history import write_epoch
from tests.deployments.warm import warm
from tests.tasks.proof.archives import archived, edited, some_talks

pytestmark = pytest.mark.xdist_group("history verify command")
"""What is typed here is imported once: one worker has it all."""


@pytest.fixture(scope="module")
def subnet():
    """The command, imported once."""
    with warm("deployments.commands.history.verify") as typed:
        yield typed


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """Epoch 7 as it was, and epoch 8 with one root changed."""
    root = tmp_path_factory.mktemp("history")
    talks = some_talks()
    write_epoch(root, archived(talks, 7))
    path = ("reply", "rounds", 0, "roots", 0)
    tampered = edited(archived(talks, 7), "5Alice/m-1", (path, "A" * 43 + "="))
    write_epoch(root, replace(tampered, epoch=8, weights=None, weight_outcome=None))
    return root


def test_an_epoch_that_holds(tmp_path, history, subnet):
    """A line says how many machines and cards were judged, how they came out and what it took; exit code 0."""

    done = subnet("history", "verify", "--epoch", "7", "--history", str(history), folder=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert "epoch 7  4 machines, 3 cards judged again in " in done.stdout
    assert "2 agree, 0 differ, 0 damaged, 2 broke off: nothing to verify" in done.stdout
    assert "ms CPU a card" in done.stdout


def test_an_epoch_that_does_not_hold(tmp_path, history, subnet):
    """The newest epoch when none is named: the machine that differs and what was got and wanted; exit code 1."""

    done = subnet("history", "verify", "--history", str(history), folder=tmp_path)

    assert done.returncode == 1
    assert "5Alice/m-1 differs" in done.stdout
    assert "CODE_DIFFERS: got WALK_" in done.stdout


def test_many_epochs_for_programs(tmp_path, history, subnet):
    """A range as JSON has an object an epoch."""

    done = subnet("history", "verify", "--all", "--json", "--history", str(history), folder=tmp_path)

    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert [(e["epoch"], e["holds"], e["cards"]) for e in told["epochs"]] == [(7, True, 3), (8, False, 3)]
    assert told["epochs"][1]["differences"][0]["executor"] == "5Alice/m-1"
    assert told["unread"] == []


def test_one_machine_or_one_miner(tmp_path, history, subnet):
    """`--executor` takes the machine's name alone, and `--miner` all of a hotkey's machines."""

    one = subnet(
        *("history", "verify", "--all", "--executor", "m-0", "--miner", "5Alice", "--json"),
        *("--history", str(history)),
        folder=tmp_path,
    )

    assert one.returncode == 0
    assert [e["machines"] for e in json.loads(one.stdout)["epochs"]] == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--epoch", "9"], "--epoch is '9', expected an archived epoch"),
        (["--executor", "m-77"], "--executor or --miner is 'm-77'"),
        (["--epoch", "7", "--all"], "exclude each other"),
    ],
)
def test_a_users_mistake_is_one_sentence(tmp_path, history, arguments, told, subnet):
    """An epoch or a machine that is not there ends with exit code 2."""

    done = subnet("history", "verify", *arguments, "--history", str(history), folder=tmp_path)

    assert (done.returncode, told in done.stderr) == (2, True), done.stderr


def test_a_damaged_file_is_told(tmp_path, history, subnet):
    """An epoch whose Parquet can't be read is named, and the others are judged; exit code 1."""

    copy = tmp_path / "copy"
    for path in history.rglob("*.parquet"):
        to = copy / path.relative_to(history)
        to.parent.mkdir(parents=True, exist_ok=True)
        is_bad = path.parts[-3:][0] == "verdicts" and path.name == "epoch-8.parquet"
        to.write_bytes(b"no Parquet" if is_bad else path.read_bytes())
    done = subnet("history", "verify", "--all", "--history", str(copy), folder=tmp_path)
    assert done.returncode == 1
    assert "epoch 7  4 machines" in done.stdout
    assert "cannot be read" in done.stdout


def test_without_any_archive(tmp_path, subnet):
    """Before any epoch was run the settings' own history is looked for, and how to make one is said."""

    done = subnet("history", "verify", folder=tmp_path)

    assert done.returncode == 2
    assert "`subnet epoch` runs one" in done.stderr


def test_help_of_the_group_and_its_commands(tmp_path, subnet):
    """Both levels have examples that can be typed."""

    assert "  subnet history verify" in subnet("history", "--help", folder=tmp_path).stdout
    assert (
        "  subnet history verify --from 20" in subnet("history", "verify", "--help", folder=tmp_path).stdout
    )
