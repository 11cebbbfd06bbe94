"""What the CUDA kernels use of a multiprocessor, as ptxas tells it for an H100: no card is needed."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.rows import Group, Row
from tests.kernels.cuda.ptx import KERNELS, Usage, usages

CAPABILITY = "9.0"
_PREFIX = "cuda_registers_"


def _registers() -> Iterator[Row]:
    for kernel, usage in usages(CAPABILITY).items():
        yield Row(f"{_PREFIX}{kernel}", usage.registers, "registers", None, 1, _note(usage))


def _note(usage: Usage) -> str:
    spilled = usage.spill_store_bytes + usage.spill_load_bytes
    return (
        f"of a thread, compute capability {CAPABILITY}; {spilled} bytes spilled, {usage.stack_bytes} bytes of stack, "
        f"{usage.shared_bytes:,} bytes of shared memory a block; not yet run on a card"
    )


GROUPS = (Group(tuple(f"{_PREFIX}{kernel}" for kernel in KERNELS), _registers),)
