from __future__ import annotations

import math

import pytest

from kernels.messages import Go, Multiply, Open, Request, Walk
from storage.records import Severity
from tests.cheats.cost import SCALED, Cards, CountedCard, Machine, hardware, judge_timed

CARD = hardware("H100 80GB HBM3")


def _held_back(asked: type[Request], by_s: float) -> type[Machine]:
    class HeldBack(Machine):
        """Has the right answer and keeps it back."""

        def seconds(self, request: Request, cards: Cards) -> float:
            works_s = super().seconds(request, cards)
            return by_s if isinstance(request, asked) else works_s

    return HeldBack


@pytest.mark.parametrize(
    ("asked", "deadline_s", "phase"),
    [
        (Walk, SCALED.round_deadline_s, "walk 0"),
        (Multiply, SCALED.round_deadline_s, "multiply"),
        (Open, SCALED.open_deadline_s, "open"),
    ],
)
@pytest.mark.parametrize("by_s", [1e-3, math.inf], ids=["a moment", "for ever"])
def test_an_answer_after_its_deadline_fails(asked, deadline_s, phase, by_s):
    """From the first nonce on a right answer that comes too late is none, by a moment or for ever."""
    verdict = judge_timed(CountedCard, CARD, machine=_held_back(asked, deadline_s + by_s))
    assert (verdict.code, verdict.severity) == ("PROOF_TOO_LATE", Severity.FAIL)
    assert verdict.reasons[0].got.startswith(phase)


@pytest.mark.parametrize(
    ("asked", "deadline_s", "code"),
    [
        (Walk, SCALED.round_deadline_s, "BANDWIDTH_TOO_LOW"),
        (Multiply, SCALED.round_deadline_s, "PROVED"),
        (Open, SCALED.open_deadline_s, "PROVED"),
    ],
)
def test_an_answer_at_its_deadline_is_in_time(asked, deadline_s, code):
    """At the very instant it still counts; a walk of that length is then judged by its bandwidth."""
    assert judge_timed(CountedCard, CARD, machine=_held_back(asked, deadline_s)).code == code


def test_a_late_ready_is_no_verdict():
    """Before the first nonce nothing is proved: the machine may be tried again."""
    verdict = judge_timed(CountedCard, CARD, machine=_held_back(Go, SCALED.fill_deadline_s + 1e-3))
    assert (verdict.code, verdict.severity) == ("PROVER_NOT_READY", Severity.NO_VERDICT)
