"""Checks of who uses the cards of a machine that should be idle, or held by its lease alone."""

from __future__ import annotations

from storage.records import Card, HostFacts, Reason
from tasks.inspection.checks.subject import Subject, fail, several


def gpu_usage_high(subject: Subject) -> Reason | None:
    """An idle machine's cards are idle: utilisation with a stranger's process on the card is use by somebody else."""
    held = {p.card_uuid for p in subject.facts.processes if p.owner not in subject.allowed_owners}
    limit = subject.policy.max_idle_utilisation_pct
    busy = [c for c in subject.facts.cards if c.uuid in held and (c.utilisation_pct or 0) > limit]
    if not busy:
        return None
    return fail(
        "GPU_USAGE_HIGH",
        f"{busy[0].utilisation_pct} % on card {busy[0].index}",
        f"at most {limit} % while it is not leased",
        "Stop what runs on the card outside of leases.",
    )


def gpu_foreign_process(subject: Subject) -> Reason | None:
    """Only who was let in may hold a card."""
    foreign = [p for p in subject.facts.processes if p.owner not in subject.allowed_owners]
    if not foreign:
        return None
    shown = [f"{p.name} (pid {p.pid}, {p.owner or 'owner unknown'})" for p in foreign]
    return fail(
        "GPU_FOREIGN_PROCESS",
        several(shown),
        "no process on the cards but a lease's",
        "Stop it, and keep other work off machines that are offered.",
    )


def gpu_vram_held(subject: Subject) -> Reason | None:
    """Memory in use that no listed process accounts for is held by somebody hidden."""
    limit = subject.policy.max_held_memory_mib
    for card in subject.facts.cards:
        unowned = _unowned_mib(card, subject.facts)
        if unowned is not None and unowned > limit:
            return fail(
                "GPU_VRAM_HELD",
                f"{unowned} MiB on card {card.index} without a process",
                f"at most {limit} MiB",
                f"Find the holder with `fuser -v /dev/nvidia{card.index}` and stop it, or reset the card.",
            )
    return None


def _unowned_mib(card: Card, facts: HostFacts) -> int | None:
    """Memory in use less what the card's processes say they use; None where either is not said."""
    owned = [p.memory_mib for p in facts.processes if p.card_uuid == card.uuid]
    said = [x for x in owned if x is not None]
    if card.memory_used_mib is None or len(said) < len(owned):
        return None
    return card.memory_used_mib - sum(said)
