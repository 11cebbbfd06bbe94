"""One card, one executor: a UUID that two machines of the network list belongs to the older claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from storage.records import Reason, Severity


@dataclass(frozen=True, slots=True)
class Claim:
    """The cards that one executor lists, and how old its claim to them is."""

    executor_key: str
    registered_at_block: int
    """Of its miner."""
    first_seen: datetime | None
    """When this executor was first seen with these cards; None on a first meeting."""
    card_uuids: tuple[str, ...]
    is_sound: bool = True
    """False for a machine that fails by itself: what it lists keeps nobody else's card."""


def find_duplicates(claims: Iterable[Claim]) -> dict[str, Reason]:
    """Executor key -> UUID_DUPLICATE, for every executor that lists a card of an older sound claim.

    Only sound claims count against others, or a machine that never passes could list a rival's cards and strike it out.
    Older is: first seen earlier, then registered at a lower block, then the smaller key; whoever was never seen comes
    after all who were. What the answer is does not depend on the order of `claims`.
    """
    ordered = sorted(claims, key=_age)
    holders = _holders(ordered)
    found: dict[str, Reason] = {}
    for claim in ordered:
        older = {
            u: holders[u]
            for u in _cards(claim)
            if u in holders and holders[u].executor_key != claim.executor_key
        }
        if older:
            found[claim.executor_key] = _duplicate(older)
    return found


def _age(claim: Claim) -> tuple[bool, datetime, int, str]:
    seen = claim.first_seen
    return (
        seen is None,
        seen or datetime.max.replace(tzinfo=UTC),
        claim.registered_at_block,
        claim.executor_key,
    )


def _holders(ordered: Iterable[Claim]) -> Mapping[str, Claim]:
    """For each card the oldest sound claim."""
    holders: dict[str, Claim] = {}
    for claim in ordered:
        if claim.is_sound:
            for uuid in _cards(claim):
                holders.setdefault(uuid, claim)
    return holders


def _cards(claim: Claim) -> list[str]:
    """Sorted, each once, case folded so that a rewritten UUID is no new card."""
    return sorted({uuid.lower() for uuid in claim.card_uuids})


def _duplicate(older: Mapping[str, Claim]) -> Reason:
    uuid, holder = next(iter(older.items()))
    more = f" and {len(older) - 1} more" if len(older) > 1 else ""
    return Reason(
        code="UUID_DUPLICATE",
        severity=Severity.FAIL,
        got=f"card {uuid}{more}, which executor {holder.executor_key} listed before",
        wanted="cards that no other executor of the network lists",
        mend="List each card under one executor; if it was moved, take it out of the other listing first.",
    )
