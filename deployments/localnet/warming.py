"""Compiled kernels for the local subnet's machines: made once, as a machine's own prover would, and shared by all."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

from tasks.errors import SubnetError
from tasks.inspection.remote import unpack
from tasks.proof.archive import prover_archive

DEADLINE_S = 300.0
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from kernels.prover import warm; warm()"


class NotCompiled(SubnetError):
    """The kernels could not be compiled for the local machines; the text ends with the compiler's last words."""


def warm_cache(cache: Path) -> None:
    """Unpack the prover where machines look for it and compile its kernels, unless both is done."""
    archive = prover_archive()
    mark = cache / f"warm-{archive.digest[:16]}-{_toolchain()}"
    if mark.is_file():
        return
    # The real path: compiled kernels are found again by the path of their source.
    cache = cache.resolve()
    with (cache / "warming.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.is_file():
            _compile(unpack(archive.content, cache / archive.digest), cache / "compiled")
            mark.touch()


def _compile(folder: Path, compiled: Path) -> None:
    try:
        subprocess.run(  # noqa: S603  our own interpreter and program
            [sys.executable, "-I", "-c", _PROGRAM, str(folder)],
            env={"PATH": os.defpath, "HOME": str(folder), "NUMBA_CACHE_DIR": str(compiled)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise NotCompiled(
            f"the kernels do not compile: {error.stderr[-500:].decode(errors='replace')}"
        ) from None
    except subprocess.TimeoutExpired:
        raise NotCompiled(f"the kernels were not compiled after {DEADLINE_S:g} s") from None


def _toolchain() -> str:
    """What compiled kernels hang on beside their source."""
    versions = [
        sys.version,
        sys.executable,
        *(importlib.metadata.version(name) for name in ("numba", "numpy")),
    ]
    return hashlib.blake2s("\n".join(versions).encode(), digest_size=6).hexdigest()
