"""Figures for Prometheus: of a real state, as Prometheus reads them, and a dashboard that asks for those alone."""

import json
import re
from datetime import timedelta
from importlib.resources import files

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from deployments.gauges.families import families_of
from deployments.gauges.serving import Sources, StateCollector, serve, text_of
from storage.lease_events import LeaseEvents
from storage.money import Money
from storage.rental import Happening
from storage.rentals import Rentals
from tasks.errors import SettingError
from tasks.renting.asking import ask_for_lease
from tasks.renting.money import granted
from tests.databases import fresh
from tests.tasks.renting.epochs import finish, machine
from tests.tasks.renting.leases import NOON, USD, rental
from tests.tasks.reporting.network import AWAY, DISK, archive, epoch
from tests.tasks.reporting.network import machine as listed
from tests.tasks.reporting.test_step_times import timed

DASHBOARD = json.loads((files("deployments.gauges") / "dashboard.json").read_text(encoding="utf-8"))


@pytest.fixture
def engine(tmp_path):
    """A state without an epoch."""
    made = fresh(tmp_path)
    yield made
    made.dispose()


def told(engine, now=NOON, history=None):
    """(name, labels) -> value, through the text that Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StateCollector(Sources(engine, history), lambda: now))
    text = generate_latest(registry).decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_before_the_first_epoch_nothing_is_made_up(engine):
    """What is not known has no sample; what is counted is zero."""
    found = told(engine)

    assert not [name for name, *_ in found if name.startswith(("subnet_epoch", "subnet_machines"))]
    assert found["subnet_waiting", ("what", "works without a flow run")] == 0


def test_an_epoch_is_told_with_its_machines(engine):
    """Two machines were listed and paid; it began at noon."""
    finish(engine, [machine("a"), machine("b")])
    found = told(engine)

    assert found["subnet_epoch",] == 7
    assert found["subnet_epoch_started_timestamp_seconds",] == NOON.timestamp()
    assert (found["subnet_machines_listed",], found["subnet_machines_paid",]) == (2, 2)


def test_leases_their_steps_and_their_money_are_told(engine):
    """Of five proofs that took 1 to 5 s the median is 3 s; what is older than an hour, or failed, does not count."""
    ask_for_lease(Rentals(engine), rental())
    Money(engine).post(granted("alice", 7 * USD, "g-1", NOON, "to begin with"))
    events = LeaseEvents(engine)
    for number, seconds in enumerate((99.0, 1.0, 2.0, 3.0, 4.0, 5.0, 50.0)):
        at = NOON - timedelta(hours=2) if number == 0 else NOON
        facts = {"name": "prove", "seconds": seconds, "state": "failed" if seconds == 50 else "done"}
        events.note(rental(), at, Happening("STEP", "", json.dumps(facts)))
    found = told(engine)

    assert found["subnet_leases", ("state", "requested")] == 1
    assert found["subnet_lease_step_seconds", ("quantile", "0.5"), ("step", "prove")] == 3.0
    assert found["subnet_lease_steps", ("step", "prove")] == 5
    assert found["subnet_money_usd", ("kind", "renter")] == 7
    assert sum(value for (name, *_), value in found.items() if name == "subnet_money_usd") == 0


def test_money_that_moves_is_counted_on(engine):
    """Two scrapes with a grant between: what was moved goes up, whoever looks."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StateCollector(Sources(engine), lambda: NOON))
    Money(engine).post(granted("alice", 7 * USD, "g-1", NOON, "to begin with"))
    first = registry.get_sample_value("subnet_moved_usd_total", {"kind": "GRANT"})
    Money(engine).post(granted("alice", 3 * USD, "g-2", NOON, "more"))

    assert (first, registry.get_sample_value("subnet_moved_usd_total", {"kind": "GRANT"})) == (7, 10)


def test_pass_rates_and_durations_are_of_the_newest_archived_epoch(engine, tmp_path):
    """One of two machines lacks disk now; that another was silent in an earlier epoch keeps its code told, as passed by all."""
    archive(
        tmp_path / "h",
        epoch(7, listed("a", reasons=[AWAY]), listed("b"), at=NOON),
        epoch(8, timed("a"), listed("b", reasons=[DISK]), at=NOON + timedelta(minutes=10)),
    )
    found = told(engine, history=tmp_path / "h")

    def passed(code):
        return found["subnet_check_pass_ratio", ("code", code), ("stage", "inspection")]

    assert found["subnet_archived_epoch",] == 8
    assert (passed("DISK_BELOW_MINIMUM"), passed("HOST_TIMEOUT")) == (0.5, 1.0)
    assert found["subnet_checked", ("stage", "proof")] == 1
    walk = ("stage", "proof"), ("step", "walk")
    assert found["subnet_step_seconds", ("quantile", "0.95"), *walk] == pytest.approx(4.0, rel=0.025)
    assert found["subnet_step_spent_seconds", *walk] == 4.0
    assert found["subnet_proof_received_bytes",] == 9


def test_false_zeros_of_a_day_are_told_as_epochs_come(engine, tmp_path):
    """One look after each epoch tells the same as one look after all of them; epochs are read once."""
    day = [
        epoch(number, listed("a", reasons=why), listed("b"), at=NOON + number * timedelta(minutes=10))
        for number, why in ((7, []), (8, [DISK]), (9, []), (10, []))
    ]
    collector = StateCollector(Sources(engine, tmp_path / "h"), lambda: NOON)
    for one in day:
        archive(tmp_path / "h", one)
        followed = collector.read().archived
    found = told(engine, history=tmp_path / "h")

    assert (followed.judged, followed.zeros) == (3, {("DISK_BELOW_MINIMUM", "false zero"): 1})
    assert found["subnet_false_zero_ratio",] == pytest.approx(1 / 3)
    assert found["subnet_judged_machine_epochs",] == 3


def test_an_archived_epoch_that_cannot_be_read_is_counted(engine, tmp_path):
    """The figures stay those of the epoch before."""
    root = archive(
        tmp_path / "h", epoch(7, listed("a")), epoch(8, listed("a"), at=NOON + timedelta(minutes=10))
    )
    (root / "scores/day=2026-08-01/epoch-8.parquet").write_bytes(b"no Parquet")
    found = told(engine, history=root)

    assert (found["subnet_archived_epoch",], found["subnet_archived_unread",]) == (7, 1)


def test_prometheus_is_answered(engine):
    """Over HTTP, the same as printed once; a port that somebody has is told."""
    finish(engine, [machine("a")])
    with serve(Sources(engine), "127.0.0.1", 0) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
        with pytest.raises(SettingError), serve(Sources(engine), "127.0.0.1", port):
            pass

    assert answer.text == text_of(Sources(engine))
    assert "subnet_machines_paid 1.0" in answer.text


def test_the_dashboard_asks_for_what_there_is(engine, tmp_path):
    """Every figure of a panel is told, panels don't lie on each other, and each has its own number."""
    archive(tmp_path / "history", epoch(7, timed("a")))
    families = families_of(StateCollector(Sources(engine, tmp_path / "history")).read())
    names = {family.name + "_total" * (family.type == "counter") for family in families}
    panels = DASHBOARD["panels"]
    asked = {
        name for one in panels for to in one["targets"] for name in re.findall(r"subnet_\w+", to["expr"])
    }
    places = [
        (one["gridPos"]["x"] + dx, one["gridPos"]["y"] + dy)
        for one in panels
        for dx in range(one["gridPos"]["w"])
        for dy in range(one["gridPos"]["h"])
    ]

    assert asked <= names
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
    assert [one["id"] for one in panels] == list(range(1, len(panels) + 1))
