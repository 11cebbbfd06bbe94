"""Walk on a card: a thread a walker, a warp a block, and the warp fetches the lines of its 32 walkers together.

Formula, start digests and leaves are those of `kernels/walk.py`. A round is walked in groups of segments: one
launch takes every walker through a group and writes the leaves of the group, then every 2^keep leaves in a row become
one node. So a round leaves `walkers x segments >> keep` nodes; what lies below them is computed again for the one
leaf that is opened (`rewalk`, `lower_path`).

Why it coalesces: the lines of 32 walkers lie anywhere in D, and a thread that read its own would ask for four
bytes of 32 different lines at a time. Here 16 threads read one line together, eight bytes each, so a load of the
warp is two whole lines of 128 bytes, every byte of them used. All 16 loads are under way before the first one is
waited for: 32 lines a warp, 4 KiB. Through shared memory each thread then takes the line of its own walker; a row
of 17 double words there keeps both ways free of conflicts between banks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import cuda, uint32, uint64

from kernels import merkle as cpu_merkle
from kernels.blake2s import U32, WALKNODE
from kernels.cuda import launch
from kernels.cuda.blake2s import LAST, NOT_LAST, START_INITIAL, STATE_INITIAL, ZERO, compress
from kernels.cuda.kernel import (
    Array,
    DeviceArray,
    Stream,
    Word,
    Words,
    carve,
    device,
    kernel,
    put_words8,
    to_host,
    u32,
    u64,
    words8,
)
from kernels.cuda.launch import WARP
from kernels.cuda.merkle import fold
from kernels.walk import leaf_digests

_PITCH = 17
"""Double words from row to row in shared memory: a line's 16, and one so that rows begin in different banks."""
_KEY = WARP * _PITCH
"""Where the card's nonce stands, behind the rows."""
_SHARED = _KEY + 4
_NO_WORDS = (ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
_STATE_WORDS = 32


# --- one step ------------------------------------------------------------------------------------------


@device
def _pair(x: Word, y: Word, p: int, q: int, m: int) -> Words:
    """One pair of a butterfly round."""
    x = u32(u32(x + u32(u32(y << u32(p)) | u32(y >> u32(32 - p)))) * u32(m))
    return x, u32(u32(u32(y << u32(q)) | u32(y >> u32(32 - q))) ^ x)


@device
def _mix_near(s: Words) -> Words:
    """The rounds at distance 1, 2 and 4 of eight words in a row: no partner lies outside."""
    s0, s1, s2, s3, s4, s5, s6, s7 = s
    s0, s1 = _pair(s0, s1, 5, 13, 0x9E3779B1)
    s2, s3 = _pair(s2, s3, 5, 13, 0x9E3779B1)
    s4, s5 = _pair(s4, s5, 5, 13, 0x9E3779B1)
    s6, s7 = _pair(s6, s7, 5, 13, 0x9E3779B1)
    s0, s2 = _pair(s0, s2, 7, 17, 0x85EBCA77)
    s1, s3 = _pair(s1, s3, 7, 17, 0x85EBCA77)
    s4, s6 = _pair(s4, s6, 7, 17, 0x85EBCA77)
    s5, s7 = _pair(s5, s7, 7, 17, 0x85EBCA77)
    s0, s4 = _pair(s0, s4, 9, 19, 0xC2B2AE3D)
    s1, s5 = _pair(s1, s5, 9, 19, 0xC2B2AE3D)
    s2, s6 = _pair(s2, s6, 9, 19, 0xC2B2AE3D)
    s3, s7 = _pair(s3, s7, 9, 19, 0xC2B2AE3D)
    return s0, s1, s2, s3, s4, s5, s6, s7


@device
def _mix_far(a: Word, b: Word, c: Word, d: Word) -> Words:
    """The rounds at distance 8 and 16 of the words j, j + 8, j + 16 and j + 24."""
    a, b = _pair(a, b, 11, 23, 0x27D4EB2F)
    c, d = _pair(c, d, 11, 23, 0x27D4EB2F)
    a, c = _pair(a, c, 15, 27, 0x165667B1)
    b, d = _pair(b, d, 15, 27, 0x165667B1)
    return a, b, c, d


@device
def _mix(s: Words) -> Words:
    """Five butterfly rounds over 32 words."""
    a, b, c, d = _mix_near(s[0:8]), _mix_near(s[8:16]), _mix_near(s[16:24]), _mix_near(s[24:32])
    a0, b0, c0, d0 = _mix_far(a[0], b[0], c[0], d[0])
    a1, b1, c1, d1 = _mix_far(a[1], b[1], c[1], d[1])
    a2, b2, c2, d2 = _mix_far(a[2], b[2], c[2], d[2])
    a3, b3, c3, d3 = _mix_far(a[3], b[3], c[3], d[3])
    a4, b4, c4, d4 = _mix_far(a[4], b[4], c[4], d[4])
    a5, b5, c5, d5 = _mix_far(a[5], b[5], c[5], d[5])
    a6, b6, c6, d6 = _mix_far(a[6], b[6], c[6], d[6])
    a7, b7, c7, d7 = _mix_far(a[7], b[7], c[7], d[7])
    return (
        (a0, a1, a2, a3, a4, a5, a6, a7)
        + (b0, b1, b2, b3, b4, b5, b6, b7)
        + (c0, c1, c2, c3, c4, c5, c6, c7)
        + (d0, d1, d2, d3, d4, d5, d6, d7)
    )


@device
def _two(number: int) -> Words:
    """The two words of an integer of 64 bits, low first."""
    return u32(number), u32(number >> 32)


@device
def _double(low: Word, high: Word) -> Word:
    """Two words as a double word."""
    return u64(u64(low) | u64(u64(high) << u64(32)))


@device
def _xor8(s: Words, rows: Array, at: int) -> Words:
    """Eight words xored with four double words of shared memory."""
    x0, x1, x2, x3 = rows[at], rows[at + 1], rows[at + 2], rows[at + 3]
    return (
        u32(s[0] ^ u32(x0)),
        u32(s[1] ^ u32(x0 >> u64(32))),
        u32(s[2] ^ u32(x1)),
        u32(s[3] ^ u32(x1 >> u64(32))),
        u32(s[4] ^ u32(x2)),
        u32(s[5] ^ u32(x2 >> u64(32))),
        u32(s[6] ^ u32(x3)),
        u32(s[7] ^ u32(x3 >> u64(32))),
    )


@device
def _xor_row(s: Words, rows: Array, at: int) -> Words:
    """The state xored with a row of shared memory."""
    return (
        _xor8(s[0:8], rows, at)
        + _xor8(s[8:16], rows, at + 4)
        + _xor8(s[16:24], rows, at + 8)
        + _xor8(s[24:32], rows, at + 12)
    )


@device
def _load8(memory: Array, lines: Array, first: int, word: int) -> Words:
    """One double word of each of eight lines, every second one from `first`."""
    return (
        memory[u64(lines[first]), word],
        memory[u64(lines[first + 2]), word],
        memory[u64(lines[first + 4]), word],
        memory[u64(lines[first + 6]), word],
        memory[u64(lines[first + 8]), word],
        memory[u64(lines[first + 10]), word],
        memory[u64(lines[first + 12]), word],
        memory[u64(lines[first + 14]), word],
    )


@device
def _store8(rows: Array, at: int, x: Words) -> None:
    """Eight double words into eight rows of shared memory, every second one."""
    rows[at] = x[0]
    rows[at + 2 * _PITCH] = x[1]
    rows[at + 4 * _PITCH] = x[2]
    rows[at + 6 * _PITCH] = x[3]
    rows[at + 8 * _PITCH] = x[4]
    rows[at + 10 * _PITCH] = x[5]
    rows[at + 12 * _PITCH] = x[6]
    rows[at + 14 * _PITCH] = x[7]


@device
def _address(s: Words, n: Word) -> Word:
    """The line that the state addresses."""
    low = (u64(s[0]) * n) >> u64(32)
    return (u64(s[1]) * n + low) >> u64(32)


@device
def _fetch(memory: Array, lines: Array, rows: Array, lane: int) -> None:
    """The 32 lines of the warp's walkers into 32 rows of shared memory, all loads before the first store."""
    half, word = lane >> 4, lane & 15
    near = _load8(memory, lines, half, word)
    far = _load8(memory, lines, 16 + half, word)
    _store8(rows, half * _PITCH + word, near)
    _store8(rows, (16 + half) * _PITCH + word, far)


# --- a segment's ends ----------------------------------------------------------------------------------


@device
def _start(round_: Word, walker: int, segment: int, rows: Array, at: int) -> None:
    """The four start digests into a row of shared memory, from which they are xored in as a line is.

    The nonce stands in the same shared memory: read anew for each digest, since the rows may have changed it for all
    that the compiler knows. Else it would keep what follows from the nonce alone in registers through the whole walk.
    """
    for part in range(4):
        nonce = _xor8(_NO_WORDS, rows, _KEY)
        place = (round_, u32(part)) + _two(walker) + _two(segment) + (ZERO, ZERO)
        h = compress(START_INITIAL, nonce + place, u32(64), LAST)
        first = at + 4 * part
        rows[first] = _double(h[0], h[1])
        rows[first + 1] = _double(h[2], h[3])
        rows[first + 2] = _double(h[4], h[5])
        rows[first + 3] = _double(h[6], h[7])


@device
def _leaf(s: Words, round_: Word, walker: int, segment: int) -> Words:
    """The leaf of a segment from its last state."""
    h = compress(STATE_INITIAL, s[0:16], u32(64), NOT_LAST)
    h = compress(h, s[16:32], u32(128), NOT_LAST)
    place = (round_, ZERO) + _two(walker) + _two(segment) + (ZERO, ZERO)
    return compress(h, place + _NO_WORDS, u32(192), LAST)


# --- kernels -------------------------------------------------------------------------------------------


@kernel(
    "void(uint64[:,::1], uint64[::1], uint32, int64, int64, int64, int64,"
    " uint32[:,::1], uint32[:,::1], uint32[:,::1])",
    threads=WARP,
)
def walk_segments(
    memory: Array,
    nonce: Array,
    round_: Word,
    first_walker: int,
    first_segment: int,
    segments: int,
    steps: int,
    before: Array,
    after: Array,
    leaves: Array,
) -> None:
    """Take walkers first_walker .. through segments first_segment .. first_segment + segments, `steps` steps each.

    memory uint64 [n, 16]; nonce uint64 [4]; states uint32 [k, 32] before and after, which may be the same; leaves
    uint32 [k x segments, 8]. Before segment 0 every state is zero, whatever stands there. A block is one warp, so that
    the block's barrier waits for no other. Threads beyond the last walker fetch lines with the others and write nothing.
    """
    lines = cuda.shared.array(WARP, uint32)
    rows = cuda.shared.array(_SHARED, uint64)
    # Masked although it is below 32: so the compiler knows that no index is negative.
    lane = cuda.threadIdx.x & 31
    at = lane * _PITCH
    n = u64(memory.shape[0])
    walker = cuda.grid(1)
    is_walker = walker < before.shape[0]
    if not is_walker:
        walker = 0
    number = first_walker + walker
    if lane < 4:
        rows[_KEY + lane] = nonce[lane]
    cuda.syncthreads()
    s = _NO_WORDS + _NO_WORDS + _NO_WORDS + _NO_WORDS
    if first_segment > 0:
        near = words8(before, walker, 0) + words8(before, walker, 8)
        s = near + words8(before, walker, 16) + words8(before, walker, 24)
    for g in range(segments):
        if is_walker:
            _start(round_, number, first_segment + g, rows, at)
        s = _xor_row(s, rows, at)
        for _ in range(steps):
            lines[lane] = u32(_address(s, n))
            cuda.syncthreads()
            _fetch(memory, lines, rows, lane)
            cuda.syncthreads()
            s = _mix(_xor_row(s, rows, at))
        if is_walker:
            put_words8(leaves, walker * segments + g, 0, _leaf(s, round_, number, first_segment + g))
    if is_walker:
        put_words8(after, walker, 0, s[0:8])
        put_words8(after, walker, 8, s[8:16])
        put_words8(after, walker, 16, s[16:24])
        put_words8(after, walker, 24, s[24:32])


@kernel("void(uint32[:,::1], int64, int64, int64, uint32[:,::1], int64, int64)", threads=launch.THREADS)
def gather_nodes(
    folded: Array, count: int, step: int, a_walker: int, nodes: Array, pitch: int, first: int
) -> None:
    """Every `step`-th of the folded rows, `count` in all and a_walker of each walker, to nodes [walker x pitch + first ..]."""
    i = cuda.grid(1)
    if i < count:
        put_words8(nodes, (i // a_walker) * pitch + first + i % a_walker, 0, words8(folded, i * step, 0))


# --- whole rounds --------------------------------------------------------------------------------------


def walk(
    memory: DeviceArray,
    card_nonce: U32,
    round_: int,
    walkers: int,
    segments: int,
    steps: int,
    keep: int,
    out: DeviceArray,
    scratch: DeviceArray,
    stream: Stream,
) -> None:
    """Walk one round; the nodes at level `keep` of its tree, out uint32 [W S >> keep, 8].

    memory is D, uint32 [n, 32]; card_nonce uint32 [8] of the host; 2^keep divides `segments`; scratch is uint32
    [words], `launch.walk_scratch_bytes(walkers, keep)` at least. Raises ValueError where one does not fit.
    """
    if segments % (1 << keep):
        raise ValueError(
            f"2^{keep} does not divide {segments} segments: a node would hold leaves of two walkers"
        )
    at_once = launch.segments_at_once(keep)
    nonce = _upload(card_nonce, scratch, stream)
    states = carve(scratch, card_nonce.size, walkers, _STATE_WORDS)
    for first in range(0, segments, at_once):
        count = min(at_once, segments - first)
        leaves = carve(scratch, card_nonce.size + walkers * _STATE_WORDS, walkers * count, card_nonce.size)
        arguments = (round_, 0, first, count, steps, states, states, leaves)
        walk_segments.launch(
            launch.blocks_for(walkers, WARP), stream, memory.view(np.uint64), nonce, *arguments
        )
        fold(WALKNODE, leaves, keep, stream)
        nodes, a_walker = walkers * count >> keep, count >> keep
        rows = (leaves, nodes, 1 << keep, a_walker, out, segments >> keep, first >> keep)
        gather_nodes.launch(launch.blocks_for(nodes), stream, *rows)


@dataclass(frozen=True)
class Stretch:
    """Some segments of one walker, walked again: all whose leaves lie below the nodes that are of interest."""

    round_: int
    walker: int
    keep: int
    first: int
    """The first segment, a multiple of 2^keep."""
    states: U32
    """uint32 [k + 1, 32]: before segment `first`, then after each of k segments."""

    def after(self, segment: int) -> U32:
        """The last state of a segment, uint32 [32]."""
        state: U32 = self.states[segment - self.first + 1]
        return state

    def lower_path(self, segment: int) -> bytes:
        """The lower `keep` siblings of this segment's leaf, 32 bytes each, by the CPU's digests."""
        group = segment >> self.keep << self.keep
        numbers = np.arange(group, group + (1 << self.keep), dtype=np.uint64)
        states = self.states[group - self.first + 1 :][: numbers.size]
        walkers = np.full(numbers.size, self.walker, dtype=np.uint64)
        rounds = np.full(numbers.size, self.round_, dtype=np.uint32)
        leaves = leaf_digests(states, rounds, walkers, numbers)
        return cpu_merkle.path(WALKNODE, cpu_merkle.levels(WALKNODE, leaves), segment - group)


def rewalk(
    memory: DeviceArray,
    card_nonce: U32,
    round_: int,
    walker: int,
    segment: int,
    steps: int,
    keep: int,
    scratch: DeviceArray,
    stream: Stream,
) -> Stretch:
    """Walk one walker again, to open `segment`; waits for the stream.

    The stretch holds the whole groups of 2^keep of this segment and of the one before it, which is another group's
    where this one begins its own. scratch is uint32 [words], `launch.rewalk_scratch_bytes(keep)` at least.
    """
    first = max(segment - 1, 0) >> keep << keep
    count = ((segment >> keep) + 1 << keep) - first
    nonce = _upload(card_nonce, scratch, stream)
    states = carve(scratch, card_nonce.size, count + 1, _STATE_WORDS)
    at_once = launch.segments_at_once(keep)
    leaves = carve(scratch, card_nonce.size + (count + 1) * _STATE_WORDS, at_once, card_nonce.size)
    before = [(start, min(at_once, first - start), 0, 0) for start in range(0, first, at_once)]
    wanted = [(first + i, 1, i, i + 1) for i in range(count)]
    for start, length, row, to in before + wanted:
        arguments = (walker, start, length, steps, states[row : row + 1], states[to : to + 1], leaves)
        walk_segments.launch(1, stream, memory.view(np.uint64), nonce, round_, *arguments)
    walked = to_host(states, stream)
    if first == 0:
        walked[0] = 0
    return Stretch(round_, walker, keep, first, walked)


def _upload(card_nonce: U32, scratch: DeviceArray, stream: Stream) -> DeviceArray:
    """The nonce at scratch's beginning, as uint64 [4]."""
    nonce = scratch[0 : card_nonce.size]
    nonce.copy_to_device(card_nonce, stream=stream)
    return nonce.view(np.uint64)
