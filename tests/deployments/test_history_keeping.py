"""`subnet history compact` and `forget`, as a user types them."""

import json

import pytest

from storage.history import archived_epochs, write_epoch
from tests.deployments.warm import warm
from tests.storage.histories import files, write_days
from tests.storage.outcomes import small_outcome

pytestmark = pytest.mark.xdist_group("history keeping command")
"""What is typed here is imported once: one worker has it all."""


@pytest.fixture(scope="module")
def subnet():
    """The command, imported once."""
    with warm("deployments.commands.history.compact", "deployments.commands.history.forget") as typed:
        yield typed


def test_past_days_are_folded(tmp_path, subnet):
    """A line a day says what became of its files; a second run finds nothing to do."""
    write_days(tmp_path / "archive", epochs=4)

    def run():
        return subnet("history", "compact", "--history", str(tmp_path / "archive"), folder=tmp_path)

    done = run()

    assert (done.returncode, done.stderr) == (0, "")
    assert "2026-08-01  28 files became 14 in 14 tables, " in done.stdout
    assert "Nothing to fold" in run().stdout


def test_a_damaged_day_is_told(tmp_path, subnet):
    """What was folded and what was not, for programs; exit code 1 when a day stays as it was."""
    write_days(tmp_path / "archive", epochs=2)
    (tmp_path / "archive/scores/day=2026-08-01/epoch-2.parquet").write_bytes(b"")
    options = ("--table", "scores", "--table", "epochs", "--before", "2026-08-02", "--json")

    done = subnet("history", "compact", "--history", str(tmp_path / "archive"), *options, folder=tmp_path)

    told = json.loads(done.stdout)
    assert (done.returncode, told["before"]) == (1, "2026-08-02")
    assert {(f["table"], bool(f["trouble"])) for f in told["folded"]} == {("scores", True), ("epochs", False)}


def test_forgetting_is_tried_before_it_is_done(tmp_path, subnet):
    """Without `--yes` it only says what would go; days may come from the settings, and go back from the newest archived."""
    write_days(tmp_path / "archive", epochs=7)

    def forget(*options, **environment):
        place = ("--history", str(tmp_path / "archive"))
        return subnet("history", "forget", *place, *options, folder=tmp_path, **environment)

    tried = forget("--days", "1")
    assert "2026-08-01  everything  " in tried.stdout
    assert "Nothing was forgotten: --yes does it." in tried.stdout
    assert archived_epochs(tmp_path / "archive") == [1, 2, 3, 4, 5, 6, 7]

    done = forget("--yes", "--json", SUBNET_KEEP_DAYS="1")
    assert json.loads(done.stdout)["is_done"]
    assert list(files(tmp_path / "archive", "scores")) == ["2026-08-03"]


def test_forgetting_without_a_policy_is_a_mistake(tmp_path, subnet):
    """Everything is kept for ever unless somebody says otherwise: exit code 2."""

    done = subnet("history", "forget", folder=tmp_path)

    assert done.returncode == 2
    assert done.stderr.startswith("Error: everything is kept for ever: give --transcripts-days or --days")


def test_a_file_that_can_not_be_opened_is_one_sentence(tmp_path, subnet):
    """A link that leads to itself in the archive: exit code 1, the file is named, and nothing is folded."""
    write_epoch(tmp_path / ".local" / "history", small_outcome(7))
    (found,) = (tmp_path / ".local" / "history" / "scores").rglob("epoch-7.parquet")
    found.unlink()
    found.symlink_to(found.name)

    done = subnet("history", "compact", folder=tmp_path)

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("Error: ")
    assert "epoch-7.parquet" in done.stderr
