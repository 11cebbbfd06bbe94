"""What each role of the local subnet does on the chain before it works, as steps that may be repeated."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

import bittensor as bt
from bittensor import sp_core

from tasks.errors import ChainRefused

REGISTRATION_TRIES = 50
"""Blocks to try for a place: a block takes one registration."""


@dataclass(frozen=True, slots=True)
class KeyWallet:
    """A wallet of two keypairs in memory, in the shape that the SDK asks for."""

    coldkey: sp_core.Keypair
    hotkey: sp_core.Keypair

    @property
    def coldkeypub(self) -> sp_core.Keypair:
        """The coldkey: its public half is what is read."""
        return self.coldkey

    @property
    def hotkeypub(self) -> sp_core.Keypair:
        """The hotkey: its public half is what is read."""
        return self.hotkey


def dev_wallet(name: str) -> KeyWallet:
    """The wallet of a role on the local chain, always the same for a name. Worth nothing elsewhere."""
    keys = sp_core.Keypair.create_from_uri
    return KeyWallet(coldkey=keys(f"//localnet//{name}//cold"), hotkey=keys(f"//localnet//{name}//hot"))


def ensure_registered(subtensor: bt.Subtensor, wallet: KeyWallet, netuid: int) -> int:
    """The hotkey's uid; it is registered first when it has none. ChainRefused when that fails."""
    hotkey = wallet.hotkey.ss58_address
    for _ in range(REGISTRATION_TRIES):
        uid = subtensor.neurons.uid(hotkey, netuid)
        if uid is not None:
            return int(uid)
        result = _execute(subtensor, bt.BurnedRegister(netuid=netuid, hotkey_ss58=hotkey), wallet)
        crowded = result.error is not None and result.error.name == "TooManyRegistrationsThisBlock"
        if crowded:
            subtensor.wait_for_block()  # type: ignore[no-untyped-call]  # the SDK leaves its facade untyped
        else:
            _require_success(result)
    raise ChainRefused(
        "TooManyRegistrationsThisBlock", f"no place for {hotkey} in {REGISTRATION_TRIES} blocks"
    )


def ensure_staked(subtensor: bt.Subtensor, wallet: KeyWallet, netuid: int, stake_rao: int) -> None:
    """Stake TAO of the coldkey until the hotkey holds about this much of it in alpha."""
    address = wallet.hotkey.ss58_address
    held = subtensor.staking.get(wallet.coldkey.ss58_address, address, netuid).rao
    price_rao = int(subtensor.prices.alpha_price(netuid)["price_rao"])
    missing_rao = (stake_rao - held) * price_rao // 1_000_000_000
    if missing_rao <= stake_rao // 1_000:
        return  # what is missing is the price's movement while it was bought
    amount = bt.Balance.from_rao(missing_rao)
    _require_success(_execute(subtensor, bt.AddStake(address, netuid, amount), wallet))


def ensure_served(subtensor: bt.Subtensor, wallet: KeyWallet, netuid: int, address: str, port: int) -> None:
    """Publish where the hotkey listens, when the chain says something else. `address` is literal."""
    graph = subtensor.subnets.metagraph(netuid, commitments=False)
    neuron = None if graph is None else graph.by_hotkey(wallet.hotkey.ss58_address)
    host = f"[{address}]" if ip_address(address).version == 6 else address
    if neuron is None or neuron.axon != f"{host}:{port}":
        _require_success(_execute(subtensor, bt.ServeAxon(netuid=netuid, ip=address, port=port), wallet))


def send(subtensor: bt.Subtensor, wallet: KeyWallet, receiver: str, rao: int, remark: str = "") -> str:
    """Send TAO, with a remark in the same extrinsic when there is one; the extrinsic's id. ChainRefused when it fails."""
    transfer = bt.calls.Balances.transfer_keep_alive(dest=receiver, value=rao)
    if not remark:
        return _sent(subtensor, wallet, transfer)
    said = bt.calls.System.remark_with_event(remark=remark.encode())
    both = [subtensor.compose(call) for call in (said, transfer)]  # type: ignore[no-untyped-call]
    return _sent(subtensor, wallet, bt.calls.Utility.batch_all(calls=both))


def _sent(subtensor: bt.Subtensor, wallet: KeyWallet, call: object) -> str:
    result = subtensor.submit_call(call, wallet)  # type: ignore[no-untyped-call]
    _require_success(result)
    return str(result.extrinsic_id)


def _execute(subtensor: bt.Subtensor, intent: bt.Intent, wallet: KeyWallet) -> bt.ExtrinsicResult:
    result: bt.ExtrinsicResult = subtensor.execute(intent, wallet)  # type: ignore[no-untyped-call]
    return result


def _require_success(result: bt.ExtrinsicResult) -> None:
    if not result.success:
        name = result.error.name if result.error is not None else None
        raise ChainRefused(name or "Unknown", result.message)
