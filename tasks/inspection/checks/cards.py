"""Checks of the cards themselves: number, model, memory, driver, UUID, power."""

from __future__ import annotations

import re
from collections import Counter

from storage.records import Card, Reason
from tasks.inspection import models
from tasks.inspection.checks.subject import Subject, fail, gib, several
from tasks.policy import MIB, InspectionPolicy

_UUID = re.compile(r"GPU-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def gpu_count_zero(subject: Subject) -> Reason | None:
    """A machine must list a card."""
    if subject.facts.cards:
        return None
    return fail("GPU_COUNT_ZERO", "no card", "at least 1 card", "See that `nvidia-smi -L` lists the cards.")


def gpu_count_exceeds_max(subject: Subject) -> Reason | None:
    """No machine that is built has more cards than the policy's maximum."""
    count = max(len(subject.facts.cards), subject.facts.gpu_count or 0)
    if count <= subject.policy.max_cards:
        return None
    return fail(
        "GPU_COUNT_EXCEEDS_MAX",
        f"{count} cards",
        f"at most {subject.policy.max_cards}",
        "Offer the machine as it is built, one executor for each real machine.",
    )


def gpu_details_mismatch(subject: Subject) -> Reason | None:
    """The plain list must count the cards that the details describe; a machine that does not count fails too."""
    count, cards = subject.facts.gpu_count, len(subject.facts.cards)
    if count == cards:
        return None
    listed = "no readable list" if count is None else f"{count} in the list"
    return fail(
        "GPU_DETAILS_MISMATCH",
        f"{listed}, {cards} in the details",
        "as many cards in `nvidia-smi -L` as in `nvidia-smi -q`",
        "A card is falling off the bus or nvidia-smi is not NVIDIA's: see `dmesg | grep -i xid`.",
    )


def gpu_model_unsupported(subject: Subject) -> Reason | None:
    """Every card must be of a model in the table."""
    unknown = sorted({c.model for c in subject.facts.cards if models.find(c.model) is None})
    if not unknown:
        return None
    if any(models.is_too_old(name) for name in unknown):
        return fail(
            "GPU_MODEL_UNSUPPORTED",
            several(unknown),
            "a card of Turing or newer (compute capability 7.5 or more) that the table of models has",
            "Offer a newer card: the proof's kernels don't run on Volta, Pascal and older ones.",
        )
    return fail(
        "GPU_MODEL_UNSUPPORTED",
        several(unknown),
        "a model of the table in tasks/inspection/models.py",
        "Offer a supported model, or ask for this one to be added with its datasheet.",
    )


def mixed_models(subject: Subject) -> Reason | None:
    """All cards of a machine are of one model, since one rate is paid for it."""
    found = Counter(c.model for c in subject.facts.cards)
    if len(found) < 2:
        return None
    return fail(
        "MIXED_MODELS",
        several(f"{count} x {model}" for model, count in sorted(found.items())),
        "cards of one model",
        "Put cards of different models into different machines.",
    )


def gpu_vram_mismatch(subject: Subject) -> Reason | None:
    """A card's memory must lie in the window of one size that its model is really sold with."""
    for card in subject.facts.cards:
        model = models.find(card.model)
        if model and models.sku(model, card.vram_mib, subject.policy.vram_window) is None:
            return _vram_mismatch(card, model, subject.policy)
    return None


def gpu_vram_below_minimum(subject: Subject) -> Reason | None:
    """The minimum is the size on the box; what is reported may be short of it by the same window."""
    least_mib = subject.policy.min_vram_bytes * subject.policy.vram_window[0] / MIB
    small = [c for c in subject.facts.cards if c.vram_mib < least_mib]
    if not small:
        return None
    return fail(
        "GPU_VRAM_BELOW_MINIMUM",
        f"{small[0].vram_mib} MiB on card {small[0].index}",
        f"cards of {gib(subject.policy.min_vram_bytes)}",
        "Offer cards with more memory.",
    )


def driver_missing(subject: Subject) -> Reason | None:
    """A card whose driver is not named fails: an empty version is no reason to look away."""
    silent = [c.index for c in subject.facts.cards if not c.driver]
    if not silent:
        return None
    return fail(
        "DRIVER_MISSING",
        f"no driver version on card {several(map(str, silent))}",
        "the version of NVIDIA's driver",
        "Install NVIDIA's driver and see that `nvidia-smi` shows its version.",
    )


def gpu_uuid_malformed(subject: Subject) -> Reason | None:
    """A UUID is GPU- and 32 lower-case hex digits in groups of 8-4-4-4-12."""
    bad = [c for c in subject.facts.cards if not _UUID.fullmatch(c.uuid)]
    if not bad:
        return None
    return fail(
        "GPU_UUID_MALFORMED",
        f"{bad[0].uuid!r} on card {bad[0].index}",
        "GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx in lower-case hex",
        "Put NVIDIA's own nvidia-smi on the PATH.",
    )


def gpu_uuid_repeated(subject: Subject) -> Reason | None:
    """No two cards of a machine have one UUID."""
    twice = sorted(u for u, n in Counter(c.uuid.lower() for c in subject.facts.cards).items() if n > 1)
    if not twice:
        return None
    return fail(
        "GPU_UUID_REPEATED",
        several(twice),
        "a UUID of its own for every card",
        "List each card once.",
    )


def gpu_power_limit(subject: Subject) -> Reason | None:
    """A card that is throttled below its default can't do what its class is paid for."""
    share = subject.policy.min_power_limit_share
    for card in subject.facts.cards:
        limit, default = card.power_limit_w, card.power_default_w
        if limit is not None and default and limit < share * default:
            return fail(
                "GPU_POWER_LIMIT_BELOW_DEFAULT",
                f"{limit:g} W of {default:g} W on card {card.index}",
                f"at least {share:.0%} of the default, {share * default:g} W",
                f"Raise it with `nvidia-smi -i {card.index} -pl {default:g}`.",
            )
    return None


def _vram_mismatch(card: Card, model: models.Model, policy: InspectionPolicy) -> Reason:
    low, high = policy.vram_window
    windows = [f"{low * s.nominal_mib:.0f} to {high * s.nominal_mib:.0f} MiB" for s in model.skus]
    return fail(
        "GPU_VRAM_MISMATCH",
        f"{card.vram_mib} MiB on card {card.index}",
        f"{model.name}: {' or '.join(windows)}",
        "Offer the card under its own name, whole and as its vendor sells it.",
    )
