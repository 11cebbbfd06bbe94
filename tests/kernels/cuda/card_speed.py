"""How fast the kernels are on a real card: medians by the card's own clock, beside a plain copy of its memory."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from kernels.blake2s import WALKNODE
from kernels.cuda import launch
from kernels.cuda.fill import fill
from kernels.cuda.merkle import root
from kernels.cuda.multiply import multiply
from kernels.cuda.walk import walk
from kernels.forms import words
from kernels.protocol import LINE_BYTES, PAGE_BYTES, Parameters

GIB = 1 << 30
SIZES_GIB = (1, 4, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128)
WALKERS = (8_192, 16_384, 32_768, 65_536, 131_072, 262_144)
STEPS, SEGMENTS, KEEP = 128, 64, 6
NONCE = bytes(range(32))


def measured(p: Parameters) -> dict[str, object]:
    """All of it, for a card that a proof of these sizes fits on; progress goes to stderr."""
    bench = Bench(p)
    works: dict[str, Callable[[], object]] = {
        "fill": bench.fill,
        "copy": bench.copy,
        "walk GB/s by GiB of D": bench.walk_by_size,
        "walk GB/s by walkers": bench.walk_by_walkers,
        "a round by the host's clock": bench.whole_round,
        "product": bench.product,
    }
    told: dict[str, object] = {"parameters": str(p)}
    for name, work in works.items():
        told[name] = work()
        sys.stderr.write(f"{name}: {told[name]}\n")
    return told


class Bench:
    """D of the card's full size, filled with one compression a block, and what works on it."""

    def __init__(self, p: Parameters) -> None:
        self._p, self._stream = p, cuda.stream()
        self._memory = _room(p.lines, LINE_BYTES // 4)
        fill(words(NONCE), 1, self._memory, self._stream)

    def fill(self) -> str:
        """The fill as the proof has it, over 2 GiB of D."""
        lines = min(self._p.lines, 1 << 24)
        some = self._memory[:lines]
        took_s = self._timed(lambda: fill(words(NONCE), self._p.chain_w, some, self._stream))
        rate = 4 * self._p.chain_w * lines / took_s
        whole_s = 4 * self._p.chain_w * self._p.lines / rate
        return f"{rate / 1e9:.2f} G compressions/s: D in {whole_s:.2f} s"

    def copy(self) -> str:
        """Half of D to the other half: the bandwidth that a plain copy has."""
        half = self._p.lines // 2
        low, high = self._memory[:half], self._memory[half : 2 * half]
        took_s = self._timed(lambda: high.copy_to_device(low, stream=self._stream))
        return f"{2 * half * LINE_BYTES / took_s / 1e9:.0f} GB/s, read and written"

    def walk_by_size(self) -> dict[str, float]:
        """Random reads over the first GiB of D, over more and over all of it."""
        sizes = [gib * GIB // LINE_BYTES for gib in SIZES_GIB if gib * GIB < self._p.lines * LINE_BYTES]
        return {
            f"{lines * LINE_BYTES / GIB:.1f}": self._walked_gb_s(lines, self._p.walkers)
            for lines in [*sizes, self._p.lines]
        }

    def walk_by_walkers(self) -> dict[int, float]:
        """With fewer a card waits for single reads, with more for its memory."""
        return {walkers: self._walked_gb_s(self._p.lines, walkers) for walkers in WALKERS}

    def whole_round(self) -> dict[str, float]:
        """A round of the proof: the walk, its tree, and the nodes' way to the host."""
        p, stream = self._p, self._stream
        nodes = _room(p.leaves >> KEEP, 8)
        scratch = _room(launch.walk_scratch_bytes(p.walkers, KEEP) // 4)
        tree = _room(launch.tree_scratch_bytes(nodes.shape[0]) // 4)
        sizes = (p.walkers, p.segments, p.segment_steps, KEEP)
        works: dict[str, Callable[[], object]] = {
            "walk": lambda: walk(self._memory, words(NONCE), 0, *sizes, nodes, scratch, stream),
            "root": lambda: root(WALKNODE, nodes, KEEP, tree, stream),
            "nodes to the host": lambda: nodes.copy_to_host(stream=stream),
        }
        told = {}
        for name, work in works.items():
            begin = time.perf_counter()
            work()
            stream.synchronize()
            told[f"{name} s"] = round(time.perf_counter() - begin, 4)
        return told

    def product(self) -> str:
        """The product as the proof has it."""
        p = self._p
        leaves = _room(p.tile_count, 8)
        scratch = _room(launch.multiply_scratch_bytes(p.rows, p.columns) // 4)
        took_s = self._timed(
            lambda: multiply(self._memory, NONCE, p.rows, p.columns, leaves, scratch, self._stream)
        )
        return f"{2 * PAGE_BYTES * p.rows * p.columns / took_s / 1e12:.2f} T operations/s, {took_s:.3f} s"

    def _walked_gb_s(self, lines: int, walkers: int) -> float:
        out = _room(walkers * SEGMENTS >> KEEP, 8)
        scratch = _room(launch.walk_scratch_bytes(walkers, KEEP) // 4)
        sizes = (walkers, SEGMENTS, STEPS, KEEP)
        memory = self._memory[:lines]
        took_s = self._timed(lambda: walk(memory, words(NONCE), 0, *sizes, out, scratch, self._stream))
        return round(walkers * SEGMENTS * STEPS * LINE_BYTES / took_s / 1e9, 1)

    def _timed(self, work: Callable[[], object], times: int = 3) -> float:
        """Seconds by the card's events, the median; once before, so that nothing has to be loaded."""
        work()
        took_ms = []
        for _ in range(times):
            begin, end = cuda.event(), cuda.event()
            begin.record(self._stream)
            work()
            end.record(self._stream)
            end.synchronize()
            took_ms.append(begin.elapsed_time(end))
        return statistics.median(took_ms) / 1e3


def _room(*shape: int) -> Any:
    """Memory of the card, uint32."""
    return cuda.device_array(shape, np.uint32)
