"""What a check comes to: how much it looked at, and what was wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant, looked at."""

    name: str
    looked_at: int
    """0: there was nothing of the kind, so that it says nothing."""
    of_what: str
    wrong: tuple[str, ...] = ()


def check(name: str, looked_at: int, of_what: str, wrong: Iterable[str] = ()) -> Check:
    """With its findings in a stable order."""
    return Check(name, looked_at, of_what, tuple(dict.fromkeys(wrong)))
