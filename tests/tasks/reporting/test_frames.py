"""From the archive to rows that are added up: whole days of UTC, each machine once an epoch."""

from datetime import UTC, date, datetime, timedelta

import pytest

from storage.compaction import compact
from storage.errors import HistoryDamaged
from tasks.reporting.period import Period, yesterday
from tasks.reporting.reading import read_frames
from tests.tasks.reporting.network import AWAY, DISK, GIB, LOWERED, NOON, archive, epoch, machine

DAY = date(2026, 8, 1)


def test_a_day_is_from_midnight_to_midnight_utc(tmp_path):
    """An epoch belongs to the day on which it began, and a period of days holds each of them once."""
    midnight = datetime(2026, 8, 1, tzinfo=UTC)
    times = {
        7: midnight - timedelta(seconds=1),
        8: midnight,
        9: midnight + timedelta(hours=23, minutes=59),
        10: midnight + timedelta(days=1),
    }
    archive(tmp_path, *(epoch(n, machine("a"), at=at) for n, at in times.items()))

    def epochs(*period):
        return read_frames(tmp_path, Period(*period)).epochs["epoch"].tolist()

    assert epochs(DAY) == [8, 9]
    assert epochs(DAY, 2) == [7, 8, 9]
    assert epochs(date(2026, 8, 2), 3) == [7, 8, 9, 10]


def test_yesterday_is_the_last_day_that_is_over():
    """Also for a clock of another zone: in Tokyo it is the second, in UTC still the first."""
    tokyo = datetime.fromisoformat("2026-08-02T05:00:00+09:00")

    assert yesterday(tokyo) == date(2026, 7, 31)
    assert (Period(DAY, 3).first, str(Period(DAY, 3).name)) == (date(2026, 7, 30), "2026-07-30_to_2026-08-01")
    with pytest.raises(ValueError, match="possible are 1 to 92"):
        Period(DAY, 93)


def test_machines_are_added_up_over_days(tmp_path):
    """Means are over all epochs in which a machine was listed, on whatever day; what it lists is as it was last."""
    tomorrow = NOON + timedelta(days=1)
    archive(
        tmp_path,
        epoch(7, machine("a", score=1.0, gb_s=100, cards=2), machine("b", reasons=[DISK])),
        epoch(8, machine("a", score=4.0, gb_s=300, cards=2, price=0.9), at=tomorrow),
        epoch(9, machine("a", reasons=[AWAY], cards=2, price=0.8), at=tomorrow + timedelta(minutes=10)),
    )
    rows = read_frames(tmp_path, Period(date(2026, 8, 2), 2)).machines.set_index("executor_key")
    a, b = rows.loc["5Alice/a"], rows.loc["5Alice/b"]

    assert (a["epochs"], a["passed"], a["price_usd_per_hour"]) == (3, 2, 0.8)
    assert a["score"] == pytest.approx(5 / 3)
    assert a["proved_gb_s"] == 400  # both cards: 200 and 600, the mean of the passed epochs
    assert (b["passed"], b["score"], b["proved_gb_s"] > 0) == (0, 0, False)


def test_models_have_what_is_listed_and_what_is_proved(tmp_path):
    """Only a machine that passed adds proved memory; a machine of no known model is counted as unknown."""
    archive(
        tmp_path,
        epoch(
            7,
            machine("a", cards=2),
            machine("b", reasons=[DISK]),
            machine("c", model="", reasons=[AWAY], cards=0),
        ),
    )
    rows = read_frames(tmp_path, Period(DAY)).models.set_index("model")

    assert rows.loc["L4", ["machines", "passed_machines", "cards", "passed_cards"]].tolist() == [2, 1, 3, 2]
    assert rows.loc["L4", ["listed_bytes", "proved_bytes"]].tolist() == [72 * GIB, 24 * GIB]
    assert rows.loc["unknown", "machines"] == 1


def test_a_code_counts_a_machine_once_an_epoch(tmp_path):
    """Two reasons of one code are one; the checks have their own number of those that were checked."""
    archive(
        tmp_path,
        epoch(7, machine("a", reasons=[DISK, DISK, LOWERED]), machine("b", reasons=[LOWERED]), machine("c")),
    )
    frames = read_frames(tmp_path, Period(DAY))
    counts = {(row.stage, row.code, row.severity): row.machines for row in frames.checks.itertuples()}

    assert counts == {
        ("inspection", "DISK_BELOW_MINIMUM", "fail"): 1,
        ("inspection", "HOST_MINIMUM_LOWERED", "warn"): 2,
    }
    assert frames.tried == {"discovery": 1, "inspection": 3, "proof": 2}


def test_failed_and_unheard_are_told_apart(tmp_path):
    """A miner's machine that could not be reached is no failed one."""
    archive(tmp_path, epoch(7, machine("a", reasons=[DISK]), machine("b", reasons=[AWAY]), machine("c")))
    (row,) = read_frames(tmp_path, Period(DAY)).miners.to_dict("records")

    assert (row["machines"], row["passed"], row["failed"]) == (3, 1, 1)


def test_shares_are_means_over_the_epochs_that_have_them(tmp_path):
    """A hotkey that is not in an epoch got nothing there; an epoch without weights counts for nobody."""
    archive(
        tmp_path,
        epoch(7, weights={"5Alice": 0.6, "5Owner": 0.4}, incentive={"5Alice": 0.5, "5Owner": 0.5}),
        epoch(8, weights={"5Bob": 1.0}),
        epoch(9),
    )
    rows = read_frames(tmp_path, Period(DAY)).shares.set_index("hotkey")

    assert rows["weight"].to_dict() == pytest.approx({"5Alice": 0.3, "5Bob": 0.5, "5Owner": 0.2})
    assert rows["incentive"].to_dict() == pytest.approx({"5Alice": 0.5, "5Bob": 0.0, "5Owner": 0.5})


def test_a_leased_machines_small_proof_is_no_measurement(tmp_path):
    """It measures caches: neither bandwidth is taken from it."""
    archive(tmp_path, epoch(7, machine("a", gb_s=9_000), machine("b", gb_s=100), leased={"a"}))
    rows = read_frames(tmp_path, Period(DAY)).machines.set_index("executor_key")["proved_gb_s"]

    assert rows.isna().to_dict() == {"5Alice/a": True, "5Alice/b": False}


def test_a_file_that_cannot_be_read_costs_its_own_rows(tmp_path):
    """The day's other epochs are in the report, and the file is named."""
    archive(tmp_path, *(epoch(n, machine("a"), at=NOON + timedelta(minutes=n)) for n in (7, 8, 9)))
    (tmp_path / "scores/day=2026-08-01/epoch-8.parquet").write_bytes(b"no Parquet")

    frames = read_frames(tmp_path, Period(DAY))

    assert frames.miners["epoch"].tolist() == [7, 9]
    assert len(frames.unread) == 1
    assert frames.unread[0].startswith(
        str(HistoryDamaged(f"{tmp_path}/scores/day=2026-08-01/epoch-8.parquet", ""))
    )


def test_a_folded_day_is_the_same_day(tmp_path):
    """Compaction changes nothing in a report; a folded file that can't be read is told once."""
    epochs = [epoch(n, machine("a", cards=n), at=NOON + timedelta(minutes=n)) for n in (7, 8, 9)]
    archive(tmp_path, *epochs)
    before = read_frames(tmp_path, Period(DAY))

    assert list(compact(tmp_path, date(2026, 8, 2)))
    after = read_frames(tmp_path, Period(DAY))
    (fold,) = tmp_path.glob("scores/day=*/fold-*.parquet")
    fold.write_bytes(b"no Parquet")

    assert after.models.equals(before.models)
    assert after.machines.equals(before.machines)
    assert len(read_frames(tmp_path, Period(DAY)).unread) == 1


def test_an_epoch_that_is_being_written_is_not_looked_at(tmp_path):
    """`epochs` is written last: what it does not list is not whole."""
    archive(tmp_path, *(epoch(n, machine("a"), at=NOON + timedelta(minutes=n)) for n in (7, 8)))
    (tmp_path / "epochs/day=2026-08-01/epoch-8.parquet").unlink()

    frames = read_frames(tmp_path, Period(DAY))

    assert (frames.epochs["epoch"].tolist(), frames.models["epoch"].tolist()) == ([7], [7])


def test_figures_are_bounded(tmp_path):
    """A price that is infinite, a negative score and a bandwidth beyond all sense leave room for the others."""
    archive(
        tmp_path,
        epoch(
            7,
            machine("a", price=float("inf"), score=-5.0, gb_s=1e300),
            machine("b", price=1e-300),
            seconds=(-1.0, 2.0, 3.0),
        ),
    )
    frames = read_frames(tmp_path, Period(DAY))
    a, b = frames.machines.to_dict("records")

    assert (a["price_usd_per_hour"], a["score"], a["proved_gb_s"]) == (1e6, 0, 1e9)
    assert (b["price_usd_per_hour"], b["score"]) == (0, 1)
    assert frames.phases["seconds"].tolist() == [0, 2, 3]
