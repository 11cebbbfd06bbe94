"""Sessions to watched machines are kept while they are young and good, and left when they are not."""

import asyncio
import json

import pytest

from storage.rental import Access
from storage.rentals import Rentals
from tasks.edges.engine import Container
from tasks.errors import HostAway
from tasks.policy import RentingPolicy
from tasks.renting import visiting
from tasks.renting.visiting import KEEP_S, SWEEP_EVERY_S, Lookout
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, after, rental, running


class Site:
    """A machine that was entered, and whether it was left."""

    def __init__(self):
        self.is_closed = False

    def close(self):
        """Leave it."""
        self.is_closed = True


class World:
    """A lookout over machines that answer as they are told to, by a clock of ours."""

    def __init__(self, engine):
        self.at, self.sites, self.trouble, self.names = 0.0, [], None, []
        self.lookout = Lookout(
            engine,
            "5Us",
            RentingPolicy(),
            enter=self._enter,
            call=self._call,
            now=lambda: NOON,
            monotonic=lambda: self.at,
        )

    async def _enter(self, _key, _limit_s, *, lease_id):
        self.names.append(lease_id)
        self.sites.append(Site())
        return self.sites[-1]

    async def _call(self, _function):
        if self.trouble is not None:
            raise self.trouble
        return {}

    def look(self, at, key="5Miner/a", leases=(), left_by=""):
        """A visit then."""
        self.at = at
        return asyncio.run(self.lookout.look_at(key, leases, left_by))


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def world(engine):
    """A lookout."""
    return World(engine)


def test_a_session_is_kept_while_it_is_young(world):
    """Twenty looks in five minutes enter once; after that the machine is entered anew, and the old session closed."""
    for n in range(21):
        world.look(15.0 * n)
    assert len(world.sites) == 1

    world.look(KEEP_S + 15)
    assert [site.is_closed for site in world.sites] == [True, False]


def test_a_machine_is_entered_for_a_lease_that_is_there(world):
    """In the name of one that is watched while it is, of another after it, and of the last one for what it has left."""
    one, two = rental("l-1"), rental("l-2")
    for at, leases in enumerate([(one, two), (one, two), (two,), ()]):
        world.look(15.0 * at, leases=leases, left_by="l-2" if not leases else "")

    assert world.names == ["l-1", "l-2"]
    assert [site.is_closed for site in world.sites] == [True, False]


@pytest.mark.parametrize("trouble", [HostAway("run", "lost"), asyncio.CancelledError(), ValueError()])
def test_a_session_with_trouble_is_left(world, trouble):
    """Lost, too late, or a fault of ours: it is closed, and the next look enters anew."""
    world.look(0)
    world.trouble = trouble
    with pytest.raises(type(trouble)):
        world.look(15)
    assert world.sites[0].is_closed

    world.trouble = None
    world.look(30)
    assert len(world.sites) == 2


def test_machines_that_are_watched_no_more_are_left(world):
    """All but those that are named."""
    for key in ("5Miner/a", "5Miner/b"):
        world.look(0, key)
    world.lookout.leave_all_but(["5Miner/b"])
    world.lookout.leave("5Miner/nobody")

    assert [site.is_closed for site in world.sites] == [True, False]


def test_a_machine_is_swept_now_and_then(world):
    """At its first visit and every ten minutes, whether a sweep succeeds or not."""
    assert world.lookout.is_sweep_due("5Miner/a")
    world.lookout.swept("5Miner/a")
    world.at = SWEEP_EVERY_S - 1
    assert not world.lookout.is_sweep_due("5Miner/a")
    world.at = SWEEP_EVERY_S
    assert world.lookout.is_sweep_due("5Miner/a")
    assert RentingPolicy().look_deadline_s > visiting.SWEEP_LEAST_S


class Engine:
    """One container that runs, cards that say nothing, and how often its use was asked for."""

    def __init__(self):
        self.session, self.measured = self, []

    def containers(self, **_):
        """The lease's."""
        told = ("subnet-l-1-1", "0" * 64, "", "l-1", 1, "", "", "5Miner/a", "", "running", 0, False)
        return (Container(*told, None, None, ()),)

    def all_stats(self, names, **_):
        """Nothing is told."""
        self.measured += [bool(names)]
        return {}

    def send(self, _frame, **_):
        """A question."""

    def receive(self, **_):
        """No tool for cards."""
        told = {"name": "gpu_use", "exit": 127, "stdout": "", "stderr": "", "seconds": 0.1}
        return json.dumps({"facts": [told | {"truncated": False}]}).encode()


def test_use_is_asked_for_at_the_first_look_of_each_minute(engine):
    """Which is the look whose sample is kept longest: four looks a minute, from half a minute on."""
    asked, now = Engine(), [NOON]

    class Entered(Site):
        def engine(self, _deadline):
            return asked

    async def enter(_key, _limit_s, *, lease_id):
        return Entered()

    async def call(function):
        return function()

    lookout = Lookout(engine, "5Us", RentingPolicy(), enter=enter, call=call, now=lambda: now[0])
    lookout.swept("5Miner/a")
    lease = running(access=Access("127.0.0.1", 40_000, (), "ssh-ed25519 AAAA", "sha256:0", "subnet-l-1-1"))
    counts = []
    for second in (30, 45, 60, 75, 90, 105, 121):
        now[0] = after(second)
        asyncio.run(lookout.look_at("5Miner/a", (lease,)))
        counts.append(len(asked.measured))

    assert counts == [1, 1, 2, 2, 2, 2, 3]


def test_machines_of_leases_are_known(engine):
    """That which a lease has, and those that it let go: of all that moved since."""
    rentals = Rentals(engine)
    rentals.request(rental("l-1", executor_key="5Miner/a", tried=("5Miner/b", "5Miner/c")))
    rentals.request(rental("l-2"))

    assert rentals.machines_since(NOON).keys() == {"5Miner/a", "5Miner/b", "5Miner/c"}
    assert rentals.machines_since(NOON.replace(hour=13)) == {}
