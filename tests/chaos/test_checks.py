"""The checks after chaos: each finds what it is there for, planted by hand, and nothing where all is well."""

import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from storage.history import write_epoch
from storage.money import Money
from storage.records import WeightTarget
from storage.rental import Access, LeaseEvent, Party, RentalState, Volume, VolumeState
from storage.rentals import Rentals
from storage.tables import entries
from tasks.renting.containers import volume_name
from tasks.renting.money import deposit
from tests.chaos.check_epochs import Sent, check_history, is_same, unpaired
from tests.chaos.check_leases import (
    check_ledger,
    check_sequence,
    check_wanted,
    open_work,
    seconds_with_machine,
    stray_volumes,
    strays,
)
from tests.chaos.check_rest import damage
from tests.chaos.found import tried
from tests.chaos.watching import Running, Watcher, shared_cards, wrong_rows
from tests.databases import fresh
from tests.storage.outcomes import small_outcome
from tests.tasks.renting.leases import NOON, USD, after, rental, running

ACCESS = Access("127.0.0.1", 1, (), "", "", "subnet-l-1-1")
HERE = Running("subnet-l-1-1", "l-1", 1, ("GPU-a",), is_running=True)
LEASE = replace(running(), access=ACCESS)
TARGETS = (WeightTarget(1, "a", 0.75), WeightTarget(2, "b", 0.25))


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


class Asked:
    """A renter who has asked for these."""

    def __init__(self, name, *keys):
        self.name, self.wanted = name, dict.fromkeys(keys)


# --- leases ---


def test_cards_that_are_leased_once_are_fine():
    """A lease that holds two cards, one that is stopped and holds none, and the rows of held cards."""
    leases = [("l-1", "active", ["GPU-a", "GPU-b"], True), ("l-2", "stopped", ["GPU-a"], False)]

    assert list(wrong_rows({"GPU-a": "l-1", "GPU-b": "l-1"}, leases)) == []


@pytest.mark.parametrize(
    ("held", "leases", "told"),
    [
        (
            {"GPU-a": "l-1"},
            [("l-1", "active", ["GPU-a"], True), ("l-2", "active", ["GPU-a"], True)],
            "card GPU-a is held by l-1 and l-2",
        ),
        ({}, [("l-1", "active", ["GPU-a"], True)], "card GPU-a is l-1's, and nobody holds it"),
        ({"GPU-a": "l-1"}, [], "card GPU-a is held for l-1, which does not hold it"),
        ({}, [("l-1", "active", ["GPU-a"], False)], "lease l-1 is active and holds no cards"),
    ],
)
def test_a_card_of_two_leases_is_found(held, leases, told):
    """And whatever else does not fit between the two tables."""
    assert list(wrong_rows(held, leases)) == [told]


def test_two_containers_on_one_card_are_found():
    """Those of two leases that run; another attempt of the same one is a swap half done, and one that stands still uses nothing."""
    other = replace(HERE, name="subnet-l-2-1", lease_id="l-2")

    assert list(shared_cards([HERE, replace(HERE, name="subnet-l-1-2")])) == []
    assert list(shared_cards([HERE, replace(other, is_running=False)])) == []
    assert list(shared_cards([HERE, other])) == ["card GPU-a is in running containers of l-1 and l-2"]


def test_machines_have_what_leases_have():
    """The container of an active lease runs, that of a stopped one stands, those of others are gone."""
    stopped = replace(LEASE, state=RentalState.STOPPED)
    over = replace(LEASE, state=RentalState.ENDED)

    assert list(strays([HERE], [LEASE])) == []
    assert list(strays([replace(HERE, is_running=False)], [stopped])) == []
    assert list(strays([], [LEASE])) == ["lease l-1 is active, and its container subnet-l-1-1 is not there"]
    assert list(strays([HERE], [stopped])) == ["lease l-1 is stopped, and its container is running"]
    assert list(strays([HERE], [over])) == ["container subnet-l-1-1 is of no lease that stands"]


def test_volumes_that_are_nobodys_or_gone_are_found():
    """Kept ones are there; doomed ones are gone with their rows; new ones are nowhere yet."""
    kept = Volume("r", "data", "5M/a", NOON, state=VolumeState.KEPT)
    name = volume_name("r", "data", "5M/a")

    assert list(stray_volumes([name], [kept, Volume("r", "new", "", NOON)])) == []
    assert list(stray_volumes([name], [])) == [f"volume {name} is nobody's"]
    assert list(stray_volumes([], [kept])) == ["volume r/data is gone from its machine"]
    doomed = replace(kept, state=VolumeState.DOOMED)
    assert list(stray_volumes([name], [doomed])) == ["volume r/data was to be wiped and was not"]


def test_what_was_asked_for_and_is_nowhere_is_found(engine):
    """A lost request, one that stands still, and one that is over without a word."""
    rentals = Rentals(engine)
    rentals.request(rental("l-1", renter="r", key="one"))
    silent = rental("l-2", renter="r", key="two", state=RentalState.FAILED)
    rentals.request(silent)

    wrong = check_wanted(engine, [Asked("r", "one", "two", "three")]).wrong

    assert wrong[0] == "r asked for a lease by three: there are 0"
    assert wrong[1].startswith("lease l-1 is requested, since 12:00:00")
    assert wrong[2] == "lease l-2 is failed and nobody says why"
    assert open_work(engine, NOON) == ["lease l-1 is requested"]


def test_an_event_that_is_missing_is_found(engine):
    """Numbers without a gap, else something was lost."""
    rentals = Rentals(engine)
    for number in range(3):
        rentals.request(rental(f"l-{number}", key=f"{number}"))
    assert check_sequence(engine).wrong == ()

    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM lease_events WHERE sequence = 2")
    assert check_sequence(engine).wrong == ("events are not numbered 1, 2, 3",)


# --- money ---


def test_seconds_are_counted_from_hand_over_to_stop_and_again():
    """ACTIVE may be told twice; what happens while the machine is away counts for nobody."""

    def event(seconds, kind):
        return LeaseEvent(1, "l-1", "r", after(seconds), kind, "")

    told = [
        event(0, "REQUESTED"),
        event(5, "ACTIVE"),
        event(7, "STEP"),
        event(15, "STOPPED"),
        event(100, "ACTIVE"),
    ]

    assert seconds_with_machine(told, after(103)) == 13
    assert seconds_with_machine([*told, event(101, "ENDING"), event(150, "ENDED")], after(200)) == 11


def test_a_ledger_that_is_not_even_is_found(engine):
    """A line that somebody has written beside the ledger."""
    Money(engine).post(deposit("5Renter", 10 * USD, "359-1", NOON))
    assert check_ledger(engine).wrong == ()

    with engine.begin() as connection:
        row = {"transfer_id": "359-1", "account": "thief", "micro_usd": 5, "rao": 0}
        name = connection.execute(sa.select(entries.c.transfer_id)).scalars().first()
        connection.execute(sa.insert(entries).values(row | {"transfer_id": name}))
    assert "off by 5 micro-USD" in check_ledger(engine).wrong[0]


# --- epochs ---


def test_weights_that_were_set_twice_or_are_others_are_found():
    """One row on the chain for each epoch that says it has set some; 0.75 and 0.25 are 65535 and 21845."""
    good = Sent(10, {1: 65_535, 2: 21_845})
    meant = {5: TARGETS, 6: TARGETS}

    assert list(unpaired([good, replace(good, block=60)], meant, [5, 6])) == []
    assert "set 2 times on the chain (blocks [10, 10]), of epochs [5]" in next(
        unpaired([good, good], meant, [5])
    )
    assert "is not what epoch 5 meant" in next(unpaired([Sent(10, {1: 65_535})], meant, [5]))


def test_a_row_is_the_same_but_for_rounding():
    """65535ths."""
    assert is_same({1: 65_535, 2: 21_846}, TARGETS)
    assert not is_same({1: 65_535, 2: 21_000}, TARGETS)
    assert not is_same({}, TARGETS)


def test_half_a_file_is_found(tmp_path):
    """One that a killed writer left beside the others, and one that is cut off."""
    paths = write_epoch(tmp_path, small_outcome(7))
    assert check_history(tmp_path).wrong == ()

    beside = paths[0].with_name(f".{paths[0].name}.part")
    beside.write_bytes(b"PAR1")
    paths[1].write_bytes(paths[1].read_bytes()[:-50])
    wrong = check_history(tmp_path).wrong

    assert any(str(paths[1]) in told and "can't be read" in told for told in wrong)
    assert f"{beside} is half a file" in wrong


# --- databases ---


def test_a_damaged_database_is_found(tmp_path):
    """A page in the middle that is not what it was; a file that is none."""
    whole = tmp_path / "a.sqlite"
    connection = sqlite3.connect(whole)
    connection.execute("CREATE TABLE t (x TEXT)")
    connection.execute("CREATE INDEX i ON t (x)")
    connection.executemany("INSERT INTO t VALUES (?)", [(f"{n:050d}",) for n in range(2_000)])
    connection.commit()
    connection.close()
    assert list(damage(whole)) == []

    content = bytearray(whole.read_bytes())
    content[4_096 * 5 : 4_096 * 6] = bytes(4_096)
    whole.write_bytes(content)
    (tmp_path / "b.db").write_bytes(b"nothing of the kind" * 100)

    assert list(damage(whole)) != []
    assert "not a database" in next(damage(tmp_path / "b.db"))


def test_a_lease_that_is_over_with_a_reason_is_fine(engine):
    """Or ended, whoever ended it."""
    over = rental("l-1", renter="r", key="one", state=RentalState.ENDED, reason="enough", party=Party.NOBODY)
    Rentals(engine).request(over)

    assert check_wanted(engine, [Asked("r", "one")]).wrong == ()
    assert open_work(engine, NOON + timedelta(hours=1)) == []


def test_the_watcher_reads_what_stands_in_the_tables(engine, tmp_path):
    """A lease that holds its cards is fine; one that lost a row is told."""
    rentals = Rentals(engine)
    rentals.request(rental("l-1"))
    held = replace(
        rental("l-1"), state=RentalState.RESERVED, version=1, card_uuids=("GPU-a",), is_holding=True
    )
    assert rentals.move(rental("l-1"), replace(held, executor_key="5M/a"))
    watcher = Watcher(tmp_path / "subnet.db", "unix:///nowhere")

    watcher.look(engine)
    assert watcher.wrong == set()
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM held_cards")
    watcher.look(engine)

    assert watcher.wrong == {"card GPU-a is l-1's, and nobody holds it"}
    assert watcher.looks == 2


def test_a_check_that_breaks_is_a_finding():
    """Nothing is known then, and the other checks are made all the same."""

    def breaks():
        raise OSError("no such place")

    assert tried("leases", breaks).wrong == ("could not be checked: OSError: no such place",)
