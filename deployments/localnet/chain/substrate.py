"""`LocalSubstrate`: the SDK's public `bittensor.Substrate` protocol over the local chain's file.

    bittensor.Subtensor("local", substrate=LocalSubstrate(path))

Signatures are made and verified, nonces raised, fees taken. An encrypted extrinsic is carried as on
the real chain; since the announced ML-KEM key is a constant without a secret key, what it carries is
remembered beside it. An extrinsic is included in the next block, and whoever waits for its inclusion
waits until that block has begun.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Protocol, TypeVar

import bittensor as bt
from bittensor import sp_core

from deployments.localnet.chain import reads
from deployments.localnet.chain.calls import LocalCall, SubmitEncrypted, composed
from deployments.localnet.chain.ledger import Ledger, LedgerError, Receipt
from deployments.localnet.chain.pallet import FEE_RAO, PalletError, dispatch, fee_payer
from deployments.localnet.chain.state import ChainState, WeightRow

MLKEM768_KEY = bytes(1184)
"""Every coefficient is below 3329, so this is a valid public key, and nobody has the secret one."""
NONCE_RACES = 8
T = TypeVar("T")

__all__ = ["LocalSubstrate"]


class Signer(Protocol):
    """What signs: a keypair, or the SDK's wallet signer."""

    @property
    def ss58_address(self) -> str:
        """The account."""

    @property
    def crypto_type(self) -> int:
        """0 is ed25519, 1 is sr25519."""

    def sign(self, data: bytes) -> bytes | Awaitable[bytes]:
        """The signature of the data."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A call with everything that an extrinsic needs."""

    call: LocalCall
    address: str
    crypto_type: int
    nonce: int
    signature: bytes
    payload: bytes

    @property
    def raw(self) -> bytes:
        """The extrinsic's bytes."""
        return self.signature + self.address.encode() + self.payload

    @property
    def hash(self) -> str:
        """0x and 64 hex digits."""
        return "0x" + blake2b(self.raw, digest_size=32).hexdigest()


class Invalid(Exception):
    """The pool refuses an extrinsic: it is not included and costs nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class LocalSubstrate:
    """One process's connection to the local chain at `path`; build a new one after a fork.

    `now` and `sleep` are the clock: tests pass one that they move themselves.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.ledger = Ledger(path, now)
        self.token_symbols: dict[int, str] = {}
        self._sleep = sleep
        self._carried: dict[tuple[str, int], Signed] = {}

    def advance(self, blocks: int) -> int:
        """Let blocks pass at once; the new head."""
        return self.ledger.advance(blocks)

    def seal(self, hotkey: str, uids: Sequence[int], values: Sequence[int], version_key: int) -> None:
        """Hand over what the hotkey's next timelocked commit holds: no drand signature opens it here."""
        row = WeightRow(list(uids), list(values), version_key)

        def keep(state: ChainState) -> tuple[None, list[Receipt]]:
            state.envelopes[hotkey] = row
            return None, []

        self.ledger.include(keep)

    # --- life and time

    def balance(self, rao: int, netuid: int = 0) -> bt.Balance:
        """An amount with the subnet's symbol."""
        return bt.Balance(int(rao), netuid, self.token_symbols.get(netuid) if netuid else None)

    async def connect(self) -> None:
        """Open the file; ChainError when there is no chain in it."""
        _answered(self.ledger.open)

    async def close(self) -> None:
        """Let the file go."""
        self.ledger.close()

    async def block_hash(self, block: int | None = None) -> str:
        """The hash of a block that has begun."""
        head = _answered(self.ledger.head)
        if block is not None and not 0 <= block <= head:
            raise bt.ChainError(f"block {block} is not there yet, the head is {head}")
        return self.ledger.block_hash(head if block is None else block)

    async def block_number(self) -> int:
        """The head."""
        return _answered(self.ledger.head)

    async def finalized_block_number(self) -> int:
        """The head: nothing is ever taken back."""
        return _answered(self.ledger.head)

    async def block_time(self) -> float:
        """Seconds a block."""
        _answered(self.ledger.open)
        return self.ledger.block_time_ms / 1000

    async def spec_version(self) -> int:
        """The runtime that the chain resembles."""
        return reads.RUNTIME_VERSION

    async def get_block(
        self, block_number: int | None = None, block_hash: str | None = None
    ) -> dict[str, object] | None:
        """A block's header; None when it has not begun. Extrinsics are looked up by their hash."""
        head = _answered(self.ledger.head)
        number = self._block(block_hash) if block_hash is not None else block_number
        number = head if number is None else number
        if not 0 <= number <= head:
            return None
        return {"header": self._header(number), "extrinsics": []}

    async def blocks(self, *, finalized: bool = False) -> AsyncIterator[dict[str, object]]:
        """Headers as blocks begin, the head's first; every block is final."""
        del finalized
        number = await self.block_number()
        while True:
            yield {"header": self._header(number)}
            number += 1
            await self._begun(number)

    # --- reads

    async def query(
        self,
        module: str,
        storage_function: str,
        params: list[object] | None = None,
        block_hash: str | None = None,
    ) -> object:
        """One storage value, the item's default when nothing is stored."""
        view, name = self._view(block_hash), f"{module}.{storage_function}"
        return _known(name, lambda: reads.value(view, name, params or []))

    async def query_map(
        self,
        module: str,
        storage_function: str,
        params: list[object] | None = None,
        block_hash: str | None = None,
    ) -> list[tuple[object, object]]:
        """A storage map below its prefix."""
        view, name = self._view(block_hash), f"{module}.{storage_function}"
        return _known(name, lambda: reads.entries(view, name, params or []))

    async def map_has_entries(
        self, module: str, storage_function: str, params: list[object], block_hash: str | None = None
    ) -> bool:
        """Whether anything is stored below the prefix."""
        return bool(await self.query_map(module, storage_function, params, block_hash))

    async def query_batch(
        self,
        module: str,
        storage_function: str,
        param_sets: list[list[object]],
        block_hash: str | None = None,
    ) -> list[object]:
        """One item for many keys, in their order, all at one block."""
        view, name = self._view(block_hash), f"{module}.{storage_function}"
        return _known(name, lambda: [reads.value(view, name, params) for params in param_sets])

    async def runtime_call(
        self, api: str, method: str, params: list[object], block_hash: str | None = None
    ) -> object:
        """A runtime API's answer."""
        view, name = self._view(block_hash), f"{api}.{method}"
        return _known(name, lambda: reads.api(view, name, params))

    async def constant(self, module: str, name: str) -> object:
        """A pallet's constant."""
        if (module, name) == ("Aura", "SlotDuration"):
            return int(await self.block_time() * 1000)
        return _known(f"{module}.{name}", lambda: reads.CONSTANTS[f"{module}.{name}"])

    # --- calls and fees

    async def compose(self, call: tuple[str, str, dict[str, object]]) -> LocalCall:
        """The typed call; ChainError when it is none of the chain's or does not fit."""
        module, function, params = call
        try:
            return composed(module, function, params)
        except ValueError as error:
            raise bt.ChainError(str(error)) from None

    async def estimate_fee(self, call: LocalCall, keypair: object) -> bt.Balance:
        """The fee: it is the same for all calls."""
        del call, keypair
        return bt.Balance.from_rao(FEE_RAO)

    async def estimate_weight(self, call: LocalCall, keypair: object) -> dict[str, int]:
        """The dispatch weight: calls are not weighed."""
        del call, keypair
        return {"ref_time": 0, "proof_size": 0}

    async def account_next_index(self, address: str) -> int:
        """The next nonce, with what is included in the coming block."""
        account = _answered(self.ledger.pending).accounts.get(address)
        return account.nonce if account else 0

    # --- writes

    async def mev_next_key(self) -> bytes | None:
        """The key that encrypted extrinsics are encrypted for."""
        return MLKEM768_KEY

    async def sign_extrinsic(
        self, call: LocalCall, keypair: Signer, *, nonce: int, period: int
    ) -> tuple[bytes, str]:
        """A signed extrinsic's bytes and hash; remembered until its carrier comes."""
        del period
        signed = await self._signed(call, keypair, nonce)
        self._carried[signed.address, nonce] = signed
        return signed.raw, signed.hash

    async def submit(
        self,
        call: LocalCall,
        keypair: Signer,
        *,
        nonce: int | None = None,
        period: int | None = None,
        wait_for_inclusion: bool = True,
        wait_for_finalization: bool = True,
    ) -> bt.ExtrinsicResult:
        """Sign and include; a failure is a result. Waits until the block has begun when asked to."""
        del period
        for _ in range(NONCE_RACES):
            used = await self.account_next_index(keypair.ss58_address) if nonce is None else nonce
            signed = await self._signed(call, keypair, used)
            try:
                receipt = self._include(signed)
            except Invalid as refusal:
                if refusal.name == "Stale" and nonce is None:
                    continue  # another extrinsic of the same account came first
                return _failed(refusal.name)
            if wait_for_inclusion or wait_for_finalization:
                await self._begun(receipt.block)
            return self._result(receipt)
        return _failed("Stale")

    async def find_extrinsic(self, extrinsic_hash: str, block_hash: str) -> bt.ExtrinsicResult | None:
        """The outcome of an extrinsic in a block, None when the block does not carry it."""
        block = self._block(block_hash)
        receipt = _answered(lambda: self.ledger.receipt(extrinsic_hash, block))
        return None if receipt is None else self._result(receipt)

    # --- what the validator's operations never need

    async def decode_scale(self, type_string: str, data: object) -> object:
        """Not offered: values are never encoded here."""
        raise _not_offered("decode_scale", type_string, data)

    async def events(self, block_hash: str | None = None) -> list[dict[str, object]]:
        """Not offered: outcomes are in the results."""
        raise _not_offered("events", block_hash)

    async def prepare(self, call: LocalCall, **options: object) -> object:
        """Not offered: signing happens in the process."""
        raise _not_offered("prepare", call, options)

    async def submit_signature(self, unsigned: object, signature: object, **options: object) -> object:
        """Not offered: signing happens in the process."""
        raise _not_offered("submit_signature", unsigned, signature, options)

    async def submit_signed(self, extrinsic: object, keypair: object, **options: object) -> object:
        """Not offered: signing happens in the process."""
        raise _not_offered("submit_signed", extrinsic, keypair, options)

    def multisig_account(self, signatories: list[str], threshold: int) -> object:
        """Not offered: there are no multisig accounts."""
        raise _not_offered("multisig_account", signatories, threshold)

    async def submit_multisig(
        self, call: object, keypair: object, multisig_account: object, **options: object
    ) -> object:
        """Not offered: there are no multisig accounts."""
        raise _not_offered("submit_multisig", call, keypair, multisig_account, options)

    # --- inside

    def _block(self, block_hash: str) -> int:
        return _answered(lambda: self.ledger.block_of(block_hash))

    def _view(self, block_hash: str | None) -> reads.View:
        block = _answered(self.ledger.head) if block_hash is None else self._block(block_hash)
        state = _answered(lambda: self.ledger.state_at(block))
        return reads.View(state, block, self.ledger.begins_ms(block))

    def _header(self, number: int) -> dict[str, object]:
        parent = self.ledger.block_hash(max(number - 1, 0))
        return {"number": number, "hash": self.ledger.block_hash(number), "parentHash": parent}

    async def _begun(self, block: int) -> None:
        """Wait until a block is the head."""
        while (left := _answered(lambda: self.ledger.wait_s(block))) > 0:
            await self._sleep(left)

    async def _signed(self, call: LocalCall, keypair: Signer, nonce: int) -> Signed:
        _answered(self.ledger.open)
        genesis = self.ledger.block_hash(0)
        payload = b"\n".join([genesis.encode(), str(nonce).encode(), call.payload()])
        signature = keypair.sign(payload)
        if inspect.isawaitable(signature):
            signature = await signature
        return Signed(call, keypair.ss58_address, keypair.crypto_type, nonce, bytes(signature), payload)

    def _include(self, signed: Signed) -> Receipt:
        """Include an extrinsic, and after it the one that it carries."""
        carried = None
        if isinstance(signed.call.args, SubmitEncrypted):
            carried = self._carried.pop((signed.address, signed.nonce + 1), None)

        def change(state: ChainState) -> tuple[Receipt, list[Receipt]]:
            receipts = [_apply(state, signed)]
            if carried is not None:
                with suppress(Invalid):  # then it is never included, as on the real chain
                    receipts.append(_apply(state, carried))
            return receipts[0], receipts

        return _answered(lambda: self.ledger.include(change))

    def _result(self, receipt: Receipt) -> bt.ExtrinsicResult:
        error = bt.ChainError(receipt.error, receipt.error) if receipt.error else None
        return bt.ExtrinsicResult(
            success=error is None,
            message=receipt.error or "Success",
            block_hash=self.ledger.block_hash(receipt.block),
            extrinsic_id=f"{receipt.block}-{receipt.position:04d}",
            fee=bt.Balance.from_rao(receipt.fee_rao),
            error=error,
        )


def _apply(state: ChainState, signed: Signed) -> Receipt:
    """Verify, take nonce and fee, dispatch; a refused call leaves nonce and fee taken and nothing else."""
    if not sp_core.verify(signed.payload, signed.signature, signed.address, signed.crypto_type):
        raise Invalid("BadProof")
    account = state.account(signed.address)
    if signed.nonce != account.nonce:
        raise Invalid("Stale" if signed.nonce < account.nonce else "Future")
    payer = state.account(fee_payer(state, signed.address, signed.call.args))
    if payer.free_rao < FEE_RAO:
        raise Invalid("Payment")
    account.nonce += 1
    payer.free_rao -= FEE_RAO
    position, error = state.extrinsics_in_block, ""
    state.extrinsics_in_block += 1
    try:
        dispatch(state, signed.address, signed.call.args)
    except PalletError as refusal:
        error = refusal.name
    call = f"{signed.call.module}.{signed.call.function}"
    return Receipt(signed.hash, state.block, position, signed.address, signed.nonce, call, error, FEE_RAO)


def _answered(ask: Callable[[], T]) -> T:
    """What the ledger answers; its errors as the SDK's."""
    try:
        return ask()
    except LedgerError as error:
        raise bt.ChainError(str(error)) from None


def _known(name: str, ask: Callable[[], T]) -> T:
    """What a read answers; ChainError when the chain has no such item."""
    try:
        return ask()
    except KeyError:
        raise bt.ChainError(f"the local chain has no {name}") from None


def _failed(name: str) -> bt.ExtrinsicResult:
    return bt.ExtrinsicResult(success=False, message=name, error=bt.ChainError(name, name))


def _not_offered(method: str, *given: object) -> bt.ChainError:
    del given
    return bt.ChainError(f"the local chain does not offer {method}")
