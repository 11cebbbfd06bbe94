"""Checks against what earlier epochs know of the machine."""

from __future__ import annotations

from storage.records import Reason
from tasks.inspection import models
from tasks.inspection.checks.subject import Subject, fail, several


def spec_changed(subject: Subject) -> Reason | None:
    """A machine keeps its model and number of cards."""
    record, cards = subject.record, subject.facts.cards
    if record.model is None or record.card_count is None or not cards:
        return None
    got = (_canonical(cards[0].model), len(cards))
    if got == (_canonical(record.model), record.card_count):
        return None
    return fail(
        "SPEC_CHANGED",
        f"{len(cards)} x {cards[0].model}",
        f"{record.card_count} x {record.model}, as in earlier epochs",
        "Register the changed machine as a new executor.",
    )


def gpu_uuid_changed(subject: Subject) -> Reason | None:
    """A machine keeps its cards."""
    known, got = set(subject.record.card_uuids), {c.uuid for c in subject.facts.cards}
    if got and not known and subject.record.announced_uuids:
        return _not_as_announced(set(subject.record.announced_uuids), got)
    if not known or not got or known == got:
        return None
    return fail(
        "GPU_UUID_CHANGED",
        f"new {several(sorted(got - known)) or 'none'}, gone {several(sorted(known - got)) or 'none'}",
        "the cards of earlier epochs",
        "Put the cards back, announce the swap with `subnet miner swap`, or register the machine as a new executor.",
    )


def _not_as_announced(announced: set[str], got: set[str]) -> Reason | None:
    """After a signed swap the machine has the cards that were announced."""
    if {u.lower() for u in announced} == {u.lower() for u in got}:
        return None
    return fail(
        "SWAP_NOT_AS_ANNOUNCED",
        several(sorted(got)),
        several(sorted(announced)) + ", as the signed swap says",
        "Put the announced cards in, or register the machine as a new executor.",
    )


def _canonical(name: str) -> str:
    """The table's name, so that a driver that prints the model otherwise changes nothing."""
    model = models.find(name)
    return model.name if model else name
