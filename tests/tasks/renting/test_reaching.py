"""Reaching a machine outside of an epoch: its miner's door is asked now and then, with a key that nobody else has."""

import asyncio
import time

import pytest

from storage.records import MinerReply, Reason, Severity
from storage.snapshots import Snapshots
from tasks.edges.shell import EpochKey
from tasks.errors import BadAnswer, HostAway
from tasks.renting.reaching import LEAST_CERTIFIED_S, LIFE_S, UNKNOWN, Doors
from tests.databases import fresh
from tests.tasks.edges.certified import certificate_of
from tests.tasks.renting.epochs import MINER, finish, machine

KEY = f"{MINER}/a"


class Door:
    """A miner's door that lets in, or says why not."""

    def __init__(self, *reasons, executors=None, certify=lambda _: None, knows_leases=True):
        self.reasons, self.asked, self.certify, self.knows_leases = reasons, [], certify, knows_leases
        self.executors, self.leases = (machine("a"),) if executors is None else executors, []

    async def ask(self, neuron, epoch, key_line, expires_at, executor_ids=None, *, lease_id=""):
        self.asked.append((neuron.hotkey, epoch, key_line, expires_at, executor_ids))
        self.leases.append(lease_id)
        await asyncio.sleep(0)
        if lease_id and not self.knows_leases:
            why = Reason(UNKNOWN, Severity.NO_VERDICT, "purpose: Extra inputs are not permitted", "", "")
            return MinerReply(neuron.hotkey, neuron.uid, (), (why,))
        line = self.certify(key_line)
        certificates = ((self.executors[0].executor_id, line),) if line else ()
        return MinerReply(neuron.hotkey, neuron.uid, self.executors, self.reasons, certificates=certificates)


class Shell:
    """Opens sessions, the first ones in vain."""

    def __init__(self, *failures):
        self.failures, self.opened = list(failures), []

    def open(self, _executor, key, **_):
        self.opened.append(key.public_line)
        if self.failures:
            raise self.failures.pop(0)
        return Session()


class Session:
    """Takes our program."""

    def __init__(self):
        self.sent = []

    def send(self, frame, **_):
        self.sent.append(frame)


@pytest.fixture
def snapshot(tmp_path):
    """What the last epoch knows: one miner with a door, one machine."""
    engine = fresh(tmp_path)
    finish(engine, [machine("a")])
    yield Snapshots(engine).newest()
    engine.dispose()


def test_a_door_is_asked_once_while_its_key_lives(snapshot):
    """For one machine, with one key for all who want to go there; anew before the key ends, and when it was forgotten."""
    now, door, shell = [1_000.0], Door(), Shell()
    doors = Doors(lambda: now[0])

    async def ways(count):
        return await asyncio.gather(*(doors.way(snapshot, door, shell, KEY) for _ in range(count)))

    async def live():
        first = await ways(8)
        now[0] += LIFE_S - 60
        (later,) = await ways(1)
        doors.forget(KEY)
        await ways(2)
        return {way.key.public_line for way in first}, later.key.public_line

    first, later = asyncio.run(live())
    assert len(first) == 1
    assert later not in first
    assert [(a[0], a[3], a[4]) for a in door.asked[:1]] == [(MINER, 1_000 + LIFE_S, ("a",))]
    assert len(door.asked) == 3


def test_why_there_is_no_way_is_told(snapshot):
    """A miner that is away, one that refuses, one that lies, one without a door: each by its code."""

    def way(door, key=KEY, seen=snapshot):
        return asyncio.run(Doors().way(seen, door, Shell(), key))

    away = Reason("MINER_TIMEOUT", Severity.NO_VERDICT, "no whole answer", "", "")
    forged = Reason("MINER_BAD_SIGNATURE", Severity.FAIL, "another's", "", "")
    with pytest.raises(HostAway, match="door: MINER_TIMEOUT: no whole answer"):
        way(Door(away, executors=()))
    with pytest.raises(BadAnswer, match="door: MINER_BAD_SIGNATURE"):
        way(Door(forged, executors=()))
    with pytest.raises(HostAway, match="the machine is not among its answer"):
        way(Door(executors=(machine("b"),)))
    for key, seen in (("5Unknown/a", snapshot), (KEY, None)):
        with pytest.raises(HostAway, match="announces no door"):
            way(Door(), key, seen)


def test_a_session_is_tried_once_more_while_nothing_was_asked(snapshot):
    """A connection that broke is opened again; a login that was refused is not."""

    def opened(*failures):
        shell = Shell(*failures)
        way = asyncio.run(Doors().way(snapshot, Door(), shell, KEY))
        return shell, way.open(time.monotonic() + 60)

    shell, session = opened(HostAway("connect", "refused"))
    assert len(shell.opened) == 2
    assert len(session.sent) == 1
    with pytest.raises(HostAway, match="auth"):
        opened(HostAway("auth", "the server refused our key"))
    with pytest.raises(HostAway, match="handshake"):
        opened(*[HostAway("handshake", "reset")] * 2)


def test_a_certificate_goes_with_the_key(snapshot):
    """Where the door answers with a certificate of our key, sessions log in by it; one of another key is refused."""

    async def way(door):
        return await Doors(lambda: 1_000.0).way(snapshot, door, Shell(), KEY)

    assert asyncio.run(way(Door(certify=certificate_of))).key.signer.public_blob is not None
    other = certificate_of(EpochKey.generate().public_line)
    with pytest.raises(BadAnswer, match="of another key"):
        asyncio.run(way(Door(certify=lambda _: other)))


def test_each_lease_has_a_key_of_its_own(snapshot):
    """Kept for its machine and itself, forgotten when it is over; who validates has another one."""
    door, doors = Door(), Doors(lambda: 1_000.0)

    async def live():
        found = [await doors.way(snapshot, door, Shell(), KEY, lease) for lease in ("l-1", "l-2", "", "l-1")]
        doors.end("l-1")
        await doors.way(snapshot, door, Shell(), KEY, "l-1")
        doors.forget(KEY, "l-2")
        await doors.way(snapshot, door, Shell(), KEY, "l-2")
        return [way.key.public_line for way in found]

    keys = asyncio.run(live())
    assert keys[0] == keys[3]
    assert len(set(keys)) == 3
    assert door.leases == ["l-1", "l-2", "", "l-1", "l-2"]


def test_a_certificate_is_renewed_before_work_would_outlive_it(snapshot):
    """Sessions end with a certificate, so it is asked for again while the lease lives; what has ended is not kept."""
    now, door = [1_000.0], Door(certify=certificate_of)
    doors = Doors(lambda: now[0])

    async def at(seconds, lease="l-1"):
        now[0] = 1_000.0 + seconds
        await doors.way(snapshot, door, Shell(), KEY, lease)
        return len(door.asked)

    async def live():
        counts = [await at(0), await at(LIFE_S - LEAST_CERTIFIED_S - 1), await at(LIFE_S - LEAST_CERTIFIED_S)]
        await at(3 * LIFE_S, "l-2")
        return counts

    assert asyncio.run(live()) == [1, 1, 2]
    assert len(doors._ways) == len(doors._turns) == 1


def test_an_agent_that_does_not_know_leases(snapshot):
    """Where it writes keys into files it lets in as ever; where it signs certificates the lease fails and says why."""

    def way(**door):
        return asyncio.run(
            Doors(lambda: 1_000.0).way(snapshot, Door(knows_leases=False, **door), Shell(), KEY, "l-1")
        )

    assert not way().is_certified
    with pytest.raises(HostAway, match=r"door: RENT_GRANT_UNKNOWN: purpose: Extra inputs"):
        way(certify=certificate_of)
