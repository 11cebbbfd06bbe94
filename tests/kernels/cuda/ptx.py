"""Compile the CUDA kernels without a card: `python -m tests.kernels.cuda.ptx 9.0` prints what ptxas says of each.

A process of its own, because Numba compiles the functions that a kernel calls for the card that is in the machine:
where there is none, this process tells it which one is meant.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[3]
CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "10.3", "12.0")
"""From Turing to Blackwell: T4, A100, RTX 30, RTX 40 and L4, H100, B200, B300, RTX 50."""
KERNELS = (
    "fill_lines",
    "walk_segments",
    "gather_nodes",
    "parents",
    "columns_of_b",
    "product",
    "tile_leaves",
)

_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class Usage:
    """What one thread (shared memory: one block) of a kernel uses."""

    registers: int
    stack_bytes: int
    spill_store_bytes: int
    spill_load_bytes: int
    shared_bytes: int
    dp4a: int = 0
    """Instructions of that kind in the PTX."""

    @property
    def is_in_registers(self) -> bool:
        """Nothing of a thread's lives in the card's main memory."""
        return not (self.stack_bytes or self.spill_store_bytes or self.spill_load_bytes)


def parse_usage(told: str) -> Usage:
    """What `ptxas -v` tells of a file with one kernel."""
    frame, used, shared = _FRAME.search(told), _USED.search(told), _SHARED.search(told)
    if frame is None or used is None:
        raise ValueError(f"ptxas told nothing of registers or spills: {told!r}")
    return Usage(int(used[1]), *map(int, frame.groups()), int(shared[1]) if shared else 0)


def usages(capability: str) -> dict[str, Usage]:
    """Compile every kernel for this compute capability and assemble it, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.cuda.ptx", capability],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return {name: Usage(**told) for name, told in json.loads(done.stdout).items()}


def ptxas() -> Path:
    """The assembler of the wheel nvidia-cuda-nvcc."""
    files = importlib.metadata.files("nvidia-cuda-nvcc") or []
    return next(Path(str(file.locate())) for file in files if file.name == "ptxas")


def main(capability: str) -> None:
    """Print the usage of every kernel as JSON."""
    from numba import cuda
    from numba.cuda import dispatcher

    major, minor = map(int, capability.split("."))
    meant = SimpleNamespace(compute_capability=(major, minor))
    dispatcher.get_current_device = lambda: meant

    from kernels.cuda import registry

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for kernel in registry.KERNELS:
            text, _ = cuda.compile_ptx(kernel.function, kernel.signature, cc=(major, minor))
            usage = _assemble(text, f"sm_{major}{minor}", Path(folder))
            found[kernel.name] = asdict(usage) | {"dp4a": len(re.findall(r"\bdp4a\.s32\.s32\b", text))}
    json.dump(found, sys.stdout)


def _assemble(text: str, architecture: str, folder: Path) -> Usage:
    source = folder / "kernel.ptx"
    source.write_text(text)
    command = [ptxas(), "-v", f"-arch={architecture}", source, "-o", folder / "kernel.cubin"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return parse_usage(done.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
