"""The local subnet's places on its chain: who is registered, staked, served and permitted.

Every step may be repeated and does nothing where the chain has it already, so a kill at any line leaves what the
next call completes.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import cast as typed

import bittensor as bt

from deployments.localnet.cast import Cast
from deployments.localnet.chain.actors import (
    KeyWallet,
    dev_wallet,
    ensure_registered,
    ensure_served,
    ensure_staked,
    send,
)
from deployments.localnet.chain.genesis import genesis
from deployments.localnet.chain.substrate import LocalSubstrate
from deployments.localnet.layout import DEPOSIT_ADDRESS
from storage.records import SubnetView
from tasks.edges.chain import Chain, ChainSettings

NETUID = 51
HOTKEY = "default"
_RAO = 1_000_000_000
_FUNDS_RAO = 100_000 * _RAO
_ENOUGH = 0.9
"""Of the stake wanted: below it, more is bought."""


def wallet_of(wallets: Path, cast: Cast, name: str) -> KeyWallet:
    """The keys of a role: ours, the first validator's, lie on disk as a real one's do; all others are in memory."""
    if name != cast.validators[0].name:
        return dev_wallet(name)
    wallet = bt.Wallet(name, HOTKEY, path=str(wallets))
    return KeyWallet(coldkey=wallet.coldkey, hotkey=wallet.hotkey)


def make_wallet(wallets: Path, name: str) -> None:
    """Write our validator's wallet, whole or not at all: always the same keys, worth nothing elsewhere."""
    if (wallets / name).is_dir():
        return
    fresh = wallets / ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    wallet = bt.Wallet(name, HOTKEY, path=str(fresh))
    wallet.regenerate_coldkey(seed=_seed(name, "cold"), use_password=False, suppress=True)
    wallet.regenerate_hotkey(seed=_seed(name, "hot"), use_password=False, suppress=True)
    (fresh / name).rename(wallets / name)
    fresh.rmdir()


def make_chain(path: Path, cast: Cast, wallets: Path) -> None:
    """Make the chain with its subnet, and money for everybody."""
    owner = wallet_of(wallets, cast, cast.owner)
    names = [cast.owner, *(v.name for v in cast.validators), *(m.name for m in cast.miners)]
    genesis(
        path,
        owner_coldkey=owner.coldkey.ss58_address,
        owner_hotkey=owner.hotkey.ss58_address,
        accounts={wallet_of(wallets, cast, name).coldkey.ss58_address: _FUNDS_RAO for name in names},
        netuid=NETUID,
    )


def open_chain(path: Path, wallet: KeyWallet | None = None) -> Chain:
    """The validator's own chain edge over this chain, its caches beside it."""
    return Chain(
        ChainSettings(netuid=NETUID, cache=path.parent / "sdk-cache"),
        wallet=wallet,
        substrate_factory=lambda: LocalSubstrate(path),
    )


def take_places(path: Path, cast: Cast, wallets: Path, ports: Mapping[str, int]) -> None:
    """Register, stake and serve whoever the chain does not have so yet, and see the permits given."""
    chain = open_chain(path)
    try:
        if not _is_settled(chain.view(), cast, wallets, ports):
            _settle(path, cast, wallets, ports)
            _await_permits(path, chain.view())
    finally:
        chain.close()


def _is_settled(view: SubnetView, cast: Cast, wallets: Path, ports: Mapping[str, int]) -> bool:
    for validator in cast.validators:
        neuron = view.by_hotkey(wallet_of(wallets, cast, validator.name).hotkey.ss58_address)
        wanted_rao = validator.stake_alpha * _RAO * _ENOUGH
        if neuron is None or not neuron.has_permit or neuron.stake_rao < wanted_rao:
            return False
    for miner in cast.miners:
        neuron = view.by_hotkey(dev_wallet(miner.name).hotkey.ss58_address)
        if neuron is None or neuron.endpoint != f"{miner.address}:{ports[miner.name]}":
            return False
    return True


def _settle(path: Path, cast: Cast, wallets: Path, ports: Mapping[str, int]) -> None:
    # The SDK asks for the whole protocol by type; what it never calls answers with an error here.
    subtensor = bt.Subtensor("local", substrate=typed("Any", LocalSubstrate(path)))
    try:
        for validator in cast.validators:
            wallet = wallet_of(wallets, cast, validator.name)
            ensure_registered(subtensor, wallet, NETUID)
            ensure_staked(subtensor, wallet, NETUID, round(validator.stake_alpha * _RAO))
        for miner in cast.miners:
            wallet = dev_wallet(miner.name)
            ensure_registered(subtensor, wallet, NETUID)
            ensure_served(subtensor, wallet, NETUID, miner.address, ports[miner.name])
    finally:
        _close(subtensor)


def pay(path: Path, wallet: KeyWallet, renter_id: str, rao: int) -> str:
    """Send TAO to the market's address with a renter's memo, as a wallet does; the extrinsic's id."""
    from tasks.renting.deposits import memo_of  # noqa: PLC0415  with it come 90 MB that whoever pays nobody does without

    subtensor = bt.Subtensor("local", substrate=typed("Any", LocalSubstrate(path)))
    try:
        return send(subtensor, wallet, DEPOSIT_ADDRESS, rao, memo_of(renter_id))
    finally:
        _close(subtensor)


def fund(path: Path, wallet: KeyWallet, receiver: str, rao: int) -> str:
    """Send TAO to an address; the extrinsic's id."""
    subtensor = bt.Subtensor("local", substrate=typed("Any", LocalSubstrate(path)))
    try:
        return send(subtensor, wallet, receiver, rao)
    finally:
        _close(subtensor)


def _close(subtensor: bt.Subtensor) -> None:
    """Close the SDK's blocking client with its event loop, which the SDK itself leaves open."""
    thread = subtensor._loop_thread  # noqa: SLF001  there is no public way to it
    subtensor.close()
    if thread is not None:
        thread._loop.close()  # noqa: SLF001  the same


def _await_permits(path: Path, view: SubnetView) -> None:
    """The chain gives permits at the end of a tempo: let the blocks until then pass at once."""
    substrate = LocalSubstrate(path)
    try:
        substrate.advance(max(1, view.head.next_epoch_block - view.head.block + 1))
    finally:
        substrate.ledger.close()


def _seed(name: str, key: str) -> str:
    return "0x" + hashlib.blake2s(f"localnet/{name}/{key}".encode()).hexdigest()
