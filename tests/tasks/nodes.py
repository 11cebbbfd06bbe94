"""The embedded chain behind an edge, its time in the test's hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deployments.localnet.chain.actors import KeyWallet, dev_wallet
from deployments.localnet.chain.calls import BurnedRegister
from deployments.localnet.chain.clock import ManualClock
from deployments.localnet.chain.genesis import genesis
from deployments.localnet.chain.pallet import dispatch
from deployments.localnet.chain.state import Hyperparameters
from deployments.localnet.chain.substrate import LocalSubstrate
from storage.records import WeightTarget

RAO = 1_000_000_000
NETUID = 51
NAMES = ("v1", "v2", "m1", "m2", "m3")
"""uids 1 to 5; the owner is uid 0."""


@dataclass
class Node:
    """v1 and v2 hold stake and permits, the rate limit is over."""

    path: Path
    clock: ManualClock
    substrate: LocalSubstrate
    wallets: dict[str, KeyWallet]

    def hotkey(self, name: str) -> str:
        """The SS58 address that a role signs with."""
        return self.wallets[name].hotkey.ss58_address

    def target(self, uid: int, name: str, weight: float) -> WeightTarget:
        """A share for a role."""
        return WeightTarget(uid, self.hotkey(name), weight)

    def change(self, edit) -> None:
        """Edit the next block's state, as other people's extrinsics would."""
        self.substrate.ledger.include(lambda state: (edit(state), []))
        self.substrate.advance(1)

    def factory(self) -> LocalSubstrate:
        """Another connection to it."""
        return LocalSubstrate(self.path, now=self.clock.now, sleep=self.clock.sleep)

    def extrinsics_of(self, name: str) -> int:
        """How many a role has had included."""
        account = self.substrate.ledger.state_at().accounts.get(self.hotkey(name))
        return account.nonce if account else 0


def make_node(path: Path, **hyperparameters) -> Node:
    """A chain of its own with these hyperparameters; whoever makes it closes its ledger."""
    clock = ManualClock()
    wallets = {name: dev_wallet(name) for name in ("owner", *NAMES, "stranger")}
    genesis(
        path,
        owner_coldkey=wallets["owner"].coldkey.ss58_address,
        owner_hotkey=wallets["owner"].hotkey.ss58_address,
        accounts={w.coldkey.ss58_address: 1_000 * RAO for w in wallets.values()},
        hyperparameters=Hyperparameters(
            **{"max_registrations_per_block": 9, "burn_increase_percent": 100, **hyperparameters}
        ),
        now=clock.now,
    )
    node = Node(path, clock, LocalSubstrate(path, now=clock.now, sleep=clock.sleep), wallets)

    def people(state):
        for name in NAMES:
            dispatch(state, wallets[name].coldkey.ss58_address, BurnedRegister(NETUID, node.hotkey(name)))
        for name, stake in (("v1", 6000), ("v2", 4000)):
            state.add_alpha(node.hotkey(name), wallets[name].coldkey.ss58_address, stake * RAO)

    node.change(people)
    node.substrate.advance(60)
    return node
