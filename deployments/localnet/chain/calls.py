"""The calls that the chain knows, as typed records: what fits no record is refused when composed.

Names and parameters are those of the pallets, so that the SDK's builders fit as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from bittensor import sp_core
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    TypeAdapter,
    ValidationError,
)


def _address(text: str) -> str:
    """An SS58 address of this chain, in its one canonical spelling."""
    if len(text) > 48 or sp_core.ss58_encode(sp_core.ss58_decode(text), 42) != text:
        raise ValueError("not an address with prefix 42")
    return text


def _hex(value: object) -> object:
    """Bytes, a list of bytes or 0x-hex, as 0x-hex."""
    return "0x" + bytes(value).hex() if isinstance(value, bytes | bytearray | list | tuple) else value


U8 = Annotated[int, Field(strict=True, ge=0, lt=1 << 8)]
U16 = Annotated[int, Field(strict=True, ge=0, lt=1 << 16)]
U32 = Annotated[int, Field(strict=True, ge=0, lt=1 << 32)]
U64 = Annotated[int, Field(strict=True, ge=0, lt=1 << 64)]
U128 = Annotated[int, Field(strict=True, ge=0, lt=1 << 128)]
Address = Annotated[str, AfterValidator(_address)]
Hex = Annotated[str, BeforeValidator(_hex), Field(pattern=r"^0x([0-9a-f]{2})*$", max_length=20_002)]


@dataclass(frozen=True, slots=True)
class Args:
    """The parameters of one call."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class BurnedRegister(Args):
    """Take a uid for a hotkey, signed by the coldkey that pays."""

    netuid: U16
    hotkey: Address


@dataclass(frozen=True, slots=True)
class RegisterLimit(Args):
    """The same, unless the price of its block is above a limit (rao)."""

    netuid: U16
    hotkey: Address
    limit_price: U64


@dataclass(frozen=True, slots=True)
class ServeAxon(Args):
    """Publish where a hotkey listens."""

    netuid: U16
    version: U32
    ip: U128
    port: U16
    ip_type: U8
    protocol: U8
    placeholder1: U8
    placeholder2: U8


@dataclass(frozen=True, slots=True)
class SetWeights(Args):
    """A validator's weights in the open."""

    netuid: U16
    mecid: U8
    dests: list[U16]
    weights: list[U16]
    version_key: U64


@dataclass(frozen=True, slots=True)
class CommitWeights(Args):
    """A validator's weights, sealed with a timelock."""

    netuid: U16
    mecid: U8
    commit: Hex
    reveal_round: U64
    commit_reveal_version: U16


@dataclass(frozen=True, slots=True)
class AddStake(Args):
    """Buy alpha of a subnet, or stake TAO on the root network, for a hotkey."""

    hotkey: Address
    netuid: U16
    amount_staked: U64


@dataclass(frozen=True, slots=True)
class AddStakeLimit(Args):
    """The same, not above a price."""

    hotkey: Address
    netuid: U16
    amount_staked: U64
    limit_price: U64
    allow_partial: StrictBool


@dataclass(frozen=True, slots=True)
class SetCommitment(Args):
    """Publish fields of data about a hotkey."""

    netuid: U16
    info: dict[str, list[dict[str, Hex]]]


@dataclass(frozen=True, slots=True)
class AddCollateral(Args):
    """Lock alpha as a miner's collateral, bought where free alpha does not reach."""

    netuid: U16
    hotkey: Address
    alpha: U64
    limit_price: U64


@dataclass(frozen=True, slots=True)
class SetMinCollateral(Args):
    """The floor that a miner's collateral keeps itself at."""

    netuid: U16
    hotkey: Address
    min_locked: U64


@dataclass(frozen=True, slots=True)
class TransferKeepAlive(Args):
    """Send TAO to another account."""

    dest: Address
    value: U64


@dataclass(frozen=True, slots=True)
class RemarkWithEvent(Args):
    """Say something: the chain's event keeps who said it and the hash of it."""

    remark: Hex


@dataclass(frozen=True, slots=True)
class BatchedCall(Args):
    """One call of a batch; others than these are never batched here."""

    module: str
    function: str
    args: TransferKeepAlive | RemarkWithEvent


@dataclass(frozen=True, slots=True)
class BatchAll(Args):
    """Several calls, all of them or none."""

    calls: Annotated[list[BatchedCall], Field(max_length=16)]


@dataclass(frozen=True, slots=True)
class SubmitEncrypted(Args):
    """The carrier of an encrypted extrinsic."""

    ciphertext: Hex


CALLS: Mapping[tuple[str, str], TypeAdapter[Args]] = {
    ("SubtensorModule", "burned_register"): TypeAdapter(BurnedRegister),
    ("SubtensorModule", "register_limit"): TypeAdapter(RegisterLimit),
    ("SubtensorModule", "serve_axon"): TypeAdapter(ServeAxon),
    ("SubtensorModule", "set_mechanism_weights"): TypeAdapter(SetWeights),
    ("SubtensorModule", "commit_timelocked_mechanism_weights"): TypeAdapter(CommitWeights),
    ("SubtensorModule", "add_stake"): TypeAdapter(AddStake),
    ("SubtensorModule", "add_stake_limit"): TypeAdapter(AddStakeLimit),
    ("SubtensorModule", "add_collateral"): TypeAdapter(AddCollateral),
    ("SubtensorModule", "set_min_collateral"): TypeAdapter(SetMinCollateral),
    ("Balances", "transfer_keep_alive"): TypeAdapter(TransferKeepAlive),
    ("System", "remark_with_event"): TypeAdapter(RemarkWithEvent),
    ("Utility", "batch_all"): TypeAdapter(BatchAll),
    ("Commitments", "set_commitment"): TypeAdapter(SetCommitment),
    ("MevShield", "submit_encrypted"): TypeAdapter(SubmitEncrypted),
}


@dataclass(frozen=True, slots=True)
class LocalCall:
    """A composed call. The SDK reads `module`, `function` and `params`; the pallet reads `args`."""

    module: str
    function: str
    params: Mapping[str, object]
    args: Args

    def payload(self) -> bytes:
        """The call's canonical bytes: what a signature covers."""
        arguments = CALLS[self.module, self.function].dump_json(self.args)
        return f"{self.module}.{self.function}".encode() + arguments


def composed(module: str, function: str, params: Mapping[str, object]) -> LocalCall:
    """The typed call; ValueError when there is no such call or a parameter does not fit."""
    adapter = CALLS.get((module, function))
    if adapter is None:
        raise ValueError(f"the local chain has no call {module}.{function}")
    try:
        args = adapter.validate_python({name: _unbuilt(value) for name, value in params.items()})
    except ValidationError as error:
        detail = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{module}.{function}: {detail}") from None
    return LocalCall(module, function, dict(params), args)


def _unbuilt(value: object) -> object:
    """Calls that were composed already, as a batch carries them; other parameters as they are."""
    if not isinstance(value, list) or not all(isinstance(call, LocalCall) for call in value):
        return value
    return [{"module": call.module, "function": call.function, "args": call.args} for call in value]
