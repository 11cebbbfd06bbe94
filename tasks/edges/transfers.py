"""What the events of a block tell of one transfer: the chain's answer, understood. Pure.

Each event: {"extrinsic_idx": 7, "event": {"module_id": "Balances", "event_id": "Transfer",
             "attributes": {"from": address, "to": address, "amount": rao}}}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.errors import BadAnswer, ChainRefused

MAX_EVENTS = 100_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """A transfer to our address in a final block."""

    extrinsic_id: str
    """BLOCK-INDEX."""
    block: int
    at: datetime
    """Of its block."""
    transfer: Transfer


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What a stretch of final blocks had for our address."""

    through: int
    """The last block of the stretch."""
    found: tuple[Arrival, ...]
    unread: tuple[int, ...]
    """Blocks that the node can't tell, or tells in no form of ours."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """TAO that came in."""

    sender: str
    receiver: str
    amount_rao: int
    remarks: tuple[str, ...]
    """blake2b-256 of each remark of the same extrinsic, 64 hex digits: the chain keeps no more of it in its events."""


def transfer_in(events: object, index: int, receiver: str) -> Transfer:
    """The one transfer to the receiver in a block's extrinsic; ChainRefused when it failed or there is none."""
    if not isinstance(events, list) or len(events) > MAX_EVENTS:
        raise BadAnswer(f"the block's events are no list of at most {MAX_EVENTS}")
    own = list(_of_extrinsic(events, index))
    if not any(name == ("System", "ExtrinsicSuccess") for name, _ in own):
        raise ChainRefused("NoTransfer", f"the block has no successful extrinsic {index}")
    found = [a for name, a in own if name == ("Balances", "Transfer") and a.get("to") == receiver]
    if len(found) != 1:
        raise ChainRefused(
            "NoTransfer", f"extrinsic {index} has {len(found)} transfers to {receiver}, wanted 1"
        )
    [sent] = found
    if not (isinstance(sent.get("from"), str) and _is_amount(sent.get("amount"))):
        raise BadAnswer("the transfer has no sender or no amount")
    return Transfer(sent["from"], receiver, sent["amount"], _remarks(own))


def transfers_to(events: object, receiver: str) -> dict[int, Transfer]:
    """All that came to the receiver in a block, by extrinsic: what one sent in several parts is one amount.

    Of successful extrinsics alone; BadAnswer when the events have no such form.
    """
    if not isinstance(events, list) or len(events) > MAX_EVENTS:
        raise BadAnswer(f"the block's events are no list of at most {MAX_EVENTS}")
    indices = {r.get("extrinsic_idx") for r in events if isinstance(r, Mapping) and _names(r, receiver)}
    found: dict[int, Transfer] = {}
    for index in sorted(i for i in indices if isinstance(i, int)):
        own = list(_of_extrinsic(events, index))
        sent = [a for name, a in own if name == ("Balances", "Transfer") and a.get("to") == receiver]
        if not sent or not any(name == ("System", "ExtrinsicSuccess") for name, _ in own):
            continue
        if not all(isinstance(a.get("from"), str) and _is_amount(a.get("amount")) for a in sent):
            raise BadAnswer("a transfer has no sender or no amount")
        total = sum(a["amount"] for a in sent)
        found[index] = Transfer(sent[0]["from"], receiver, total, _remarks(own))
    return found


def _names(record: Mapping[str, Any], receiver: str) -> bool:
    """Whether an event has something for the receiver."""
    event = record.get("event")
    attributes = event.get("attributes") if isinstance(event, Mapping) else None
    return isinstance(attributes, Mapping) and attributes.get("to") == receiver


def _remarks(own: Iterable[tuple[tuple[object, object], Mapping[str, Any]]]) -> tuple[str, ...]:
    said = (str(a.get("hash", "")) for name, a in own if name == ("System", "Remarked"))
    return tuple(remark.lower().removeprefix("0x") for remark in said)


def _of_extrinsic(events: list[Any], index: int) -> Iterator[tuple[tuple[object, object], Mapping[str, Any]]]:
    """Pallet, name and attributes of each event that fits; those of other extrinsics and forms are left out."""
    for record in events:
        if not isinstance(record, Mapping) or record.get("extrinsic_idx") != index:
            continue
        event = record.get("event")
        if isinstance(event, Mapping):
            attributes = event.get("attributes")
            name = (event.get("module_id"), event.get("event_id"))
            yield name, attributes if isinstance(attributes, Mapping) else {}


def _is_amount(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 63
