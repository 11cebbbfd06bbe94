"""The CUDA form of a card: D in the card's own memory, one context and one stream a card, a thread for each.

Of a round the host keeps the nodes of one level only, `keep` above the leaves, each of them the root of a subtree
inside one walker; of the product it keeps the leaves. What is opened is walked and multiplied again.

    on the card    |D|, and beside it the buffers of `launch.card_bytes`: plain allocations, all before the fill
    on the host    32 bytes for every 2^keep segments of every round and for every tile, until OPEN

**Not yet run on a card**: under the CUDA simulator its answers are those of the CPU form, byte for byte.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numba import cuda

from kernels import protocol
from kernels.blake2s import TILENODE, U32, WALKNODE
from kernels.cards import CardError
from kernels.cuda import launch
from kernels.cuda.devices import Device, Devices
from kernels.cuda.fill import fill
from kernels.cuda.kernel import DeviceArray, Stream, to_host
from kernels.cuda.merkle import path, root
from kernels.cuda.multiply import multiply, tiles_at
from kernels.cuda.walk import rewalk, walk
from kernels.forms import CardWork, words
from kernels.messages import CARD_MEMORY_SHORT, CardSeed, Multiply, OpenedSegment, OpenedTile, Walk
from kernels.protocol import DIGEST_BYTES, LINE_BYTES, Parameters, check_integer

HOST_BYTES = 2 << 30
"""What one card may take of the host's memory: under the default policy a B300 takes a third of it."""
_PRACTICE = Parameters(
    lines=512, chain_w=1, rounds=1, walkers=2, segments=2, segment_steps=1, rows=16, columns=16, tiles=1
)


class CudaForm:
    """Cards with CUDA kernels, all of the machine's at once."""

    threads: int | None = None

    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    def check(self, parameters: Parameters) -> None:
        """Refuse what the host of a card can't keep; raises BadMessage."""
        check_integer("host memory of a card", launch.host_bytes(parameters), 1, HOST_BYTES)

    def open(self, parameters: Parameters, asked: CardSeed) -> CudaCard:
        """The card with this UUID; raises CardError."""
        return CudaCard(parameters, asked, self._devices.find(asked.uuid))

    def practise_all(self) -> None:
        """Have every card of the machine ready to fill."""
        devices = self._devices.all()
        if devices:
            with ThreadPoolExecutor(len(devices), "practice") as pool:
                list(pool.map(practise, devices))


@dataclass
class _Held:
    """What a card holds during a proof."""

    memory: DeviceArray
    """D, uint32 [lines, 32]."""
    digests: DeviceArray
    """A round's nodes or the tiles' leaves, uint32 [most of them, 8]."""
    scratch: DeviceArray
    """Words for whatever a step needs while it runs, uint32 [words]."""
    stream: Stream


class CudaCard(CardWork):
    """One card's part of the conversation."""

    def __init__(self, parameters: Parameters, asked: CardSeed, device: Device) -> None:
        super().__init__(parameters, asked)
        self._device = device
        self._keep = launch.keep_for(parameters.segments)
        self._nodes: list[U32] = []
        """Of each round, the nodes of level `keep`."""
        self._tile_leaves: U32 = np.empty((0, 8), dtype=np.uint32)
        self._product_nonce = b""
        self._on_card: _Held | None = None
        self._is_to_reset = False

    def fill(self) -> None:
        """Have the kernels loaded, reserve the card's memory and fill D; raises CardError."""
        self._is_to_reset = True
        practise(self._device)
        self.fill_now()

    def fill_now(self) -> None:
        """As `fill`, with kernels that may have to be compiled first."""
        p = self._parameters
        with self._device.active():
            held = self._on_card = _reserve(self._device, p)
            fill(words(self._asked.seed), p.chain_w, held.memory, held.stream)
            held.stream.synchronize()

    def walk(self, asked: Walk) -> bytes:
        """Walk a round; the root of its leaves."""
        p, held = self._parameters, self._held
        nonce = words(protocol.card_nonce(asked.nonce, self._asked.seed))
        with self._device.active():
            nodes = held.digests[: p.leaves >> self._keep]
            sizes = (p.walkers, p.segments, p.segment_steps, self._keep)
            walk(held.memory, nonce, asked.round, *sizes, nodes, held.scratch, held.stream)
            found = root(WALKNODE, nodes, self._keep, held.scratch, held.stream)
            self._nodes.append(to_host(nodes, held.stream))
        self._nonces.append(nonce)
        self._roots.append(found)
        return found

    def multiply(self, asked: Multiply) -> bytes:
        """Multiply; the root of the product's tiles."""
        p, held = self._parameters, self._held
        nonce = protocol.card_nonce(asked.nonce, self._asked.seed)
        with self._device.active():
            leaves = held.digests[: p.tile_count]
            multiply(held.memory, nonce, p.rows, p.columns, leaves, held.scratch, held.stream)
            found = root(TILENODE, leaves, 0, held.scratch, held.stream)
            self._tile_leaves = to_host(leaves, held.stream)
        self._product_nonce = nonce
        self._roots.append(found)
        return found

    def release(self) -> None:
        """Give the card's memory back, but neither its context nor the loaded kernels."""
        with self._device.active():
            self._on_card = None
            self._device.free()

    def close(self) -> None:
        """Give the card's memory and its context back, whatever went wrong before."""
        if self._is_to_reset:
            self._is_to_reset = False
            # After a kernel that failed the context can't even free: the reset does.
            with suppress(Exception):
                self.release()
            self._device.reset()

    @property
    def _held(self) -> _Held:
        assert self._on_card is not None, "the conversation fills first"
        return self._on_card

    def _open_segment(self, round_: int, leaf: int) -> OpenedSegment:
        """Walk the leaf's walker again; the states around its segment and their paths."""
        p, held = self._parameters, self._held
        walker, segment = divmod(leaf, p.segments)
        with self._device.active():
            upper = self._upper_paths(round_, {leaf >> self._keep, max(leaf - 1, 0) >> self._keep})
            at = (round_, walker, segment, p.segment_steps, self._keep)
            stretch = rewalk(held.memory, self._nonces[round_], *at, held.scratch, held.stream)

        def opened(number: int) -> tuple[bytes, bytes]:
            node = (walker * p.segments + number) >> self._keep
            return stretch.after(number).tobytes(), stretch.lower_path(number) + upper[node]

        after, after_path = opened(segment)
        if segment == 0:
            return OpenedSegment(None, None, after, after_path)
        before, before_path = opened(segment - 1)
        return OpenedSegment(before, before_path, after, after_path)

    def _upper_paths(self, round_: int, wanted: set[int]) -> dict[int, bytes]:
        """Of these nodes of a round, the paths from their level upward."""
        held, nodes = self._held, self._nodes[round_]
        on_card = _put(nodes, held)
        return {node: path(WALKNODE, on_card, self._keep, node, held.scratch, held.stream) for node in wanted}

    def _open_tiles(self, indices: Sequence[int]) -> tuple[OpenedTile, ...]:
        """The tiles at these leaves, multiplied again, and their paths."""
        p, held = self._parameters, self._held
        with self._device.active():
            leaves = _put(self._tile_leaves, held)
            paths = [path(TILENODE, leaves, 0, index, held.scratch, held.stream) for index in indices]
            at = (self._product_nonce, p.columns, indices)
            tiles = tiles_at(held.memory, *at, held.scratch, held.stream)
        return tuple(OpenedTile(tile.tobytes(), its) for tile, its in zip(tiles, paths))  # noqa: B905  Python 3.9


def _reserve(device: Device, p: Parameters) -> _Held:
    """Everything that the card holds, before anything is computed; raises CardError with CARD_MEMORY_SHORT."""
    need, free = launch.card_bytes(p), device.free_bytes()
    if free < need.memory + need.beside:
        detail = f"{free} bytes are free, {need.memory} are needed for D and {need.beside} beside it"
        raise CardError(CARD_MEMORY_SHORT, f"{device.uuid}: {detail}")
    return _Held(
        memory=device.allocate((p.lines, LINE_BYTES // 4)),
        digests=device.allocate((need.nodes // DIGEST_BYTES, DIGEST_BYTES // 4)),
        scratch=device.allocate((need.scratch // 4,)),
        stream=cuda.stream(),
    )


def _put(digests: U32, held: _Held) -> DeviceArray:
    """Digests of the host, uint32 [k, 8], back on the card."""
    on_card = held.digests[: len(digests)]
    on_card.copy_to_device(digests, stream=held.stream)
    return on_card


# --- practice ------------------------------------------------------------------------------------------

_first_alone = threading.Lock()
_one_a_card: dict[str, threading.Lock] = {}


def practise(device: Device) -> None:
    """Have the kernels compiled, and loaded on this card, unless they are; raises what a proof would.

    One card is alone with it first: it compiles for all others of its kind, which then only load. Who comes while a card
    practises waits for it.
    """
    with _one_a_card.setdefault(device.uuid, threading.Lock()):
        with _first_alone:
            if not device.is_any_loaded:
                _hold_practice(device)
        if not device.is_loaded:
            _hold_practice(device)


def _hold_practice(device: Device) -> None:
    """A whole proof of one page and more, by practice seeds, without a conversation."""
    card = CudaCard(_PRACTICE, CardSeed(0, device.uuid, bytes(32)), device)
    try:
        card.fill_now()
        card.walk(Walk(0, bytes(32)))
        card.multiply(Multiply(bytes(32)))
        card.open(bytes(32))
    finally:
        card.release()
    device.note_loaded()
