"""What a check comes to: how much it looked at, and what was wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant, looked at."""

    name: str
    looked_at: int
    """0: there was nothing of the kind, so that it says nothing."""
    of_what: str
    wrong: tuple[str, ...] = ()


def tried(name: str, look: Callable[[], Check]) -> Check:
    """The check, or that it could not be made: then nothing is known, and that is a finding."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001  whatever it is, the other checks are made
        return Check(name, 0, "", (f"could not be checked: {type(error).__name__}: {str(error)[:300]}",))


def check(name: str, looked_at: int, of_what: str, wrong: Iterable[str] = ()) -> Check:
    """With its findings in a stable order."""
    return Check(name, looked_at, of_what, tuple(dict.fromkeys(wrong)))
