from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import replace

import pytest

from deployments.localnet.fleet.profiles import (
    HOSTILE,
    LEAST_MBIT_S,
    LEAST_RTT_MS,
    MOST_MBIT_S,
    MOST_RTT_MS,
    Conditions,
    Fault,
    draw,
    key_seed,
)
from tasks.errors import SettingError

FAR = Conditions(seed=7, rtt_ms=None, wait_s=(5.0, 20.0), faults=0.1, is_line_bounded=True)
MANY = 4_000


def test_the_same_seed_gives_the_same_fleet():
    """Machine by machine; another seed gives another one."""
    fleet = [draw(FAR, n) for n in range(50)]

    assert fleet == [draw(FAR, n) for n in range(50)]
    assert fleet != [draw(replace(FAR, seed=8), n) for n in range(50)]
    assert key_seed(7, "farm-1") == key_seed(7, "farm-1") != key_seed(8, "farm-1")
    assert key_seed(7, "farm-1") != key_seed(7, "farm-2")


def test_a_fleet_without_faults_is_the_same_fleet_otherwise():
    """So that a run with hostile machines is compared with one in which only they differ."""
    honest = replace(FAR, faults=0.0)

    assert [replace(draw(FAR, n), fault=None) for n in range(500)] == [draw(honest, n) for n in range(500)]


def test_more_faults_keep_those_that_were_there():
    """Who is faulty at 10 % is so at 20 %, in the same way."""
    few = {n: draw(FAR, n).fault for n in range(MANY)}
    more = {n: draw(replace(FAR, faults=0.2), n).fault for n in range(MANY)}

    assert all(more[n] is fault for n, fault in few.items() if fault is not None)


def test_round_trips_are_log_normal_between_20_and_300_ms():
    """Half of them within 80 ms, a few at either bound."""
    trips_ms = [draw(FAR, n).rtt_ms for n in range(MANY)]

    assert min(trips_ms) == LEAST_RTT_MS
    assert max(trips_ms) == MOST_RTT_MS
    assert statistics.median(trips_ms) == pytest.approx(80.0, rel=0.05)
    assert sum(trip == MOST_RTT_MS for trip in trips_ms) < 0.03 * MANY


def test_a_fixed_round_trip_is_that_of_all():
    """And nothing else of a machine changes."""
    fixed = replace(FAR, rtt_ms=100.0)

    assert {draw(fixed, n).rtt_ms for n in range(20)} == {100.0}
    assert [draw(fixed, n).wait_s for n in range(20)] == [draw(FAR, n).wait_s for n in range(20)]


def test_waits_and_lines_stay_within_their_bounds():
    """Waits are uniform, lines log-uniform."""
    fleet = [draw(FAR, n) for n in range(MANY)]
    lines = [p.mbit_s for p in fleet if p.mbit_s is not None]

    assert all(5.0 <= p.wait_s <= 20.0 for p in fleet)
    assert statistics.mean(p.wait_s for p in fleet) == pytest.approx(12.5, rel=0.02)
    assert len(lines) == MANY
    assert LEAST_MBIT_S <= min(lines) < max(lines) <= MOST_MBIT_S
    assert statistics.median(lines) == pytest.approx((LEAST_MBIT_S * MOST_MBIT_S) ** 0.5, rel=0.1)


def test_faults_have_their_share_and_all_kinds_of_them_come():
    """One in ten, each kind about as often as any other."""
    faults = Counter(draw(FAR, n).fault for n in range(MANY))

    assert MANY - faults[None] == pytest.approx(0.1 * MANY, rel=0.15)
    assert all(faults[fault] > 0.04 * MANY / len(Fault) for fault in Fault)


def test_the_old_farm_is_near_instant_and_honest():
    """Without conditions nothing stands between the validator and its machines."""
    machine = draw(Conditions(), 3)

    assert (machine.rtt_ms, machine.mbit_s, machine.wait_s, machine.fault) == (0.0, None, 0.0, None)


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"rtt_ms": -1.0}, "rtt"),
        ({"rtt_ms": float("nan")}, "rtt"),
        ({"wait_s": (20.0, 5.0)}, "wait"),
        ({"wait_s": (0.0, 1e9)}, "wait"),
        ({"faults": 1.5}, "faults"),
        ({"seed": -1}, "seed"),
    ],
)
def test_conditions_that_make_no_sense_are_refused_by_name(wrong, key):
    """With the setting that is wrong."""
    with pytest.raises(SettingError) as refused:
        Conditions(**wrong)

    assert refused.value.key == key


def test_the_first_so_many_machines_may_be_honest_and_all_others_not():
    """For measuring what others cost the honest: those are the same machines in both fleets, and the rest are broken and hostile in every way."""
    mixed = Conditions(seed=7, rtt_ms=None, wait_s=(5.0, 20.0), honest=40)
    alone = replace(mixed, honest=None)

    assert [draw(mixed, n) for n in range(40)] == [draw(alone, n) for n in range(40)]
    assert {draw(mixed, n).fault for n in range(40, 240)} == set(HOSTILE)
