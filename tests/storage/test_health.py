"""The looks at leases: the last of each, and a series that stays small however long a lease runs."""

from datetime import timedelta

import pytest

from storage.health import Grain, Health, LeaseHealth, Metric, grain_of
from storage.rental import CardUse
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, after


@pytest.fixture
def health(tmp_path):
    """An empty store."""
    engine = fresh(tmp_path)
    yield LeaseHealth(engine)
    engine.dispose()


def look(health, at, lease="l-1"):
    """A look with a sample."""
    cards = (CardUse("GPU-a", 40.0, 900), CardUse("GPU-b", 70.0, 100))
    health.save([Health(lease, at, well_at=at, sampled_at=at)], [Metric(lease, at, cards, cpu_percent=12.5)])


def test_the_last_look_is_kept(health):
    """One row a lease, the newest; a lease that nobody looked at has none."""
    look(health, NOON)
    look(health, after(15))

    assert health.get("l-1") == Health("l-1", after(15), well_at=after(15), sampled_at=after(15))
    assert health.get("l-2") is None
    assert set(health.all(["l-1", "l-2"])) == {"l-1"}


def test_samples_are_read_back_in_order(health):
    """The newest so many, oldest first; or those after a moment."""
    for n in range(5):
        look(health, after(15 * n))

    assert [m.at for m in health.metrics("l-1", newest=3)] == [after(30), after(45), after(60)]
    assert [m.at for m in health.metrics("l-1", since=after(30))] == [after(45), after(60)]
    assert health.metrics("l-1")[0].gpu_percent == 70.0
    assert Metric("l-1", NOON).gpu_percent is None


@pytest.mark.parametrize(
    ("at", "last", "grain"),
    [
        (0, None, Grain.HOUR),
        (15, 0, Grain.FINE),
        (60, 45, Grain.MINUTE),
        (3_600, 3_585, Grain.HOUR),
        (86_400, 0, Grain.HOUR),
        (61, 59, Grain.MINUTE),
    ],
)
def test_a_sample_has_a_grain(at, last, grain):
    """The first of its hour, of its minute, or neither."""
    assert grain_of(after(at), None if last is None else after(last)) is grain


def test_a_look_adds_nothing_to_what_is_measured_finely(health):
    """A sample of the watch is left out where another is younger than 10 s; what it found of the lease is kept."""
    look(health, NOON)
    for second in (5, 10, 15, 20):
        health.add(Metric("l-1", after(second)))
    look(health, after(22))
    look(health, after(31))

    assert [m.at for m in health.metrics("l-1")] == [after(s) for s in (0, 5, 10, 15, 20, 31)]
    assert health.get("l-1").looked_at == after(31)


def test_it_is_so_over_the_end_of_an_hour(health):
    """A finer sample before it counts after it, too."""
    health.add(Metric("l-1", after(3_598)))
    look(health, after(3_603))
    look(health, after(3_618))

    assert [m.at for m in health.metrics("l-1")] == [after(3_598), after(3_618)]
    assert [m.at for m in health.metrics("l-1", least=Grain.HOUR)] == [after(3_598), after(3_618)]


def test_a_minute_has_one_sample_that_lasts_whoever_took_it(health):
    """The first of the minute, and nobody's second."""
    look(health, after(45))
    health.add(Metric("l-1", after(58)))
    health.add(Metric("l-1", after(63)))
    look(health, after(75))
    health.add(Metric("l-1", after(121)))

    assert [m.at for m in health.metrics("l-1", least=Grain.MINUTE)] == [after(s) for s in (45, 63, 121)]
    assert [m.at for m in health.metrics("l-1", least=Grain.HOUR)] == [after(45)]


def test_old_samples_are_thinned_out(health):
    """Four a minute for ten minutes, one a minute for a day, one an hour for a month, then none."""
    for n in range(80):  # ten minutes before one o'clock, and ten after it
        look(health, after(3_000 + 15 * n))
    kept = {"fine_s": 600, "minutes_s": 86_400, "hours_s": 2_592_000}

    def left(now):
        health.thin(now, **kept)
        return len(health.metrics("l-1"))

    assert left(after(4_200)) == 10 + 40
    assert left(after(2 * 86_400)) == 2
    assert left(after(40 * 86_400)) == 0


def test_a_lease_has_bounded_rows(health):
    """Looks every 15 s, thinned as it goes: never more than the three stretches hold."""
    at, most = NOON, 0
    for n in range(200):
        at += timedelta(seconds=15)
        look(health, at)
        if n % 40 == 39:
            health.thin(at, 120, 600, 7_200)
            most = max(most, len(health.metrics("l-1", newest=10_000)))

    assert most <= 120 // 15 + 600 // 60 + 7_200 // 3_600 + 2
