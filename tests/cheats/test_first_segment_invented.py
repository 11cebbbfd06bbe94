from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernels import merkle
from kernels.blake2s import U32
from kernels.messages import OpenedSegment
from tasks.proof.conversation import Reply
from tasks.proof.opening import drawn_places
from tasks.proof.transcript import load
from tests.cheats.rig import TINY, judge, with_card
from tests.cheats.walking import Walking

ONLY_FIRST = replace(TINY, walkers=128)
"""128 walkers of one segment each: whatever is opened is a first segment."""


class OwnBeginning(Walking):
    """Begins every walk with a state of its own choice, one for all walkers, and walks on honestly."""

    def first_states(self, round_: int) -> U32:  # noqa: ARG002  the same in every round
        return np.full((self._parameters.walkers, 32), 7, dtype=np.uint32)


def test_a_beginning_of_ones_own_is_caught():
    """V makes the very first state itself: zeros and the start digests, whatever the card began with."""
    assert {judge(with_card(OwnBeginning), seed, policy=ONLY_FIRST).code for seed in range(8)} == {
        "WALK_STATE_WRONG"
    }


class BeginningShown(OwnBeginning):
    """And shows that beginning as the state before, with the path of some leaf."""

    def _open_segment(self, round_: int, leaf: int) -> OpenedSegment:
        tree = merkle.levels(merkle.WALKNODE, self._leaves[round_])
        opened = super()._open_segment(round_, leaf)
        shown = np.full(32, 7, dtype=np.uint32).tobytes()
        return replace(opened, before=shown, before_path=merkle.path(merkle.WALKNODE, tree, leaf - 1))


def test_a_state_before_the_first_is_refused():
    """There is no state before a walker's first segment, so none may be shown."""
    verdict = judge(with_card(BeginningShown), policy=ONLY_FIRST)
    assert verdict.code == "WALK_PATH_WRONG"
    assert "a state before it" in verdict.cards[0].detail


class FirstInvented(Walking):
    """Invents every walker's first segment and walks all others."""

    def ended(self, round_: int, segment: int, states: U32) -> U32:
        return (
            states
            if segment
            else np.random.default_rng(round_).integers(0, 1 << 32, states.shape, dtype=np.uint32)
        )


def test_a_first_segment_invented_is_caught_wherever_it_is_opened():
    """The proof fails exactly when a place falls on a first segment: here on one in two, in each of four rounds."""
    policy, codes = replace(TINY, walkers=64), set()
    for seed in range(24):
        verdict = judge(with_card(FirstInvented), seed, policy=policy)
        challenge, reply = load(verdict.transcript)
        assert isinstance(reply, Reply)
        opened = drawn_places(challenge, reply, 0).segments
        is_first_opened = any(leaf % challenge.parameters.segments == 0 for leaf in opened)
        assert verdict.code == ("WALK_STATE_WRONG" if is_first_opened else "PROVED")
        codes.add(verdict.code)
    assert len(codes) == 2
