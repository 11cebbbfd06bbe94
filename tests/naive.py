"""The slow obvious truth of the GPU proof: every formula of docs/gpu-proof.md with hashlib, ints and loops.

It shares nothing with `kernels`: messages are put together with `struct`, words are Python integers.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from math import gcd

MASK = 0xFFFFFFFF
BUTTERFLY = (
    (1, 5, 13, 0x9E3779B1),
    (2, 7, 17, 0x85EBCA77),
    (4, 9, 19, 0xC2B2AE3D),
    (8, 11, 23, 0x27D4EB2F),
    (16, 15, 27, 0x165667B1),
)


def H(use, message):  # noqa: N802  the document's name
    """BLAKE2s-256 with the use as person."""
    return hashlib.blake2s(message, person=use.encode()).digest()


def seed(*values):
    """Fields as u32 length and bytes."""
    message = b""
    for value in values:
        octets = value
        if isinstance(value, int):
            octets = value.to_bytes(8, "little")
        elif isinstance(value, str):
            octets = value.encode("utf-8")
        message += len(octets).to_bytes(4, "little") + octets
    return H("seed", message)


def line(card_seed, i, w):
    """Line i of D, 128 bytes."""
    out = b""
    for b in range(4):
        state = card_seed
        for _ in range(w):
            state = H("fill", state + struct.pack("<QI20x", i, b))
        out += state
    return out


def memory(card_seed, n, w):
    """D as a list of lines."""
    return [line(card_seed, i, w) for i in range(n)]


def address(state, n):
    """The line that 32 words address."""
    return ((state[0] + (state[1] << 32)) * n) >> 64


def rotl(x, by):
    """A 32-bit word rotated to the left."""
    return ((x << by) | (x >> (32 - by))) & MASK


def mix(state):
    """Five butterfly rounds of 32 words."""
    state = list(state)
    for d, p, q, m in BUTTERFLY:
        for j in range(32):
            if not j & d:
                x, y = state[j], state[j + d]
                x = ((x + rotl(y, p)) * m) & MASK
                state[j], state[j + d] = x, rotl(y, q) ^ x
    return state


def step(state, read):
    """One step with the line that was read, 128 bytes."""
    return mix([a ^ b for a, b in zip(state, struct.unpack("<32I", read), strict=True)])


def start(nonce, r, walker, segment):
    """The 32 words that a state is xored with at a segment's start."""
    parts = [H("start", nonce + struct.pack("<IIQQ8x", r, part, walker, segment)) for part in range(4)]
    return struct.unpack("<32I", b"".join(parts))


def leaf(state, r, walker, segment):
    """The leaf of a segment's last state."""
    return H("state", struct.pack("<32I", *state) + struct.pack("<I4xQQ40x", r, walker, segment))


def walk(lines, nonce, r, walkers, segments, steps):  # noqa: PLR0917  the document's order
    """(leaves, last states) of a round, both at k S + g."""
    leaves, states = [], []
    for k in range(walkers):
        state = [0] * 32
        for g in range(segments):
            state = [a ^ b for a, b in zip(state, start(nonce, r, k, g), strict=True)]
            for _ in range(steps):
                state = step(state, lines[address(state, len(lines))])
            leaves.append(leaf(state, r, k, g))
            states.append(struct.pack("<32I", *state))
    return leaves, states


def tree(use, leaves):
    """All levels of the padded tree, leaves first."""
    width = 1
    while width < len(leaves):
        width *= 2
    levels = [list(leaves) + [bytes(32)] * (width - len(leaves))]
    while len(levels[-1]) > 1:
        level = levels[-1]
        levels.append([H(use, level[i] + level[i + 1]) for i in range(0, len(level), 2)])
    return levels


def path(levels, index):
    """The siblings from the leaf upward, joined."""
    out = b""
    for level in levels[:-1]:
        out += level[index ^ 1]
        index //= 2
    return out


def int8(octets):
    """Bytes as signed integers."""
    return [b - 256 if b > 127 else b for b in octets]


def stride(nonce, pages):
    """(a, b) of the order of rows."""
    h = H("stride", nonce + bytes(32))
    a = int.from_bytes(h[:8], "little") % pages
    b = int.from_bytes(h[8:16], "little") % pages
    while gcd(a, pages) != 1:
        a += 1
        if a == pages:
            a = 1
    return a, b


def column(nonce, c):
    """Column c of B."""
    return int8(b"".join(H("column", nonce + struct.pack("<II24x", c, i)) for i in range(128)))


def tiles(lines, nonce, rows, columns):
    """The tiles of C mod 2^16, 512 bytes each, row by row of tiles."""
    joined = b"".join(lines)
    pages = [joined[i : i + 4096] for i in range(0, len(joined), 4096)]
    a, b = stride(nonce, len(pages))
    left = [int8(pages[(a * r + b) % len(pages)]) for r in range(rows)]
    right = [column(nonce, c) for c in range(columns)]
    c = [[sum(map(int.__mul__, x, y)) % 65536 for y in right] for x in left]
    return [
        b"".join(struct.pack("<16H", *c[r][j : j + 16]) for r in range(i, i + 16))
        for i in range(0, rows, 16)
        for j in range(0, columns, 16)
    ]


def place(secret, opened, j):
    """The 32 bytes of place j."""
    return H("place", secret + opened + j.to_bytes(8, "little") + bytes(56))


def below(count, drawn):
    """An index below count."""
    return (int.from_bytes(drawn[:8], "little") * count) >> 64


def text(octets):
    """Base64, or null."""
    return None if octets is None else base64.b64encode(octets).decode()


@dataclass
class Prover:
    """A whole prover for tiny sizes: give it parsed requests, get the answers as JSON objects."""

    go: dict = field(default_factory=dict)

    def answer(self, frame):
        """The answer to one frame of V."""
        request = json.loads(frame)
        return getattr(self, "_" + request["type"])(request)

    def _go(self, go):
        self.go = go
        self.seeds = [base64.b64decode(card["seed"]) for card in go["cards"]]
        self.lines = [memory(s, go["lines"], go["chain_w"]) for s in self.seeds]
        self.rounds = [[] for _ in self.seeds]
        return {"type": "ready"}

    def _walk(self, request):
        go, r, roots = self.go, request["round"], []
        for at, card_seed in enumerate(self.seeds):
            nonce = H("nonce", base64.b64decode(request["nonce"]) + card_seed)
            sizes = go["walkers"], go["segments"], go["segment_steps"]
            leaves, states = walk(self.lines[at], nonce, r, *sizes)
            self.rounds[at].append((tree("walknode", leaves), states))
            roots.append(text(self.rounds[at][-1][0][-1][0]))
        return {"type": "walked", "round": r, "roots": roots}

    def _multiply(self, request):
        self.products = []
        for at, card_seed in enumerate(self.seeds):
            nonce = H("nonce", base64.b64decode(request["nonce"]) + card_seed)
            made = tiles(self.lines[at], nonce, self.go["rows"], self.go["columns"])
            self.products.append((tree("tilenode", [H("tile", t) for t in made]), made))
        return {"type": "multiplied", "roots": [text(levels[-1][0]) for levels, _ in self.products]}

    def _open(self, request):
        secret = base64.b64decode(request["secret"])
        return {"type": "opened", "cards": [self._opened(at, secret) for at in range(len(self.seeds))]}

    def _opened(self, at, secret):
        go, (levels, made) = self.go, self.products[at]
        message = self.seeds[at] + b"".join(walked[-1][0] for walked, _ in self.rounds[at]) + levels[-1][0]
        message += bytes(-len(message) % 64)
        drawn = [place(secret, H("open", message), j) for j in range(go["rounds"] + go["tiles"])]
        segments = []
        for (walked, states), p in zip(self.rounds[at], drawn, strict=False):
            index = below(go["walkers"] * go["segments"], p)
            has_before = index % go["segments"] > 0
            segments.append(
                {
                    "before": text(states[index - 1]) if has_before else None,
                    "before_path": text(path(walked, index - 1)) if has_before else None,
                    "after": text(states[index]),
                    "after_path": text(path(walked, index)),
                }
            )
        indices = [below(len(made), p) for p in drawn[go["rounds"] :]]
        opened = [{"tile": text(made[i]), "path": text(path(levels, i))} for i in indices]
        return {"segments": segments, "tiles": opened}
