"""A place on the subnet for a hotkey: what it costs now, and how it is bought, with a ceiling that the chain itself holds.

    terms = chain.registration(hotkey, coldkey)            price, balance, the uid where there is one already
    taken = chain.register(keypair, hotkey, limit_rao=...)  bought once, however often it is called

The call is `register_limit`: the chain refuses it in a block where the price is above the ceiling, so that nobody pays
more than was agreed to, whatever others buy in between. It goes through MevShield, as the SDK's own registration does;
in the clear only on a chain of one's own that has no such pallet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bittensor as bt

from tasks.errors import ChainAway, RegistrationRefused, SettingError

RAO = 1_000_000_000
U16_MAX = 65_535
FEES_RAO = 1_000_000
"""Kept free beside the price: more than carrier and call together have ever cost."""
TRIES = 12
"""Blocks that a place is tried for where others take those of a block first."""
SHIELDED = ("finney", "test", "archive")
"""Networks where nothing is ever sent in the clear."""
CROWDED = ("TooManyRegistrationsThisBlock", "TooManyRegistrationsThisInterval")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a place costs now, and what the one who would pay has."""

    block: int
    hotkey: str
    coldkey: str
    uid: int | None
    """That the hotkey has already."""
    is_open: bool
    price_rao: int
    locked_rao: int
    """Of the price: locked as the miner's collateral instead of burned."""
    free_rao: int
    """Of the coldkey."""

    @property
    def needed_rao(self) -> int:
        """Price and fees."""
        return self.price_rao + FEES_RAO


@dataclass(frozen=True, slots=True)
class Place:
    """A hotkey's uid, and what getting it took."""

    uid: int
    hotkey: str
    is_new: bool
    extrinsic_id: str = ""
    spent_rao: int = 0
    """By which the coldkey's balance fell meanwhile, fees among it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was told of a call that was sent, or may have been."""

    extrinsic_id: str = ""
    refused: str = ""
    """The pallet's name of the error, or the SDK's."""
    message: str = ""


async def read_terms(client: bt.Client, netuid: int, hotkey: str, coldkey: str) -> Terms:
    """All of it at one block; SettingError when there is no such subnet."""
    at = await client.at()
    parameters, price, share, uid, account = await asyncio.gather(
        at.read("subnet_hyperparameters", netuid=netuid),
        at.query(("SubtensorModule", "Burn"), [netuid]),
        at.query(("SubtensorModule", "CollateralLockShare"), [netuid]),
        at.query(("SubtensorModule", "Uids"), [netuid, hotkey]),
        at.query(("System", "Account"), [coldkey]),
    )
    if parameters is None:
        raise SettingError("netuid", str(netuid), "a subnet of this network")
    try:
        price_rao, locked_rao = int(price), int(price) * int(share or 0) // U16_MAX
        free_rao = int(account["data"]["free"])
    except (KeyError, TypeError, ValueError) as error:
        raise bt.ChainError(
            f"the runtime tells no price of a registration ({error})", "UnknownRuntime"
        ) from None
    return Terms(
        block=at.block,
        hotkey=hotkey,
        coldkey=coldkey,
        uid=None if uid is None else int(uid),
        is_open=bool(parameters.get("registration_allowed", True)),
        price_rao=price_rao,
        locked_rao=locked_rao,
        free_rao=free_rao,
    )


def check_terms(terms: Terms, limit_rao: int) -> None:
    """RegistrationRefused when a registration at these terms would not go through, before anything is paid for trying."""
    for is_in_the_way, name in (
        (not terms.is_open, "SubNetRegistrationDisabled"),
        (terms.price_rao > limit_rao, "RegistrationPriceLimitExceeded"),
        (terms.free_rao < terms.needed_rao, "NotEnoughBalanceToStake"),
    ):
        refused = refusal(name, terms, limit_rao) if is_in_the_way else None
        if refused is not None:
            raise refused


def outcome(before: Terms, after: Terms, sent: Sent, limit_rao: int) -> Place:
    """What became of it: a uid that the chain has is ours, whatever was told; one that it has not was not bought."""
    if after.uid is not None:
        spent_rao = max(before.free_rao - after.free_rao, 0)
        return Place(
            after.uid, after.hotkey, is_new=True, extrinsic_id=sent.extrinsic_id, spent_rao=spent_rao
        )
    refused = refusal(sent.refused, after, limit_rao)
    if refused is not None:
        raise refused
    raise ChainAway(f"the registration's result was lost ({sent.message}); run it again: it looks first")


async def send(
    client: bt.Client, coldkey: Any, netuid: int, hotkey: str, limit_rao: int, *, may_be_clear: bool
) -> bt.ExtrinsicResult:
    """Signed by the coldkey, sent, and followed to its end; again in the next block while others take this one's places."""
    call = bt.calls.SubtensorModule.register_limit(netuid=netuid, hotkey=hotkey, limit_price=limit_rao)
    for left in reversed(range(TRIES)):
        result = await _once(client, call, coldkey, may_be_clear=may_be_clear)
        name = result.error.name if result.error is not None else None
        if result.success or name not in CROWDED or not left:
            break
        await client.wait_for_block()
    return result


async def _once(client: bt.Client, call: Any, coldkey: Any, *, may_be_clear: bool) -> bt.ExtrinsicResult:
    # One raw call in a client that refuses them otherwise: the SDK has no intent with a ceiling.
    policy = bt.Policy(allow_raw_calls=True)
    try:
        return await client.submit_call(call, coldkey, policy=policy, shielded=True)
    except bt.ChainError as error:
        is_without_shield = error.name is None and "MEV Shield" in error.message
        if not (may_be_clear and is_without_shield):
            raise
    return await client.submit_call(call, coldkey, policy=policy)


def refusal(name: str, terms: Terms, limit_rao: int) -> RegistrationRefused | None:
    """What the pallet's error of this name means for who registers; None for one that nobody expects."""
    code = _CODES.get(name)
    if code is None:
        return None
    detail, mend = _WORDS[code]
    told = {
        "hotkey": terms.hotkey,
        "coldkey": terms.coldkey,
        "price": tao(terms.price_rao),
        "limit": tao(limit_rao),
        "free": tao(terms.free_rao),
        "needed": tao(terms.needed_rao),
        "missing": tao(max(terms.needed_rao - terms.free_rao, 0)),
        "tries": TRIES,
    }
    return RegistrationRefused(code, detail.format(**told), mend.format(**told))


_CODES: Mapping[str, str] = {
    "RegistrationPriceLimitExceeded": "PRICE_ABOVE_CEILING",
    "NotEnoughBalanceToStake": "BALANCE_TOO_LOW",
    "NotEnoughBalanceToPayRegistration": "BALANCE_TOO_LOW",
    "InsufficientBalance": "BALANCE_TOO_LOW",
    "Payment": "BALANCE_TOO_LOW",
    "SubNetRegistrationDisabled": "REGISTRATION_CLOSED",
    "NonAssociatedColdKey": "HOTKEY_OF_ANOTHER_COLDKEY",
    "NoNeuronIdAvailable": "SUBNET_FULL",
    "TooManyRegistrationsThisBlock": "TOO_CROWDED",
    "TooManyRegistrationsThisInterval": "TOO_CROWDED",
}
_WORDS: Mapping[str, tuple[str, str]] = {
    "PRICE_ABOVE_CEILING": (
        "a place costs {price} TAO, the ceiling is {limit} TAO",
        "Raise --max-tao, or wait: the price falls while nobody registers.",
    ),
    "BALANCE_TOO_LOW": (
        "the coldkey {coldkey} has {free} TAO free, price and fees need {needed} TAO",
        "Send {missing} TAO or more to {coldkey}.",
    ),
    "REGISTRATION_CLOSED": (
        "the subnet's owner has closed registration",
        "Wait until it is open again; nothing of yours is wrong.",
    ),
    "HOTKEY_OF_ANOTHER_COLDKEY": (
        "the hotkey {hotkey} belongs to another coldkey than {coldkey}",
        "Use the wallet that it was first registered with, or make a fresh hotkey (`subnet miner hotkey new`).",
    ),
    "SUBNET_FULL": (
        "all places are taken by miners that can't be put out yet",
        "Try again when the immunity of the oldest of them is over: some hours.",
    ),
    "TOO_CROWDED": (
        "others took the places of {tries} blocks",
        "Run the same command again in some minutes.",
    ),
}


def tao(rao: int) -> str:
    """An amount as people write it: 1.5, without trailing zeros."""
    return f"{rao / RAO:.9f}".rstrip("0").rstrip(".")
