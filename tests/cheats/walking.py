"""A walk in lanes that a cheat can change: where its lines come from, and what becomes of its states."""

from __future__ import annotations

import numpy as np

from kernels.blake2s import U32, U64
from kernels.walk import addresses, start_digests, step_lanes
from tests.cheats.rig import OwnStates


class Walking(OwnStates):
    """Walks honestly, all walkers side by side, and opens the states that it has kept."""

    def last_states(self, round_: int) -> U32:
        p = self._parameters
        walkers = np.arange(p.walkers, dtype=np.uint64)
        lines = np.full(p.walkers, p.lines, dtype=np.uint64)
        nonces = np.broadcast_to(self._nonces[round_], (p.walkers, 8))
        rounds = np.full(p.walkers, round_, dtype=np.uint32)
        states = self.first_states(round_)
        kept = np.empty((p.walkers, p.segments, 32), dtype=np.uint32)
        for segment in range(p.segments):
            states ^= start_digests(nonces, rounds, walkers, np.full(p.walkers, segment, dtype=np.uint64))
            for _ in range(p.segment_steps):
                self.step(states, self.read(addresses(states, lines)))
            states = self.ended(round_, segment, states)
            kept[:, segment] = states
        return kept

    def first_states(self, round_: int) -> U32:  # noqa: ARG002  a cheat's may hang on it
        """What the walkers begin with, uint32 [W, 32]."""
        return np.zeros((self._parameters.walkers, 32), dtype=np.uint32)

    def read(self, lines: U64) -> U32:
        """The lines that the walkers address, uint32 [W, 32]."""
        return self._memory[lines]

    def step(self, states: U32, lines: U32) -> None:
        """One step of all walkers, in place."""
        step_lanes(states, np.ascontiguousarray(lines))

    def ended(self, round_: int, segment: int, states: U32) -> U32:  # noqa: ARG002  the same
        """What is committed to and walked on from, once a segment is walked."""
        return states
