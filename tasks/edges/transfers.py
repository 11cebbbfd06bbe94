"""What the events of a block tell of one transfer: the chain's answer, understood. Pure.

Each event: {"extrinsic_idx": 7, "event": {"module_id": "Balances", "event_id": "Transfer",
             "attributes": {"from": address, "to": address, "amount": rao}}}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.errors import BadAnswer, ChainRefused

MAX_EVENTS = 100_000


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
    remarks = (str(a.get("hash", "")) for name, a in own if name == ("System", "Remarked"))
    return Transfer(
        sent["from"], receiver, sent["amount"], tuple(remark.lower().removeprefix("0x") for remark in remarks)
    )


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
