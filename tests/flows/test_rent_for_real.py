"""The whole life of a lease on a real machine: real SSH, a real container engine, a real proof of simulated cards."""

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from bittensor import sp_core

from deployments.localnet.warming import warm_cache
from flows.operate import operate_lease
from flows.rent import rent_lease
from flows.teardown import end_lease
from storage.money import Money
from storage.records import MinerReply
from storage.rental import (
    Operation,
    OperationKind,
    OperationState,
    Party,
    Pod,
    PodMount,
    PodPort,
    RentalState,
)
from storage.sealing import Sealer
from tasks.edges.knocking import knock
from tasks.edges.shell import EpochKey, Shell
from tasks.errors import HostAway, HostKeyMismatch
from tasks.inspection.models import find
from tasks.policy import LOCALNET
from tasks.proof.verdict import verify_transcript
from tasks.renting.asking import ask_end, ask_for_lease, ask_operation
from tasks.renting.containers import volume_name
from tasks.renting.market import Market
from tasks.renting.money import granted
from tasks.renting.moves import failed
from tasks.renting.provisioning import place_of
from tasks.renting.sweeping import sweep
from tests.databases import fresh
from tests.deployments.localnet.visiting import announced, cast, let_key_in, served
from tests.engines import MACHINE, PLAIN
from tests.tasks.renting.epochs import finish
from tests.tasks.renting.leases import NOON, USD, rental

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("engine")]
OURS = sp_core.Keypair.create_from_uri("//Ours")
RENTER = EpochKey.generate()
PATIENCE_S = 60.0


class Door:
    """The machine's miner: it lets our key in, and signs nothing."""

    signer = OURS

    def __init__(self, folder, machine):
        self.folder, self.machine = folder, machine

    async def ask(self, neuron, _epoch, key_line, *_, **__):
        let_key_in(self.machine, replace(RENTER, public_line=key_line))
        return MinerReply(neuron.hotkey, neuron.uid, (announced(self.folder, self.machine),), ())


class Died(BaseException):
    """Nothing more comes of this run."""


class Knocks:
    """The renter's way in, tried for real; who tried it is kept, and a run may die of it."""

    def __init__(self):
        self.told, self.kills = [], False

    def __call__(self, place, key, deadline):
        self.told.append((place, key))
        if self.kills:
            raise Died
        return knock(place, key, deadline=deadline)


class Edges:
    """What a market needs of the outside worlds."""

    own_hotkey, is_embedded = OURS.ss58_address, True

    def __init__(self, engine, peers):
        self.engine, self.peers, self.shell = engine, peers, Shell()


@pytest.fixture(scope="module")
def place(docker, request, tmp_path_factory):
    """A machine whose containers are real, served over SSH, its kernels compiled before."""
    folder, cache = tmp_path_factory.mktemp("rented"), request.config.cache.mkdir("kernels")
    warm_cache(cache)
    (folder / "cache").symlink_to(cache)
    with served({MACHINE: docker.machine(folder)}) as machines:
        yield folder, machines[MACHINE]


@pytest.fixture
def market(place, tmp_path):
    """A market that has proved this machine, and a renter with money."""
    folder, machine = place
    executor, listed, engine = announced(folder, machine), cast(MACHINE), fresh(tmp_path)
    model = find(listed.model)
    cards = (listed.model, model.skus[0].nominal_mib, listed.card_uuids)
    finish(engine, [executor], cards=len(listed.card_uuids), listed=cards, model=model.name)
    Money(engine).post(granted("r-1", 100 * USD, "grant", NOON, "test"))
    knocks = Knocks()
    sealer, backups = Sealer.of(tmp_path / "key"), tmp_path / "backups"
    market = Market(Edges(engine, Door(folder, machine)), LOCALNET, sealer, backups, knock=knocks)
    market.knocks = knocks
    yield market
    market.close()
    engine.dispose()


def ask(market, name="l-1", **changes):
    """The renter asks for one card with a volume and a port."""
    pod = Pod(
        PLAIN,
        words=("sleep", "100000"),
        ports=(PodPort(8_080),),
        mounts=(PodMount("data", "/data"),),
        public_keys=(RENTER.public_line,),
        environment=("TOKEN",),
    )
    sealed = market.sealer.seal(name, {"environment": {"TOKEN": "hunter2"}})
    now = market.now()
    asked = replace(rental(name, renter="r-1", pod=pod, sealed=sealed), requested_at=now, moved_at=now)
    return ask_for_lease(market.rentals, replace(asked, wish=replace(asked.wish, card_count=1), **changes))[0]


async def do(market, kind, name, **arguments):
    """An operation, done; what it came to."""
    lease = market.rentals.get("l-1")
    operation = Operation(name, "l-1", name, kind, OperationState.ASKED, market.now(), json.dumps(arguments))
    ask_operation(market.operations, lease, operation)
    await operate_lease(market, name)
    told = market.operations.get(name)
    assert told.state is OperationState.DONE, told.reason
    return json.loads(told.result)


async def inside(market, script):
    """What a shell prints inside the container."""
    lease = market.rentals.get("l-1")
    site = await market.enter(lease.executor_key)
    deadline = time.monotonic() + PATIENCE_S
    words = ("/opt/subnet/busybox", "sh", "-c", script)
    run = lambda: site.engine(deadline).execute(lease.access.container, words, deadline=deadline)  # noqa: E731
    output = await market.call(run)
    site.close()
    return output.stdout.decode().strip()


def logged_in(market, key=RENTER):
    """The cards that a renter sees who logs in."""
    access = market.rentals.get("l-1").access
    return knock(place_of(access), key, deadline=time.monotonic() + PATIENCE_S)


def only_the_renter_gets_in(market):
    """The key that probed is out of the container, and another host key than the one that was told is refused."""
    ((place, key),) = market.knocks.told
    with pytest.raises(HostAway, match=r"auth|handshake"):
        knock(place, key, deadline=time.monotonic() + 2)
    other = replace(place, host_key=place.host_key[:-1] + bytes([place.host_key[-1] ^ 1]))
    with pytest.raises(HostKeyMismatch):
        knock(other, RENTER, deadline=time.monotonic() + PATIENCE_S)


def containers(docker):
    """All containers of the engine, as it lists them itself."""
    return sorted(docker.run("ps", "--all", "--format", "{{.Names}}").split())


def test_a_whole_life(market, docker):
    """Rented, logged in to, stopped, started, saved, replaced, restored, ended: nothing is left but the volume and its data."""

    async def live():
        await rent_lease(market, "l-1")
        lease = market.rentals.get("l-1")
        assert lease.state is RentalState.ACTIVE, lease.reason
        assert logged_in(market) == lease.card_uuids
        only_the_renter_gets_in(market)
        assert "hunter2" not in docker.run("ps", "--all", "--no-trunc")
        assert await inside(market, "echo $TOKEN") == "hunter2"
        await inside(market, "echo kept > /data/a; head -c 300000 /dev/urandom > /data/b")
        digest = await inside(market, "md5sum < /data/b")

        await do(market, OperationKind.STOP, "op-1")
        assert market.rentals.held() == {}
        await do(market, OperationKind.START, "op-2")
        assert logged_in(market) == lease.card_uuids
        backup = await do(market, OperationKind.BACKUP, "op-3", source="volume:data")
        await do(market, OperationKind.REPLACE, "op-4", words=["sleep", "200000"])
        assert containers(docker) == ["subnet-l-1-2"]
        assert logged_in(market) == lease.card_uuids
        await do(market, OperationKind.RESTORE, "op-5", backup_id=backup["backup_id"], target="path:/srv/x")
        assert await inside(market, "md5sum < /srv/x/b; md5sum < /data/b") == f"{digest}\n{digest}"

        ask_end(market.rentals, "l-1", market.now(), Party.RENTER, "enough")
        await end_lease(market, "l-1")
        return lease

    ask(market)
    lease = asyncio.run(live())
    over = market.rentals.get("l-1")

    assert (over.state, market.rentals.held(), containers(docker)) == (RentalState.ENDED, {}, [])
    assert docker.run("volume", "ls", "--quiet") == volume_name("r-1", "data", lease.executor_key)
    assert market.money.books().is_even
    kept = {(c.occasion, c.code) for c in market.certificates.of_lease("l-1")}
    assert kept >= {("hand-over", "PROVED"), ("in-use", "PROVED"), ("return", "PROVED")}
    for certificate in market.certificates.of_lease("l-1"):
        again = verify_transcript(certificate.transcript)
        assert (again.code, [c.card_uuid for c in again.cards]) == ("PROVED", list(certificate.card_uuids))
    docker.run("volume", "rm", volume_name("r-1", "data", lease.executor_key))


def test_what_a_dead_run_left_is_found_by_the_next_and_strangers_are_left_alone(market, docker):
    """It dies when the container runs: the next run removes it and hands over its own; a container that is not ours stays."""
    docker.run("create", "--name=stranger", PLAIN, "sleep", "1")
    docker.run("create", "--name=subnet-like", "--label=org.compute-subnet.lease=l-9", PLAIN, "sleep", "1")

    market.knocks.kills = True
    ask(market)
    with pytest.raises(Died):
        asyncio.run(rent_lease(market, "l-1"))
    assert "subnet-l-1-1" in containers(docker)
    market.knocks.kills = False
    asyncio.run(go_on(market))
    lease = market.rentals.get("l-1")
    left = containers(docker)
    docker.run("rm", "--force", "stranger", "subnet-like")
    docker.run("volume", "rm", volume_name("r-1", "data", lease.executor_key))

    assert (lease.state, lease.attempt) == (RentalState.ENDED, 2)
    assert left == ["stranger", "subnet-like"]


def test_a_container_that_a_failed_lease_left_running_is_gone_before_its_card_is_anothers(market, docker):
    """As where the engine would not remove it: the next lease gets the same card, and its container is alone with it."""
    market.knocks.kills = True
    ask(market)
    with pytest.raises(Died):
        asyncio.run(rent_lease(market, "l-1"))
    market.knocks.kills = False
    left = market.rentals.get("l-1")
    assert market.rentals.move(left, failed(left, market.now(), Party.MACHINE, "it was not removed"))
    market.volumes.leave("l-1")
    running = ("inspect", "--format", "{{.State.Running}}", "subnet-l-1-1")
    assert docker.run(*running).strip() == "true"

    ask(market, "l-2")
    asyncio.run(rent_lease(market, "l-2"))
    lease, found = market.rentals.get("l-2"), containers(docker)
    ask_end(market.rentals, "l-2", market.now(), Party.RENTER, "enough")
    asyncio.run(end_lease(market, "l-2"))
    docker.run("volume", "rm", volume_name("r-1", "data", lease.executor_key))

    assert (lease.state, lease.card_uuids) == (RentalState.ACTIVE, left.card_uuids), lease.reason
    assert (found, containers(docker)) == (["subnet-l-2-1"], [])


async def go_on(market):
    """The next run, the renter's end, and a sweep."""
    await rent_lease(market, "l-1")
    assert market.rentals.get("l-1").state is RentalState.ACTIVE
    ask_end(market.rentals, "l-1", market.now(), Party.RENTER, "enough")
    await end_lease(market, "l-1")
    site = await market.enter(market.rentals.get("l-1").executor_key)
    deadline = time.monotonic() + PATIENCE_S

    def swept():
        return sweep(
            site.engine(deadline),
            market.edges.engine,
            market.edges.own_hotkey,
            site.executor.key,
            now=lambda: datetime.now(UTC),
            deadline=deadline,
        )

    await market.call(swept)
    site.close()
