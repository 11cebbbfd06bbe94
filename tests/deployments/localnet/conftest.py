"""A local chain with a clock of its own, and wallets with funds."""

from dataclasses import dataclass, field
from pathlib import Path

import bittensor as bt
import pytest

from deployments.localnet.chain.actors import (
    KeyWallet,
    dev_wallet,
    ensure_registered,
    ensure_served,
    ensure_staked,
)
from deployments.localnet.chain.clock import ManualClock
from deployments.localnet.chain.genesis import genesis
from deployments.localnet.chain.state import Hyperparameters
from deployments.localnet.chain.substrate import LocalSubstrate
from tasks.edges.chain import keep_caches_in

RAO = 1_000_000_000
NETUID = 51
NAMES = ("owner", "v1", "v2", "v3", "m1", "m2", "m3", "m4", "outsider")


@dataclass
class World:
    """One chain, the SDK on it, and everybody's wallet."""

    path: Path
    clock: ManualClock
    substrate: LocalSubstrate
    subtensor: bt.Subtensor
    wallets: dict[str, KeyWallet] = field(default_factory=lambda: {n: dev_wallet(n) for n in NAMES})

    def run(self, who: str, intent: bt.Intent) -> bt.ExtrinsicResult:
        return self.subtensor.execute(intent, self.wallets[who])

    def call(self, who: str, call: object, signer: str = "hotkey") -> bt.ExtrinsicResult:
        return self.subtensor.submit_call(call, self.wallets[who], signer=signer)

    def error(self, result: bt.ExtrinsicResult) -> str | None:
        return result.error.name if result.error else None

    def register(self, *names: str) -> None:
        for name in names:
            ensure_registered(self.subtensor, self.wallets[name], NETUID)

    def stake(self, **tao: int) -> None:
        for name, amount in tao.items():
            ensure_staked(self.subtensor, self.wallets[name], NETUID, amount * RAO)

    def metagraph(self) -> bt.Metagraph:
        return self.subtensor.subnets.metagraph(NETUID)

    def settle(self) -> None:
        """Three validators (50 %, 30 %, 20 %) with permits, four miners that serve; uids in this order."""
        self.register("v1", "v2", "v3", "m1", "m2", "m3", "m4")
        self.stake(v1=5000, v2=3000, v3=2000)
        for number in range(1, 5):
            ensure_served(self.subtensor, self.wallets[f"m{number}"], NETUID, f"127.0.0.{number + 1}", 8000)
        self.substrate.advance(50)


def close_whole(subtensor: bt.Subtensor) -> None:
    """Close the SDK's blocking client with its event loop, which the SDK itself leaves open."""
    thread = subtensor._loop_thread
    subtensor.close()
    if thread is not None:
        thread._loop.close()


@pytest.fixture(autouse=True)
def _sdk_caches(tmp_path, monkeypatch):
    """The SDK's files stay in the test's folder."""
    for name in ("BITTENSOR_RUNTIME_CACHE_DIR", "BTCLI_TOKEN_SYMBOLS_CACHE"):
        monkeypatch.setenv(name, "")
    keep_caches_in(tmp_path / "cache")


@pytest.fixture
def make_world(tmp_path):
    """Worlds with the hyperparameters that a test asks for."""
    opened: list[World] = []

    def make(**hyperparameters) -> World:
        clock, path = ManualClock(), tmp_path / f"chain{len(opened)}.db"
        wallets = {name: dev_wallet(name) for name in NAMES}
        genesis(
            path,
            owner_coldkey=wallets["owner"].coldkey.ss58_address,
            owner_hotkey=wallets["owner"].hotkey.ss58_address,
            accounts={w.coldkey.ss58_address: 100_000 * RAO for n, w in wallets.items() if n != "outsider"},
            netuid=NETUID,
            hyperparameters=Hyperparameters(**hyperparameters),
            now=clock.now,
        )
        substrate = LocalSubstrate(path, now=clock.now, sleep=clock.sleep)
        world = World(path, clock, substrate, bt.Subtensor("local", substrate=substrate))
        opened.append(world)
        return world

    yield make
    for world in opened:
        close_whole(world.subtensor)


@pytest.fixture
def world(make_world):
    """A chain with the local defaults."""
    return make_world()
