"""The orphan sweep removes what has a proof of no lease, and never anything else."""

from dataclasses import replace
from itertools import product

import pytest

from storage.rental import RentalState, Volume
from storage.rentals import Rentals
from storage.volumes import Volumes
from tasks.edges.engine import Container
from tasks.errors import ContainerRefused, VolumeRefused
from tasks.renting.containers import volume_name
from tasks.renting.moves import CLOSED, failed
from tasks.renting.sweeping import Fate, Swept, fate_of, sweep
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, rental, running

OURS, MACHINE = "5Validator", "5Miner/a"


def container(lease="l-1", attempt=1, validator=OURS, machine=MACHINE):
    """A container of a lease, as its engine shows it."""
    return Container(
        name=f"subnet-{lease}-{attempt}",
        container_id="ab" * 32,
        image_id="sha256:" + "cd" * 32,
        lease_id=lease,
        attempt=attempt,
        renter_id="alice",
        validator_hotkey=validator,
        executor_key=machine,
        spec_digest="",
        status="running",
        exit_code=0,
        is_oom_killed=False,
        started_at=NOON,
        finished_at=None,
        ports=(),
    )


def fate(found, lease, at_work=()):
    return fate_of(found, {lease.lease_id: lease}.get, at_work, OURS, MACHINE)


@pytest.mark.parametrize("state", RentalState)
def test_a_container_whose_lease_is_closed_is_an_orphan(state):
    """In every other state its lease has it."""
    lease = running(attempt=1)
    lease = type(lease)(**{f: getattr(lease, f) for f in lease.__slots__} | {"state": state})

    found = replace(container(), status="exited" if state is RentalState.STOPPED else "running")
    assert fate(found, lease) is (Fate.ORPHAN if state in CLOSED else Fate.IN_USE)


def test_what_an_earlier_attempt_left_is_an_orphan():
    """The lease went on to another machine, or looks for one: what this attempt made is nobody's."""
    assert fate(container(), running(attempt=2, executor_key="5Miner/b")) is Fate.ORPHAN
    assert fate(container(), rental(attempt=1)) is Fate.ORPHAN


def test_what_was_being_made_when_its_lease_ended_is_an_orphan():
    """A replacement that was killed before it was written down: its attempt is not in the lease, which is over all the same."""
    over = running(attempt=1, state=RentalState.ENDED)

    assert fate(container(attempt=2), over) is Fate.ORPHAN
    assert fate(container(attempt=2), over, at_work={"l-1"}) is Fate.IN_USE


def test_what_somebody_works_on_is_left_alone():
    """A run that undoes it, or tears it down, is told by its claim."""
    over = failed(rental(attempt=1), NOON, "machine", "no")

    assert fate(container(), over, at_work={"l-1"}) is Fate.IN_USE


def test_without_a_proof_of_no_lease_it_stays():
    """A lease that we don't know, or an attempt that we have not made: our state may be the older one."""
    assert fate(container(lease="l-9"), running()) is Fate.UNKNOWN
    assert fate(container(attempt=3), running(attempt=2)) is Fate.UNKNOWN


def test_what_a_lease_that_is_over_has_left_goes_whatever_its_attempt():
    """A replacement that never came to be, on a machine that was given up: no copy of the state opens the lease again."""
    assert fate(container(attempt=3), rental(attempt=2, state=RentalState.ENDED)) is Fate.ORPHAN


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_container_that_runs_while_its_lease_is_stopped_is_awake(attempt):
    """A start that failed while its machine was away: its cards are anybody's by now. Who works on it is let be."""
    still = replace(running(attempt=1), state=RentalState.STOPPED)

    assert fate(container(attempt=attempt), still) is Fate.AWAKE
    assert fate(container(attempt=attempt), still, at_work={"l-1"}) is Fate.IN_USE


@pytest.mark.parametrize(
    ("validator", "machine", "state"),
    list(product(["5Other", ""], [MACHINE, "5Miner/b", ""], [RentalState.ENDED, RentalState.ACTIVE])),
)
def test_another_validators_containers_are_foreign(validator, machine, state):
    """Whatever lease they name, and whatever became of it."""
    lease = rental(attempt=1, state=state)

    assert fate(container(validator=validator, machine=machine), lease) is Fate.FOREIGN


def test_another_machines_containers_are_foreign():
    """Where machines share an engine, each sweeps its own."""
    assert fate(container(machine="5Miner/b"), rental(attempt=1, state=RentalState.ENDED)) is Fate.FOREIGN


class ScriptedEngine:
    """An engine with containers and volumes, and some that it will not remove; it needs no time."""

    def __init__(self, containers, stubborn=()):
        self.found, self.stubborn, self.volumes = list(containers), stubborn, []

    def containers(self, **_deadline):
        return tuple(self.found)

    def remove(self, name, **_deadline):
        if name in self.stubborn:
            raise ContainerRefused("remove", "BUSY", "device or resource busy")
        self.found = [c for c in self.found if c.name != name]

    def stop(self, name, *_grace, **_deadline):
        self.found = [replace(c, status="exited") if c.name == name else c for c in self.found]

    def remove_volume(self, name, **_deadline):
        if name in self.stubborn:
            raise VolumeRefused("volume remove", "IN_USE", "volume is in use")
        self.volumes.append(name)


@pytest.fixture
def engine(tmp_path):
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


def swept(engine, machine):
    return sweep(machine, engine, OURS, MACHINE, now=lambda: NOON, deadline=1.0)


def test_a_sweep_removes_orphans_and_tells_what_it_left(engine):
    """One of three leases is over: its containers go; what the engine keeps and what nobody knows is told."""
    leases = Rentals(engine)
    over, _ = leases.request(rental("l-1", attempt=2))
    leases.move(over, failed(over, NOON, "machine", "no"))
    leases.request(rental("l-2", attempt=1, executor_key=MACHINE))
    machine = ScriptedEngine(
        [
            container("l-1", 1),
            container("l-1", 2),
            container("l-2"),
            container("l-3"),
            container("l-4", 1, "5Other"),
        ],
        stubborn=["subnet-l-1-2"],
    )

    first = swept(engine, machine)
    machine.stubborn = ()
    second = swept(engine, machine)

    assert first == Swept(
        removed=("subnet-l-1-1",),
        unknown=("subnet-l-3-1",),
        refused=("subnet-l-1-2: remove: BUSY: device or resource busy",),
    )
    assert second.removed == ("subnet-l-1-2",)
    assert {(c.name, c.validator_hotkey) for c in machine.found} == {
        ("subnet-l-2-1", OURS),
        ("subnet-l-3-1", OURS),
        ("subnet-l-4-1", "5Other"),
    }


def test_a_volume_that_is_to_be_wiped_is_wiped_on_its_machine_and_forgotten(engine):
    """Others stay: kept ones, and doomed ones of other machines."""
    volumes, machine = Volumes(engine), ScriptedEngine([])
    for name, key in (("old", MACHINE), ("kept", MACHINE), ("far", "5Miner/b")):
        volumes.make(Volume("alice", name, key, NOON))
    for name in ("old", "far"):
        volumes.doom("alice", name)

    assert swept(engine, machine).wiped == ("alice/old",)
    assert machine.volumes == [volume_name("alice", "old", MACHINE)]
    assert [v.name for v in volumes.of_renter("alice")] == ["far", "kept"]


def test_what_is_left_of_a_volume_is_wiped_though_its_name_is_another_machines(engine):
    """A lease could not remove it and went on elsewhere with the same name; what the engine keeps is tried again."""
    volumes, machine = Volumes(engine), ScriptedEngine([], stubborn=[volume_name("alice", "data", MACHINE)])
    volumes.make(Volume("alice", "data", "", NOON))
    volumes.attach("alice", "data", "l-1", MACHINE)
    volumes.leave("l-1")
    volumes.attach("alice", "data", "l-1", "5Miner/b")
    volumes.keep("l-1")
    first = swept(engine, machine)
    machine.stubborn = ()

    assert (first.wiped, len(first.refused)) == ((), 1)
    assert swept(engine, machine) == Swept(wiped=("alice/data",))
    assert machine.volumes == [volume_name("alice", "data", MACHINE)]
    assert swept(engine, machine) == Swept()
    assert volumes.get("alice", "data").executor_key == "5Miner/b"


def test_a_sweep_stops_what_runs_of_a_stopped_lease(engine):
    """Once: its data stay, and the next sweep finds it standing."""
    leases = Rentals(engine)
    asked, _ = leases.request(rental())
    leases.move(asked, replace(running(attempt=1, version=1, is_holding=False), state=RentalState.STOPPED))
    machine = ScriptedEngine([container()])

    assert [swept(engine, machine) for _ in "ab"] == [Swept(stopped=("subnet-l-1-1",)), Swept()]
    assert [c.status for c in machine.found] == ["exited"]
