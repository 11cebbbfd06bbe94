"""What a kernel of this package is: compiled at its first launch, so that importing it needs no driver.

Device functions are real functions to Numba, typed and lowered once each, and NVVM inlines every call of them
(`forceinline`). Inlined by Numba instead, one compression of BLAKE2s alone takes 87 s to compile; called, 2 s. In
the simulator they are plain Python.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import config, cuda

from kernels.blake2s import U32

SIMULATED = bool(config.ENABLE_CUDASIM)  # type: ignore[attr-defined]
Array = Any
"""An array as a kernel sees it."""
DeviceArray = Any
"""numba.cuda's array on a card, as the host sees it."""
Stream = Any
"""numba.cuda's stream."""
Word = Any
"""A word of one thread, in a register."""
Words = Any
"""A tuple of words of one thread, in registers."""

Function = TypeVar("Function", bound=Callable[..., Any])
_compiling = threading.Lock()
_OPTIONS: dict[str, Any] = {} if SIMULATED else {"lto": False}
"""Without link-time optimisation a card runs what ptxas makes of the PTX: what the tests see."""


def _low32(number: Any) -> int:
    """The low 32 bits; Python's integers are faster than NumPy's, and as wide as Numba's sums between casts."""
    return int(number) & 0xFFFFFFFF


def _low64(number: Any) -> int:
    """The low 64 bits."""
    return int(number) & 0xFFFFFFFFFFFFFFFF


u32: Any = _low32 if SIMULATED else np.uint32
u64: Any = _low64 if SIMULATED else np.uint64


class Kernel:
    """One kernel with its signature and the threads of its blocks."""

    def __init__(self, function: Callable[..., None], signature: str, threads: int) -> None:
        self.function, self.signature, self.threads = function, signature, threads
        self.name: str = function.__name__
        self._compiled: Any = None

    def launch(self, blocks: int | tuple[int, int], stream: Stream, *arguments: object) -> None:
        """Put the kernel on the stream; compiles it (or loads it from Numba's cache) the first time."""
        self.compiled()[blocks, self.threads, stream](*arguments)

    def compiled(self) -> Any:
        """Numba's kernel, for this signature alone."""
        with _compiling:
            if self._compiled is None:
                self._compiled = cuda.jit(self.signature, cache=True, **_OPTIONS)(self.function)
        return self._compiled


def kernel(signature: str, threads: int) -> Callable[[Callable[..., None]], Kernel]:
    """Make a kernel of a function."""
    return lambda function: Kernel(function, signature, threads)


def device(function: Function) -> Function:
    """Make a function one that kernels call."""
    return function if SIMULATED else cast("Function", cuda.jit(device=True, forceinline=True)(function))


def carve(scratch: DeviceArray, first: int, rows: int, width: int) -> DeviceArray:
    """A part of scratch, uint32 [words], as [rows, width]; raises ValueError where scratch is too short."""
    if first + rows * width > scratch.shape[0]:
        raise ValueError(f"scratch has {scratch.shape[0]} words, {first + rows * width} are needed")
    return scratch[first : first + rows * width].reshape(rows, width)


def to_host(array: DeviceArray, stream: Stream) -> U32:
    """The array's content once everything before on the stream is done."""
    content: U32 = array.copy_to_host(stream=stream)
    stream.synchronize()
    return content


def words_of(words: U32) -> Words:
    """Eight words as one argument of a kernel: they stand in constant memory, and nothing has to be copied before."""
    return tuple(np.uint32(word) for word in words)


@device
def words8(rows: Array, row: int, first: int) -> Words:
    """Eight words of a row, from `first`."""
    return (
        rows[row, first],
        rows[row, first + 1],
        rows[row, first + 2],
        rows[row, first + 3],
        rows[row, first + 4],
        rows[row, first + 5],
        rows[row, first + 6],
        rows[row, first + 7],
    )


@device
def put_words8(rows: Array, row: int, first: int, words: Words) -> None:
    """Write eight words into a row, from `first`."""
    rows[row, first] = words[0]
    rows[row, first + 1] = words[1]
    rows[row, first + 2] = words[2]
    rows[row, first + 3] = words[3]
    rows[row, first + 4] = words[4]
    rows[row, first + 5] = words[5]
    rows[row, first + 6] = words[6]
    rows[row, first + 7] = words[7]
