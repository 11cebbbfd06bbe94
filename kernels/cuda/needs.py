"""What the CUDA form needs of a machine: what is there, and the command that mends what is not.

Asking and judging are two things: `look` asks the driver and numba-cuda, `what_is_missing` knows neither.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from typing import Any

from kernels.messages import MAX_DETAIL_CHARS

Version = tuple[int, int]

OLDEST_DRIVER: Version = (12, 0)
"""CUDA version of the oldest driver that numba-cuda still has a toolkit for."""
NEWEST_TOOLKIT = 13
OLDEST_CAPABILITY: Version = (7, 5)
"""Turing: CUDA 13 compiles for nothing older."""
_NEW_DRIVER = "sudo apt-get install nvidia-driver-580"
_TELLS_WHY = "nvidia-smi, it tells why; after an update of the driver, reboot"


@dataclass(frozen=True)
class Found:
    """What a machine has for the CUDA form."""

    driver: Version | None
    """The CUDA version that the driver is made for, None where there is no driver."""
    driver_trouble: str = ""
    """Why the driver does not start."""
    has_numba_cuda: bool = False
    toolkit: Version | None = None
    """The CUDA version that numba-cuda compiles with, None where it finds none."""
    numba_cuda_trouble: str = ""
    """Why numba-cuda does not start."""


def what_is_missing(found: Found, python: str = sys.executable) -> str | None:
    """What keeps the CUDA form from running and the command that mends it; None when nothing does."""
    what, command = _lack(found, python)
    return f"{what[: max(0, MAX_DETAIL_CHARS - len(command) - 8)]}. Run: {command}" if what else None


def _lack(found: Found, python: str) -> tuple[str, str]:
    """What is wrong, empty when nothing is, and what to run."""
    if found.driver is None:
        return "no NVIDIA driver: libcuda.so.1 does not load", _NEW_DRIVER
    if found.driver < OLDEST_DRIVER:
        has, wants = _dotted(found.driver), _dotted(OLDEST_DRIVER)
        return f"the driver is for CUDA {has}, {wants} or newer is needed", _NEW_DRIVER
    if found.driver_trouble:
        return f"the driver does not start: {found.driver_trouble}", _TELLS_WHY
    extra = f"cu{min(found.driver[0], NEWEST_TOOLKIT)}"
    return _numba_cuda_lack(found, found.driver), f"{python} -m pip install 'numba-cuda[{extra}]'"


def _numba_cuda_lack(found: Found, driver: Version) -> str:
    """What is wrong with numba-cuda, empty when nothing is."""
    if not found.has_numba_cuda:
        return "numba-cuda is missing"
    if found.toolkit is None:
        return f"numba-cuda does not start: {found.numba_cuda_trouble}"
    if found.toolkit[0] > driver[0]:
        return f"numba-cuda has CUDA {_dotted(found.toolkit)}, the driver only {_dotted(driver)}"
    return ""


def what_is_too_old(capability: Version) -> str | None:
    """Why a card of this compute capability can't run the kernels; None when it can."""
    if capability >= OLDEST_CAPABILITY:
        return None
    return (
        f"compute capability {_dotted(capability)}, {_dotted(OLDEST_CAPABILITY)} (Turing) or newer is needed"
    )


def look() -> Found:
    """What this machine has; imports numba.cuda only where there is a driver for it."""
    driver = driver_version()
    if driver is None or driver < OLDEST_DRIVER:
        return Found(driver)
    # Numba itself still brings an old `numba.cuda`, so that its import alone tells nothing.
    if importlib.util.find_spec("numba_cuda") is None:
        return Found(driver)
    return look_at_numba_cuda(driver)


def look_at_numba_cuda(driver: Version) -> Found:
    """What numba-cuda says of itself and of the driver."""
    try:
        cuda: Any = importlib.import_module("numba.cuda")
        toolkit: Version = cuda.runtime.get_version()
    except Exception as error:  # noqa: BLE001  whatever keeps it from starting is told
        return Found(driver, has_numba_cuda=True, numba_cuda_trouble=_one_line(error))
    is_available = cuda.is_available()
    trouble = _one_line(cuda.cuda_error() or "")
    if not is_available and not trouble:
        return Found(driver, has_numba_cuda=True, numba_cuda_trouble="libNVVM does not load")
    return Found(driver, trouble, has_numba_cuda=True, toolkit=toolkit)


def driver_version() -> Version | None:
    """The CUDA version of the installed driver, asked of the driver itself; None where there is none."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
        version = ctypes.c_int()
        is_stub = library.cuDriverGetVersion(ctypes.byref(version)) != 0
    except (OSError, AttributeError):
        return None
    return None if is_stub else (version.value // 1000, version.value % 1000 // 10)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())


def _dotted(version: Version) -> str:
    return f"{version[0]}.{version[1]}"
