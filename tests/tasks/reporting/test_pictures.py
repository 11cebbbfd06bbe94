"""The figures behind the pictures: arithmetic over the archive, and words where it says nothing."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from storage.records import Lease
from tasks.reporting.drawing import hotkey, label, look, number, percent
from tasks.reporting.palette import palette_of
from tasks.reporting.period import Period
from tasks.reporting.picture import Missing
from tasks.reporting.pictures import (
    checks,
    emission,
    leases,
    memory,
    network,
    phases,
    pictures_of,
    prices,
    scores,
    steps,
    uptime,
    zeros,
)
from tasks.reporting.reading import read_frames
from tasks.reporting.slots import outline, slots
from tests.tasks.reporting.network import AWAY, DISK, GIB, LOWERED, NOON, archive, epoch, machine
from tests.tasks.reporting.test_step_times import timed

DAY = Period(date(2026, 8, 1))
TEN = timedelta(minutes=10)


def frames_of(root, *epochs):
    return read_frames(archive(root, *epochs), DAY)


def test_an_empty_day_says_so_in_words(tmp_path):
    """No picture is drawn of nothing: each section has a sentence."""
    pictures = pictures_of(read_frames(tmp_path, DAY))

    assert all(isinstance(p, Missing) and p.why.endswith(".") for p in pictures)
    assert len({p.title for p in pictures}) == 11


def test_an_epoch_without_machines_draws_what_there_is(tmp_path):
    """A network without miners has phases, and nothing else to see."""
    pictures = pictures_of(frames_of(tmp_path, epoch(7)))

    assert [p.title for p in pictures if not isinstance(p, Missing)] == ["Duration of an epoch by phase"]


def test_the_network_is_counted_in_cards_of_the_machines_that_passed(tmp_path):
    """Over time by model, with the listed beside; an epoch without a model has none of its cards."""
    found = network.network(
        frames_of(
            tmp_path,
            epoch(7, machine("a", cards=4), machine("b", cards=2, reasons=[DISK])),
            epoch(8, machine("a", cards=4), machine("c", model="H100", cards=8, gib=80), at=NOON + TEN),
        )
    )

    assert found.passed.to_dict("list") == {"H100": [0, 8], "L4": [4, 4]}
    assert found.listed.tolist() == [6, 12]
    assert found.latest["cards"].to_dict() == {"H100": 8, "L4": 4}


def test_only_the_largest_models_have_a_colour_of_their_own(tmp_path):
    """Ten models: eight by listed memory, the others together."""
    machines = [machine(f"m{n}", model=f"M{n}", gib=10 + n) for n in range(10)]
    palette = palette_of(frames_of(tmp_path, epoch(7, *machines)))

    assert palette.names == ("M9", "M8", "M7", "M6", "M5", "M4", "M3", "M2", "other models")
    assert palette.series_of(pd.Series(["M9", "M0"])).tolist() == ["M9", "other models"]
    assert len({palette.colour(name) for name in palette.names}) == 9


def test_memory_of_simulated_cards_counts_in_full(tmp_path):
    """Half of 24 GiB was proved, at a 1024th: the picture shows 12 GiB and says that cards are simulated."""
    outcome = epoch(7, machine("a", gib=24))
    frames = frames_of(tmp_path, outcome)
    frames.epochs["memory_scale"] = 1024

    found = memory.memory(frames)

    assert (found.listed_bytes["L4"], found.proved_bytes["L4"]) == (24 * GIB, 12 * GIB)
    assert "one byte in 1,024" in memory.picture(frames).sentence


def test_the_burned_share_is_no_miners(tmp_path):
    """The owner's share stands apart; a miner that got nothing counts in the concentration all the same."""
    found = emission.emission(
        frames_of(
            tmp_path,
            epoch(
                7, machine("a"), machine("b", "5Bob", reasons=[DISK]), weights={"5Alice": 0.8, "5Owner": 0.2}
            ),
        )
    )

    assert found.kinds == ("weight",)
    assert found.burned["weight"] == pytest.approx(0.2)
    assert found.miners[["hotkey", "weight"]].to_dict("list") == {
        "hotkey": ["5Alice", "5Bob"],
        "weight": [0.8, 0],
    }
    assert (found.gini("weight"), found.top("weight", 1)) == (0.5, 1.0)


def test_checks_are_shares_of_what_they_looked_at(tmp_path):
    """Two of four machines fail at a code: half pass it. Warnings come last and stop nobody."""
    found = checks.checks(
        frames_of(
            tmp_path,
            epoch(
                7,
                machine("a", reasons=[DISK]),
                machine("b", reasons=[DISK]),
                machine("c", reasons=[AWAY, LOWERED]),
            ),
            epoch(8, machine("c", reasons=[LOWERED]), at=NOON + TEN),
        )
    )

    assert found.rows[["code", "share"]].to_numpy().tolist() == [
        ["DISK_BELOW_MINIMUM", 0.5],
        ["HOST_TIMEOUT", 0.25],
        ["HOST_MINIMUM_LOWERED", 0.5],
    ]


def test_a_check_in_shadow_stops_nobody(tmp_path):
    """It is told with what has no effect, and a machine that passes all others counts as passed."""
    shadow = replace(DISK, is_shadow=True)
    outcome = epoch(7, machine("a", reasons=[AWAY, shadow]), machine("b", reasons=[LOWERED]))
    frames = frames_of(tmp_path, outcome)
    rows = checks.checks(frames).rows.set_index("code")

    assert rows["has_effect"].to_dict() == {
        "DISK_BELOW_MINIMUM": False,
        "HOST_MINIMUM_LOWERED": False,
        "HOST_TIMEOUT": True,
    }
    assert frames.miners[["passed", "failed"]].to_numpy().tolist() == [[1, 0]]


def test_scores_of_zero_stand_apart(tmp_path):
    """A machine that ever scored is among the paid, with its mean."""
    found = scores.scores(
        frames_of(
            tmp_path,
            epoch(7, machine("a", score=2.0), machine("b", reasons=[DISK])),
            epoch(8, machine("a", reasons=[DISK]), machine("b", reasons=[DISK]), at=NOON + TEN),
        )
    )

    assert (found.paid.tolist(), found.unpaid, found.median) == ([1.0], 1, 1.0)


def test_scores_of_formulas_without_a_common_unit_are_not_mixed(tmp_path):
    """USD an hour of one day and points of another are no distribution: that is said in words."""
    points = epoch(8, machine("a"), at=NOON + TEN)
    points = replace(points, scores=tuple(replace(s, formula="lium-2026") for s in points.scores))

    alone = scores.scores(frames_of(tmp_path / "alone", points))
    mixed = scores.picture(frames_of(tmp_path / "mixed", epoch(7, machine("a")), points))

    assert alone.unit == "points of the formula"
    assert isinstance(mixed, Missing)
    assert "without a common unit" in mixed.why


@pytest.mark.parametrize("values", [[1.0], [0.001, 1000.0], [3.0, 3.0], [1e-30, 1e30]])
def test_every_score_lies_in_a_bar(values):
    """The edges cover all values, rise, and stay few."""
    edges = scores.edges_of(np.array(values))

    assert (np.diff(edges) > 0).all()
    assert len(edges) <= 121
    assert edges[0] <= min(values) * (1 + 1e-9)
    assert edges[-1] >= max(values) * (1 - 1e-9)


def test_a_price_is_for_what_was_proved(tmp_path):
    """0.5 USD an hour for 100 GB/s are 5 USD for each TB/s; without a price or a proof there is no point."""
    found = prices.prices(
        frames_of(
            tmp_path,
            epoch(
                7,
                machine("a"),
                machine("b", price=0.0),
                machine("c", reasons=[DISK]),
                machine("d", model="H100", gb_s=1000),
            ),
        )
    )

    assert found.by_model()["median"].to_dict() == pytest.approx({"H100": 0.5, "L4": 5.0})
    assert found.left_out == 2


def test_durations_are_of_phases_that_ended(tmp_path):
    """Medians by phase and of whole epochs; a phase that broke off is counted apart."""
    found = phases.phases(
        frames_of(
            tmp_path,
            epoch(7, seconds=(1.0, 10.0, 20.0)),
            epoch(8, seconds=(3.0, 30.0, None), at=NOON + TEN),
        )
    )

    assert found.spread["median"].to_dict() == {
        "discovery": 2,
        "inspection": 20,
        "proof": 20,
        "whole epoch": 32,
    }
    assert found.broken_off == 1
    assert found.seconds.to_dict("list") == {"discovery": [1, 3], "inspection": [10, 30], "proof": [20, 0]}


def test_false_zeros_are_drawn_by_code_as_a_share_of_the_judged(tmp_path):
    """Of two judged machines one was not paid for its disk in the second epoch of three: half, at that time."""
    good = (machine("a"), machine("b"))
    bad = (machine("a", reasons=[DISK]), machine("b"))
    frames = frames_of(
        tmp_path, epoch(7, *good), epoch(8, *bad, at=NOON + TEN), epoch(9, *good, at=NOON + 2 * TEN)
    )
    found = zeros.zeros(frames)

    assert (found.judged, found.zeros, found.forgiven, found.rate) == (2, 1, 0, 0.5)
    assert found.rates.to_dict("list") == {"DISK_BELOW_MINIMUM": [50.0]}
    assert (
        "1 were not paid (50.0 %), most of them for DISK_BELOW_MINIMUM (1)" in zeros.picture(frames).sentence
    )


def test_without_a_false_zero_there_is_no_picture_of_them(tmp_path):
    """It is said in words how many were judged."""
    told = zeros.picture(frames_of(tmp_path, *(epoch(n, machine("a"), at=NOON + n * TEN) for n in (7, 8, 9))))

    assert isinstance(told, Missing)
    assert (
        told.why
        == "Of 1 machine-epochs between two in which the machine passed unchanged, none was not paid."
    )


def test_neighbours_are_found_over_midnight(tmp_path):
    """The last epoch of a day is judged by the first of the next."""
    days = [NOON.replace(hour=23, minute=40), NOON.replace(hour=23, minute=50), NOON.replace(day=2, hour=0)]
    told = [machine("a"), machine("a", reasons=[DISK]), machine("a")]
    archive(tmp_path, *(epoch(n, one, at=at) for n, one, at in zip((7, 8, 9), told, days, strict=True)))

    assert read_frames(tmp_path, Period(date(2026, 8, 2), 2)).zeros.rate == 1.0
    assert read_frames(tmp_path, DAY).zeros.rate is None


def test_steps_are_told_with_their_slow_end(tmp_path):
    """A step that takes most of all time, and the one in which machines differ most."""
    machines = [timed(f"m-{n}", connect_s=9.0 if n == 0 else 0.1) for n in range(9)]
    told = steps.picture(frames_of(tmp_path, epoch(7, *machines)))

    assert told.sentence.startswith("Of all steps proof: walk takes most time: half of the machines 4")
    assert "Machines differ most in inspection: connect (0.0996 and 8.87 s)" in told.sentence
    assert [row[:2] for row in told.table.rows] == [
        (name, "9")
        for name in (
            *("inspection: connect", "inspection: facts", "inspection: whole"),
            *("proof: walk", "proof: multiply"),
        )
    ]


def test_leases_are_cards_and_money_as_an_epoch_began(tmp_path):
    """A lease of one card and one of a whole machine: five of six cards, for 3 USD an hour, ten minutes long."""
    outcome = epoch(7, machine("a", cards=4), machine("b", cards=2))
    let = (
        Lease("l-1", "5Alice/a", (), 2.5, NOON),
        Lease("l-2", "5Alice/b", ("GPU-0",), 0.5, NOON),
    )
    frames = frames_of(tmp_path, replace(outcome, grounds=replace(outcome.grounds, leases=let)))
    found = leases.leases(frames)

    assert found.share.tolist() == [pytest.approx(5 / 6)]
    assert found.latest[["leases", "leased_cards", "usd_per_hour"]].tolist() == [2, 5, 3.0]
    assert found.usd == pytest.approx(0.5)
    assert isinstance(leases.picture(frames_of(tmp_path / "none", outcome)), Missing)


def test_uptime_is_what_passed_of_what_was_listed(tmp_path):
    """Three of four machine-epochs passed; an epoch in which a miner lists nothing is no downtime."""
    found = uptime.uptime(
        frames_of(
            tmp_path,
            epoch(7, machine("a"), machine("b"), machine("c", "5Bob")),
            epoch(8, machine("a"), machine("b", reasons=[DISK]), at=NOON + TEN),
        )
    )

    assert found.miners[["miner_hotkey", "passed", "failed"]].to_numpy().tolist() == [
        ["5Alice", 0.75, 0.25],
        ["5Bob", 1, 0],
    ]
    assert found.shares.fillna(-1).to_numpy().tolist() == [[1, 0.5], [1, -1]]


def test_of_many_miners_the_largest_are_drawn(tmp_path):
    """With more than forty the sentence says so, and the table has the first forty as well."""
    crowd = [machine("a", f"5Miner{n}") for n in range(43)]
    found = uptime.picture(frames_of(tmp_path, epoch(7, *crowd)))

    assert found.sentence.endswith("Drawn are the 40 miners with most machines.")
    assert (len(found.table.rows), found.table.left_out) == (40, 3)


def test_blocks_of_time_keep_gaps_open(tmp_path):
    """An epoch lasts until the next; after a gap of an hour the line is down in between."""
    times = [NOON, NOON + TEN, NOON + 8 * TEN, NOON + 9 * TEN]
    found = slots(pd.DataFrame({"epoch": range(4), "started_at": pd.to_datetime(times)}))
    minutes = [(t - pd.Timestamp(NOON)).total_seconds() / 60 for t in found.end]

    assert minutes == [10, 20, 90, 100]
    x, y = outline(np.array([0.0, 1, 5]), np.array([1.0, 2, 6]), np.array([3.0, 4, 2]))
    assert list(zip(x, y, strict=True)) == [
        (0, 0),
        (0, 3),
        (1, 3),
        (1, 4),
        (2, 4),
        (2, 0),
        (5, 0),
        (5, 2),
        (6, 2),
        (6, 0),
    ]


def test_a_month_has_no_more_blocks_than_a_picture_can_show():
    """Several epochs share a block, each block has their mean, and none is lost."""
    count = 1000
    times = [NOON + n * TEN for n in range(count)]
    found = slots(pd.DataFrame({"epoch": range(count), "started_at": pd.to_datetime(times)}), at_most=288)
    rows = pd.DataFrame({"epoch": range(count), "name": "x", "value": 1.0})

    assert len(found.begin) == 250
    assert found.mean(rows, "name", "value")["x"].tolist() == [1.0] * 250
    assert found.mean(rows[::2], "name", "value")["x"].tolist() == [0.5] * 250


def test_every_picture_can_be_drawn(tmp_path):
    """Of a network with one of everything, without a warning of matplotlib's."""
    shares = {"weights": {"5Alice": 1.0}, "incentive": {"5Alice": 0.5}}
    let = epoch(7, timed("a"), machine("b", "5Bob", reasons=[DISK]), **shares)
    let = replace(let, grounds=replace(let.grounds, leases=(Lease("l-1", "5Alice/a", (), 2.5, NOON),)))
    later = (epoch(n, timed("a"), at=NOON + n * TEN) for n in (9,))
    failed = epoch(8, machine("a", reasons=[DISK]), at=NOON + 8 * TEN)
    frames = frames_of(tmp_path, let, failed, *later)
    with look():
        drawn = [picture.draw() for picture in pictures_of(frames)]

    assert len(drawn) == 11
    assert all(figure.axes for figure in drawn)


def test_numbers_and_names_are_shown_short():
    """A share is 0 or 100 % only when it is exactly that; what a font lacks is replaced."""

    assert [percent(x) for x in (0, 1, 0.00001, 0.99999, 0.5)] == [
        "0 %",
        "100 %",
        "< 0.1 %",
        "99.9+ %",
        "50.0 %",
    ]
    assert [number(x) for x in (0.012345, 4.56, 1234.5, float("nan"))] == ["0.0123", "4.56", "1,234", "-"]
    assert label("显卡 \n$x^2$") == "?? ?$x^2$"
    assert label("a" * 20 + "b" * 20, 14) == "aaaaaaaa..bbbb"
    assert hotkey("5FxvFNabcdefghijklmnopqrstuvwxyzabcdefghijklmnopHaan") == "5FxvFN..Haan"
