"""A score read like a bill: the numbers that it is made from, by name."""

from __future__ import annotations

from dataclasses import MISSING, fields

from storage.records import Score

NO_TERMS = frozenset({"miner_uid", "vram_bytes", "score", "enforced_score"})


def terms_of(score: Score) -> dict[str, float]:
    """The terms of a score by name, without those that its formula leaves at what changes nothing."""
    return {
        f.name: float(value)
        for f in fields(score)
        if isinstance(value := getattr(score, f.name), int | float)
        and f.name not in NO_TERMS
        and (f.default is MISSING or value != f.default)
    }
