"""Records of bringing machines in: kept over kills, believed only for what was done with exactly this mark."""

import pytest

from tasks.errors import StoreAway
from tasks.onboarding.records import Records


@pytest.fixture
def records(tmp_path):
    opened = Records(tmp_path / "agent")
    yield opened
    opened.close()


def test_whoever_only_looks_makes_no_file(records):
    """Nothing is known of anything, and the folder is not there."""

    assert (records.executor_id("gpu-1"), records.get("gpu-1", "proof"), records.all_of("gpu-1")) == (
        None,
        None,
        [],
    )
    assert not records.path.parent.exists()


def test_a_step_holds_for_its_own_mark(records):
    """One that has begun does not, nor one that failed, nor one that was done with something else."""

    records.begin("gpu-1", "proof", "these cards", 100.0)
    begun = records.holds("gpu-1", "proof", "these cards")
    records.end("gpu-1", "proof", "failed", 2.0, "why")
    failed = records.holds("gpu-1", "proof", "these cards")
    records.begin("gpu-1", "proof", "these cards", 200.0)
    records.end("gpu-1", "proof", "done", 3.5, "one card")
    done = records.holds("gpu-1", "proof", "these cards")

    assert (begun, failed, records.holds("gpu-1", "proof", "other cards")) == (None, None, None)
    assert (done.at_s, done.seconds, done.detail) == (200.0, 3.5, "one card")


def test_records_outlive_whoever_wrote_them(records, tmp_path):
    """Another process finds the name and every step, in the order of their begins."""

    records.know("gpu-1", "rack1-a")
    for number, step in enumerate(("offer", "agent", "verdict")):
        records.begin("gpu-1", step, "", float(number))
    other = Records(tmp_path / "agent")

    assert other.executor_id("gpu-1") == "rack1-a"
    assert [(r.step, r.state) for r in other.all_of("gpu-1")] == [
        ("offer", "begun"), ("agent", "begun"), ("verdict", "begun"),
    ]  # fmt: skip
    other.drop("gpu-1", "agent")
    other.close()
    assert [r.step for r in records.all_of("gpu-1")] == ["offer", "verdict"]
    records.forget("gpu-1")
    assert (records.executor_id("gpu-1"), records.all_of("gpu-1")) == (None, [])


def test_a_file_that_is_none_is_told(records):
    """The step that needs it fails with its path."""

    records.path.parent.mkdir()
    records.path.write_text("no database at all, though long enough to be taken for one" * 10)

    with pytest.raises(StoreAway, match=r"onboarding\.sqlite"):
        records.know("gpu-1", "rack1-a")
