"""A whole lease on a machine that confines who comes: real OpenSSH, the miner's agent, a real container engine."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest
from bittensor import sp_core
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deployments.localnet.warming import warm_cache
from deployments.miner.agent import build_app
from deployments.miner.listening import serve
from deployments.miner.visits import FILE, GRANTED, Sought, read_visits
from flows.rent import rent_lease
from flows.teardown import end_lease
from storage.money import Money
from storage.rental import Party, Pod, RentalState
from storage.sealing import Sealer
from tasks.edges.nonces import NonceStore
from tasks.edges.peers import Peers, PeerSettings
from tasks.edges.shell import EpochKey, Shell
from tasks.inspection.models import find
from tasks.onboarding.confinement import files
from tasks.policy import LOCALNET
from tasks.renting.asking import ask_end, ask_for_lease
from tasks.renting.market import Market
from tasks.renting.money import granted
from tests.databases import fresh
from tests.deployments.miner.test_confinement import PROVED, announcing, brought_up
from tests.engines import PLAIN
from tests.tasks.renting.epochs import MINER, finish
from tests.tasks.renting.leases import NOON, USD, rental

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("engine")]
OURS = sp_core.Keypair.create_from_uri("//Ours")
AGENT = sp_core.Keypair.create_from_uri("//Alice")
"""Its hotkey is that of the epochs' miner."""
RENTER = EpochKey.generate()


class Edges:
    """What a market needs of the outside worlds."""

    own_hotkey, is_embedded = OURS.ss58_address, True

    def __init__(self, engine, peers):
        self.engine, self.peers, self.shell = engine, peers, Shell()


@pytest.fixture(scope="module")
def ground(docker, tmp_path_factory, request):
    """A confined machine whose engine is real."""
    kernels = request.config.cache.mkdir("kernels")
    warm_cache(kernels)
    socket = urlsplit(docker.environment["DOCKER_HOST"]).path
    folder, owner = tmp_path_factory.mktemp("confined"), Ed25519PrivateKey.generate()
    with (
        TemporaryDirectory(dir="/var/tmp") as home,  # the machine and its engine's daemon both see it
        brought_up(folder, kernels, owner, socket, home) as ground,
    ):
        yield ground


@asynccontextmanager
async def at_market(ground, folder):
    """A market that has proved this machine, whose agent answers; and a renter with money."""
    config, store = announcing(ground, folder), NonceStore(folder / "nonces.sqlite")
    model, executor = find(PROVED.model), ground.executor(files.VALIDATE_USER)
    cards = (PROVED.model, model.skus[0].nominal_mib, PROVED.card_uuids)
    engine = fresh(folder)
    door = build_app(config, AGENT, lambda _: True, store)
    async with (
        serve(door, "127.0.0.1", 0) as port,
        Peers(OURS, PeerSettings(allow_private=True)) as peers,
    ):
        finish(engine, [executor], endpoint=f"127.0.0.1:{port}", cards=8, listed=cards, model=model.name)
        Money(engine).post(granted("r-1", 100 * USD, "grant", NOON, "test"))
        market = Market(Edges(engine, peers), LOCALNET, Sealer.of(folder / "key"), folder / "backups")
        yield market
        market.close()
    engine.dispose()
    store.close()


def test_a_lease_on_a_confined_machine(ground, docker, tmp_path):
    """Proved, handed over, watched and ended, all of it in the lease's name by the agent's grants, and nothing is left."""

    async def live():
        async with at_market(ground, tmp_path) as market:
            pod = Pod(PLAIN, words=("sleep", "100000"), public_keys=(RENTER.public_line,))
            now = market.now()
            asked = replace(rental("l-1", renter="r-1", pod=pod), requested_at=now, moved_at=now)
            ask_for_lease(market.rentals, replace(asked, wish=replace(asked.wish, card_count=1)))
            await rent_lease(market, "l-1")
            lease = market.rentals.get("l-1")
            assert lease.state is RentalState.ACTIVE, lease.reason
            found = await market.lookout.look_at(lease.executor_key, (lease,))
            ask_end(market.rentals, "l-1", market.now(), Party.RENTER, "enough")
            await end_lease(market, "l-1")
            proofs = {(c.occasion, c.code) for c in market.certificates.of_lease("l-1")}
            return market.rentals.get("l-1"), found["l-1"].dead, proofs, market.doors._ways

    lease, dead, proofs, ways = asyncio.run(live())
    assert (AGENT.ss58_address, lease.state, dead, ways) == (MINER, RentalState.ENDED, "", {})
    assert proofs == {("hand-over", "PROVED"), ("in-use", "PROVED"), ("return", "PROVED")}
    assert docker.run("ps", "--all", "--quiet") == ""
    visits = read_visits(tmp_path / FILE, Sought())
    assert {(v.code, v.purpose, v.reason) for v in visits} == {(GRANTED, "rent", "lease l-1")}
