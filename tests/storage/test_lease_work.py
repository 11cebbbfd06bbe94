"""What hangs on a lease: its events, its work, who works on it, its operations, volumes and proofs."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from storage.backups import Backups
from storage.certificates import Certificates
from storage.claims import Claims, holder_of, run_of
from storage.errors import SealBroken, StorageError, VolumeBusy
from storage.lease_events import LeaseEvents
from storage.operations import Operations
from storage.rental import (
    Backup,
    Certificate,
    Happening,
    LeftVolume,
    Operation,
    OperationKind,
    OperationState,
    Party,
    Volume,
    VolumeState,
    Work,
    WorkKind,
)
from storage.rentals import Rentals
from storage.runs import this_run
from storage.sealing import Sealer
from storage.volumes import Volumes
from storage.works import Works
from tasks.renting.moves import failed, noted
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, rental

LATER = NOON + timedelta(minutes=1)


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


def work(name="w-1", subject="l-1", at=NOON):
    """Work of a lease."""
    return Work(name, WorkKind.RENT, subject, at)


def operation(name="o-1", key=None, at=NOON, kind=OperationKind.STOP):
    """Something asked of lease l-1."""
    return Operation(name, "l-1", key or name, kind, OperationState.ASKED, at)


def test_a_request_its_work_and_its_event_are_one(engine):
    """A new lease has its work and its event; the same request again has neither."""
    leases = Rentals(engine)
    for name in ("w-1", "w-2"):
        leases.request(rental(), [work(name)])

    (event,) = LeaseEvents(engine).after(0)
    assert [w.work_id for w in Works(engine).unstarted()] == ["w-1"]
    assert (event.sequence, event.lease_id, event.renter_id, event.kind) == (1, "l-1", "5Renter", "REQUESTED")


def test_a_move_is_told_with_it(engine):
    """A state that a lease comes to is an event, what happened beside it is one; a move that is refused tells nothing."""
    leases, events = Rentals(engine), LeaseEvents(engine)
    first, _ = leases.request(rental())
    second = noted(first, LATER, warned_at=LATER)
    assert leases.move(first, second, [Happening("WARNED", "an hour left", '{"left_s": 3600}')])
    assert not leases.move(first, second, [Happening("WARNED")])
    assert leases.move(second, failed(second, LATER, Party.PLATFORM, "no machine"), works=[work()])

    told = [(e.sequence, e.kind, e.message) for e in events.after(1, lease_id="l-1")]
    assert told == [(2, "WARNED", "an hour left"), (3, "FAILED", "no machine")]
    assert Works(engine).waiting(["l-1", "l-2"]) == {"l-1"}


def test_events_of_many_have_one_order_without_gaps(engine):
    """Eight threads at once: 1, 2, 3 to the last, and whoever reads on from where it was misses none."""
    leases, events = Rentals(engine), LeaseEvents(engine)

    def live(number):
        lease, _ = leases.request(rental(f"l-{number}", renter=f"5R-{number % 2}"))
        events.note(lease, LATER, Happening("STEP", "prove"), Happening("STEP", "pull"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(live, range(32)))

    assert [e.sequence for e in events.after(0, limit=1_000)] == list(range(1, 97))
    assert events.last() == 96
    of_one = events.after(0, renter_id="5R-1", limit=1_000)
    assert len(of_one) == 48
    assert [e.kind for e in events.after(0, lease_id="l-3")] == ["REQUESTED", "STEP", "STEP"]
    assert events.after(of_one[9].sequence, renter_id="5R-1", limit=5) == of_one[10:15]


def test_work_is_started_once(engine):
    """Of two starters one keeps its run; what is started doesn't wait any more, and is forgotten later."""
    works = Works(engine)
    Rentals(engine).request(rental(), [work()])

    assert works.started("w-1", "run-1")
    assert not works.started("w-1", "run-2")
    assert works.unstarted() == ()
    assert works.waiting(["l-1"]) == frozenset()
    assert (works.forget(NOON), works.forget(LATER)) == (0, 1)


def test_work_is_asked_for_again_when_it_was_long_ago(engine):
    """Not while the same waits or was just begun; a standstill is worked on again."""
    works = Works(engine)
    Rentals(engine).request(rental(), [work("w-1")])

    assert not works.again(work("w-2", at=LATER), LATER)
    works.started("w-1", "run-1")
    assert not works.again(work("w-2", at=LATER), NOON - timedelta(seconds=1))
    assert works.again(work("w-2", at=LATER), NOON)
    assert [w.work_id for w in works.unstarted()] == ["w-2"]


def test_one_works_on_a_lease(engine):
    """A claim is one holder's until it is over or given back; a holder may keep it longer, another may not."""
    claims = Claims(engine)
    assert claims.take("l-1", "a", LATER, NOON)
    assert claims.take("l-1", "a", LATER, NOON)
    assert not claims.take("l-1", "b", LATER, NOON)
    assert not claims.renew("l-1", "b", LATER)
    assert claims.held(NOON) == {"l-1"}
    claims.release("l-1", "b")
    assert claims.take("l-1", "b", LATER + timedelta(minutes=1), LATER)
    assert not claims.renew("l-1", "a", LATER)
    claims.release("l-1", "b")
    assert claims.held(NOON) == frozenset()


def test_of_many_one_has_the_claim(engine):
    """Sixteen want it at once, when it is free and when it is over."""
    claims, start = Claims(engine), threading.Barrier(16)

    def take(number, now):
        start.wait(30)
        return claims.take("l-1", f"h-{number}", now + timedelta(minutes=1), now)

    with ThreadPoolExecutor(16) as pool:
        first = list(pool.map(lambda n: take(n, NOON), range(16)))
        second = list(pool.map(lambda n: take(n + 16, NOON + timedelta(hours=1)), range(16)))

    assert (sum(first), sum(second)) == (1, 1)


def test_the_claim_of_a_dead_process_is_free_at_once(engine):
    """Killed with -9 it gives nothing back: its claim is taken over before its time, that of a living process is not."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    claims, mine = Claims(engine), this_run()
    ticks = int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19])
    other = replace(mine, token="t", pid=child.pid, started_ticks=ticks)
    assert run_of(holder_of(other)) == other
    assert claims.take("l-1", holder_of(other), LATER, NOON)

    assert not claims.take("l-1", holder_of(mine), LATER, NOON)
    child.kill()
    child.communicate()
    assert claims.held(NOON) == frozenset()
    assert claims.take("l-1", holder_of(mine), LATER, NOON)


def test_an_operation_is_asked_for_once(engine):
    """One key is one operation with its work and its event; they are open in the order in which they were asked for."""
    lease, _ = Rentals(engine).request(rental())
    operations = Operations(engine)
    first, is_new = operations.request(lease, operation("o-1", key="k"), [work("w-1", "o-1")])
    again, is_new_again = operations.request(lease, operation("o-2", key="k"), [work("w-2", "o-2")])
    second, _ = operations.request(lease, operation("o-0", at=LATER, kind=OperationKind.START))

    assert (is_new, is_new_again, again) == (True, False, first)
    assert [w.work_id for w in Works(engine).unstarted()] == ["w-1"]
    assert operations.open("l-1") == operations.open() == (first, second)
    assert operations.of_lease("l-1") == (second, first)


def test_an_operation_moves_once_and_is_told(engine):
    """Of two who begin it one does; its end is an event with its reason and its name."""
    lease, _ = Rentals(engine).request(rental())
    operations = Operations(engine)
    asked, _ = operations.request(lease, operation())
    running = replace(asked, state=OperationState.RUNNING, begun_at=NOON)

    assert operations.move(lease, asked, running)
    assert not operations.move(lease, asked, running)
    over = replace(running, state=OperationState.FAILED, ended_at=LATER, party=Party.MACHINE, reason="away")
    assert operations.move(lease, running, over)
    assert operations.get("o-1") == over
    assert operations.open() == ()
    events = LeaseEvents(engine).after(1)
    assert [e.kind for e in events] == ["STOP_ASKED", "STOP_RUNNING", "STOP_FAILED"]
    assert (events[-1].message, json.loads(events[-1].facts)) == ("away", {"operation_id": "o-1"})


def volume(name="data", renter="r-1", **changes):
    """A volume that is on no machine."""
    return Volume(renter, name, "", NOON, **changes)


def test_a_volume_is_one_leases_at_a_time(engine):
    """Mounted it is no other's; detached it stays on its machine, and nobody mounts it elsewhere."""
    volumes = Volumes(engine)
    assert volumes.make(volume())[1]
    assert not volumes.make(volume())[1]

    assert volumes.attach("r-1", "data", "l-1", "m/a") == volumes.attach("r-1", "data", "l-1", "m/a")
    volumes.keep("l-1")
    for lease, machine, why in (
        ("l-2", "m/a", "lease l-1 has it"),
        ("l-1", "m/b", "it is on m/a, not on m/b"),
    ):
        with pytest.raises(VolumeBusy, match=why):
            volumes.attach("r-1", "data", lease, machine)
    assert not volumes.doom("r-1", "data")
    volumes.detach("l-1")
    with pytest.raises(VolumeBusy, match="it is on m/a, not on m/b"):
        volumes.attach("r-1", "data", "l-2", "m/b")
    assert volumes.attach("r-1", "data", "l-2", "m/a").state is VolumeState.KEPT
    with pytest.raises(VolumeBusy, match="there is no volume"):
        volumes.attach("r-2", "data", "l-3", "m/a")


def test_a_volume_that_was_never_made_follows_its_lease(engine):
    """The first machine failed before anything was on it: it is meant for the next, and free after the lease."""
    volumes = Volumes(engine)
    volumes.make(volume())
    volumes.attach("r-1", "data", "l-1", "m/a")

    assert volumes.attach("r-1", "data", "l-1", "m/b").executor_key == "m/b"
    volumes.detach("l-1")
    assert volumes.get("r-1", "data") == volume()


def test_what_is_left_of_a_new_volume_on_a_machine_is_kept_in_mind(engine):
    """Its name is free for another machine meanwhile; on the same one it is the volume's own again."""
    volumes = Volumes(engine)
    for name in ("data", "kept"):
        volumes.make(volume(name))
    volumes.attach("r-1", "kept", "l-1", "m/a")
    volumes.keep("l-1")
    volumes.attach("r-1", "data", "l-1", "m/a")
    volumes.leave("l-1")
    left = LeftVolume("r-1", "data", "m/a")
    assert (volumes.get("r-1", "data"), volumes.of_lease("l-1")) == (volume(), ())
    assert (volumes.left_on("m/a"), volumes.left_on("m/b")) == ((left,), ())
    assert volumes.machines_with_left() == {"m/a"}

    volumes.attach("r-1", "data", "l-2", "m/b")
    assert volumes.left_on("m/a") == (left,)
    volumes.detach("l-2")
    volumes.attach("r-1", "data", "l-3", "m/a")
    assert volumes.left_on("m/a") == ()
    volumes.leave("l-3")
    volumes.leave("l-3")
    volumes.gone(left)
    assert volumes.machines_with_left() == frozenset()


def test_only_what_may_go_is_forgotten(engine):
    """A kept volume's row stays whatever is wiped; a doomed one goes when it is, and one of its lease alone too."""
    volumes = Volumes(engine)
    for one in (volume("kept"), volume("doomed"), volume("scratch", is_kept=False)):
        volumes.make(one)
    volumes.measured("r-1", "kept", 7)
    assert volumes.doom("r-1", "doomed")
    assert [v.name for v in volumes.doomed()] == ["doomed"]
    with pytest.raises(VolumeBusy, match="being wiped"):
        volumes.attach("r-1", "doomed", "l-1", "m/a")

    assert [volumes.wiped("r-1", name) for name in ("kept", "doomed", "scratch")] == [False, True, True]
    assert volumes.of_renter("r-1") == (volume("kept", size_bytes=7),)
    assert volumes.of_lease("l-1") == ()


def test_backups_and_certificates_are_kept(engine):
    """A backup has one row that says how it stands; a certificate is one for an attempt and an occasion."""
    backups, certificates = Backups(engine), Certificates(engine)
    backup = Backup("b-1", "l-1", "r-1", "volume:data", NOON)
    backups.save(backup)
    backups.save(whole := replace(backup, state="kept", size_bytes=3, blake2b="00"))
    assert (backups.get("b-1"), backups.of_renter("r-1")) == (whole, (whole,))
    assert not backups.forget("r-2", "b-1")
    assert backups.forget("r-1", "b-1")

    proof = Certificate("l-1", 1, "hand-over", NOON, "m/a", "PROVED", ("GPU-1",), "{}", b"{}" * 1_000)
    for one in (proof, replace(proof, at=LATER), replace(proof, occasion="return")):
        certificates.save(one)
    assert [(c.occasion, c.at) for c in certificates.of_lease("l-1")] == [
        ("hand-over", LATER),
        ("return", NOON),
    ]
    assert certificates.of_lease("l-1")[1].transcript == proof.transcript


def test_a_seal_is_opened_with_its_key_for_its_subject_alone(tmp_path):
    """Not for another lease, not under another key, not when a byte of it is another; nothing seals to nothing."""
    sealer, other = Sealer.of(tmp_path / "keys" / "a"), Sealer.of(tmp_path / "b")
    sealed = sealer.seal("l-1", {"environment": {"TOKEN": "hunter2"}})

    assert b"hunter2" not in sealed
    assert Sealer.of(tmp_path / "keys" / "a").open("l-1", sealed) == {"environment": {"TOKEN": "hunter2"}}
    assert sealer.open("l-1", sealer.seal("l-1", {})) == {}
    for who, subject, what in ((sealer, "l-2", sealed), (other, "l-1", sealed), (sealer, "l-1", sealed[:-9])):
        with pytest.raises(SealBroken, match=f"the secrets of {subject} can't be opened"):
            who.open(subject, what)


def test_a_key_file_is_its_owners_alone(tmp_path):
    """Made 0600, whoever makes it first; one that others may read, or that holds no key, is refused."""
    path = tmp_path / "key"
    with ThreadPoolExecutor(8) as pool:
        seals = [s.seal("l-1", {"a": 1}) for s in pool.map(lambda _: Sealer.of(path), range(8))]
    assert path.stat().st_mode & 0o777 == 0o600
    assert all(Sealer.of(path).open("l-1", seal) == {"a": 1} for seal in seals)
    assert [found.name for found in tmp_path.iterdir()] == ["key"]

    path.chmod(0o640)
    with pytest.raises(StorageError, match="may be read by others"):
        Sealer.of(path)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(StorageError, match="holds no key"):
        Sealer.of(path)
