"""The package's place in the house."""

import ast
import subprocess
import sys
from pathlib import Path

from tasks.proof.archive import prover_archive
from tests.kernels.cuda.ptx import KERNELS

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "kernels" / "cuda"
LIMIT_BYTES = 64 * 1024


def imported(source):
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_numba_cuda_stays_here():
    """A validator has no numba-cuda: nothing outside this package imports it."""

    elsewhere = [
        path.relative_to(ROOT)
        for folder in ("kernels", "tasks", "flows", "storage", "deployments")
        for path in (ROOT / folder).rglob("*.py")
        if PACKAGE not in path.parents and any(name.startswith("numba.cuda") for name in imported(path))
    ]

    assert elsewhere == []


def test_launch_arithmetic_needs_no_numba():
    """Who only wants to know how large something is loads neither numba-cuda nor Numba."""

    code = "import sys, kernels.cuda.launch; sys.exit('numba' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_what_a_card_needs():
    """Besides the standard library: NumPy, Numba with llvmlite under it, and kernels; in Python 3.9's syntax."""

    names = {name.split(".")[0] for source in PACKAGE.glob("*.py") for name in imported(source)}
    for source in PACKAGE.glob("*.py"):
        ast.parse(source.read_text(), feature_version=(3, 9))

    assert names - set(sys.stdlib_module_names) == {"numpy", "numba", "llvmlite", "kernels"}


def test_the_prover_still_travels_in_64_kib():
    """The archive of the prover has the CUDA forms in it."""

    assert b"kernels/cuda/walk.py" in prover_archive().content
    assert len(prover_archive().content) <= LIMIT_BYTES


def test_every_kernel_is_registered():
    """Importing the kernels needs no driver, and the registry has all of them."""

    code = (
        "from kernels.cuda import fill, merkle, multiply, registry, walk\n"
        "from kernels.cuda.kernel import Kernel\n"
        "made = {v for m in (fill, merkle, multiply, walk) for v in vars(m).values() if isinstance(v, Kernel)}\n"
        "assert made == set(registry.KERNELS)\n"
        "print(*(kernel.name for kernel in registry.KERNELS))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert tuple(done.stdout.split()) == KERNELS
