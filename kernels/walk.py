"""Walk: chained reads of whole lines at random places of D.

A state is 32 words. At the start of a segment it is xored with four `start` digests; a step is

    a = ((word0 + 2^32 word1) * n) >> 64          the line that the state addresses
    state ^= D[a]
    five butterfly rounds at distance d = 1, 2, 4, 8, 16, for j with bit d clear:
        x = (x + rotl(y, p)) * m,  y = rotl(y, q) ^ x        x = state[j], y = state[j + d]

and the leaf of a segment is H(state, state || round u32 || zeros(4) || walker u64 || segment u64 || zeros(40)).

A walker is sequential, many are not: walkers are computed in lanes, word i of walker l at [i, l], so that a
butterfly is a few vector operations.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kernels.blake2s import LANES, PITCH, START, STATE, U32, U64, digest_words_lanes

_u32, _u64 = np.uint32, np.uint64


# --- one step ----------------------------------------------------------------------------------------


@njit("uint64(uint32[::1], uint64)", cache=True, nogil=True)
def address(state: U32, n: np.uint64) -> np.uint64:
    """The line that a state uint32 [2 or more] addresses, ((word0 + 2^32 word1) * n) >> 64, for n up to 2^32."""
    low = (_u64(state[0]) * n) >> _u64(32)
    return (_u64(state[1]) * n + low) >> _u64(32)


@njit(forceinline=True)
def _butterfly_lanes(s, d, p, q, m, count):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0917  literals of the caller
    """One butterfly round at distance d of all lanes; with literal numbers LLVM unrolls it to vectors."""
    for half in range(16):
        j = (half // d) * 2 * d + half % d
        for lane in range(count):
            x, y = s[j, lane], s[j + d, lane]
            x = _u32(_u32(x + _u32(_u32(y << _u32(p)) | _u32(y >> _u32(32 - p)))) * _u32(m))
            s[j, lane] = x
            s[j + d, lane] = _u32(_u32(_u32(y << _u32(q)) | _u32(y >> _u32(32 - q))) ^ x)


@njit("void(uint32[:,::1], int64)", cache=True, nogil=True)
def mix_lanes(s: U32, count: int) -> None:
    """Five butterfly rounds of `count` states in lanes, s uint32 [32, PITCH], in place."""
    _butterfly_lanes(s, 1, 5, 13, 0x9E3779B1, count)
    _butterfly_lanes(s, 2, 7, 17, 0x85EBCA77, count)
    _butterfly_lanes(s, 4, 9, 19, 0xC2B2AE3D, count)
    _butterfly_lanes(s, 8, 11, 23, 0x27D4EB2F, count)
    _butterfly_lanes(s, 16, 15, 27, 0x165667B1, count)


@njit("uint64[::1](uint32[:,::1], uint64[::1])", cache=True, nogil=True)
def addresses(states: U32, n: U64) -> U64:
    """The lines that k states address: uint32 [k, 32], sizes of their D uint64 [k] -> uint64 [k]."""
    out = np.empty(states.shape[0], dtype=np.uint64)
    for row in range(out.size):
        out[row] = address(states[row], n[row])
    return out


@njit("void(uint32[:,::1], uint32[:,::1])", cache=True, nogil=True)
def step_lanes(states: U32, lines: U32) -> None:
    """One step of k states with the lines that they address, both uint32 [k, 32]; states in place."""
    s = np.empty((32, PITCH), dtype=np.uint32)
    for first in range(0, states.shape[0], LANES):
        count = min(LANES, states.shape[0] - first)
        for lane in range(count):
            for i in range(32):
                s[i, lane] = states[first + lane, i] ^ lines[first + lane, i]
        mix_lanes(s, count)
        for lane in range(count):
            for i in range(32):
                states[first + lane, i] = s[i, lane]


# --- whole rounds ------------------------------------------------------------------------------------


@njit("void(uint32[:,::1], uint32[:,::1], int64)", cache=True, nogil=True)
def _segment(memory: U32, states: U32, steps: int) -> None:
    """Walk every state `steps` steps through D; states uint32 [k, 32] in place."""
    n = _u64(memory.shape[0])
    head = np.empty(2, dtype=np.uint32)
    s = np.empty((32, PITCH), dtype=np.uint32)
    for first in range(0, states.shape[0], LANES):
        count = min(LANES, states.shape[0] - first)
        for lane in range(count):
            for i in range(32):
                s[i, lane] = states[first + lane, i]
        for _ in range(steps):
            for lane in range(count):
                head[0], head[1] = s[0, lane], s[1, lane]
                line = address(head, n)
                for i in range(32):
                    s[i, lane] ^= memory[line, i]
            mix_lanes(s, count)
        for lane in range(count):
            for i in range(32):
                states[first + lane, i] = s[i, lane]


def walk(  # noqa: PLR0917  the protocol's own order
    memory: U32, card_nonce: U32, round_: int, walkers: int, segments: int, steps: int
) -> U32:
    """Walk one round: the leaves uint32 [W S, 8], segment g of walker k at k S + g.

    memory is D, uint32 [n, 32]; card_nonce uint32 [8].
    """
    numbers = np.arange(walkers, dtype=np.uint64)
    nonces = np.broadcast_to(card_nonce, (walkers, 8))
    rounds = np.full(walkers, round_, dtype=np.uint32)
    states = np.zeros((walkers, 32), dtype=np.uint32)
    leaves = np.empty((walkers, segments, 8), dtype=np.uint32)
    for g in range(segments):
        segment = np.full(walkers, g, dtype=np.uint64)
        states ^= start_digests(nonces, rounds, numbers, segment)
        _segment(memory, states, steps)
        leaves[:, g] = leaf_digests(states, rounds, numbers, segment)
    return leaves.reshape(walkers * segments, 8)


def rewalk(  # noqa: PLR0917  the protocol's own order
    memory: U32, card_nonce: U32, round_: int, walker: int, segment: int, steps: int
) -> tuple[U32 | None, U32]:
    """Walk one walker again: its last states, uint32 [32], of the segment before (None at 0) and of this one."""
    number = np.array([walker], dtype=np.uint64)
    rounds = np.array([round_], dtype=np.uint32)
    states = np.zeros((1, 32), dtype=np.uint32)
    before = None
    for g in range(segment + 1):
        before = states[0].copy() if g else None
        states ^= start_digests(card_nonce[None], rounds, number, np.array([g], dtype=np.uint64))
        _segment(memory, states, steps)
    return before, states[0]


# --- digests -----------------------------------------------------------------------------------------


def start_digests(nonces: U32, rounds: U32, walkers: U64, segments: U64) -> U32:
    """What k states are xored with at a segment's start: uint32 [k, 32].

    nonces are the cards' own, uint32 [k, 8]; rounds uint32 [k]; walkers and segments uint64 [k].
    """
    k = walkers.size
    messages = np.zeros((k, 4, 16), dtype=np.uint32)
    messages[:, :, 0:8] = nonces[:, None]
    messages[:, :, 8] = rounds[:, None]
    messages[:, :, 9] = np.arange(4, dtype=np.uint32)
    messages[:, :, 10:12] = _words(walkers)[:, None]
    messages[:, :, 12:14] = _words(segments)[:, None]
    digests: U32 = digest_words_lanes(START, messages.reshape(4 * k, 16))
    return digests.reshape(k, 32)


def leaf_digests(states: U32, rounds: U32, walkers: U64, segments: U64) -> U32:
    """The leaves of k segments from their last states uint32 [k, 32]: uint32 [k, 8]."""
    messages = np.zeros((walkers.size, 48), dtype=np.uint32)
    messages[:, 0:32] = states
    messages[:, 32] = rounds
    messages[:, 34:36] = _words(walkers)
    messages[:, 36:38] = _words(segments)
    leaves: U32 = digest_words_lanes(STATE, messages)
    return leaves


def _words(numbers: U64) -> U32:
    """The two words of each u64, low first: uint32 [k, 2]."""
    return np.ascontiguousarray(numbers, dtype="<u8").view(np.uint32).reshape(-1, 2)
