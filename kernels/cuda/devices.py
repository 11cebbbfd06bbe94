"""The cards that the driver shows: the seam between the CUDA form and numba-cuda.

A card is found by its UUID. Its primary context is made current for the length of one piece of work, in whatever
thread does it. At the end the context is destroyed, and with it all that the process holds on the card, whatever
went wrong before.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from math import prod
from typing import Any, Protocol

import numpy as np

from kernels.cards import CardError
from kernels.cuda.needs import look, what_is_missing, what_is_too_old
from kernels.forms import FormUnavailable
from kernels.messages import CARD_MEMORY_SHORT, CARD_NOT_FOUND, FORM_UNAVAILABLE

DeviceArray = Any
"""numba-cuda's array in a card's memory."""
OUT_OF_MEMORY = 2
"""CUDA_ERROR_OUT_OF_MEMORY."""


class Device(Protocol):
    """One card, for one proof."""

    @property
    def uuid(self) -> str:
        """`GPU-` and the UUID, as nvidia-smi prints it."""
        ...

    @property
    def is_loaded(self) -> bool:
        """Whether the kernels are loaded on this card."""
        ...

    @property
    def is_any_loaded(self) -> bool:
        """Whether they are on any card, and so are compiled."""
        ...

    def note_loaded(self) -> None:
        """From now on the kernels are loaded on this card."""
        ...

    def active(self) -> AbstractContextManager[None]:
        """Inside the block this thread's CUDA calls go to this card; all other methods but `reset` want it."""
        ...

    def free_bytes(self) -> int:
        """Memory that nothing holds."""
        ...

    def allocate(self, shape: tuple[int, ...]) -> DeviceArray:
        """Memory for uint32 of this shape, its content undefined; raises CardError with CARD_MEMORY_SHORT."""
        ...

    def free(self) -> None:
        """Give back what was allocated and is referred to no more."""
        ...

    def reset(self) -> None:
        """Give all memory and the context back; the card is not to be used again in this process."""
        ...


class Devices(Protocol):
    """Where the CUDA form finds its cards."""

    def all(self) -> Sequence[Device]:
        """Every card that can run the kernels."""
        ...

    def find(self, uuid: str) -> Device:
        """The card with this UUID; raises CardError with CARD_NOT_FOUND or FORM_UNAVAILABLE."""
        ...


class DriverDevices:
    """The cards of this machine, from numba-cuda's list of them."""

    def __init__(self, gpus: Iterable[Any]) -> None:
        self._devices = [DriverDevice(gpu) for gpu in gpus]

    @classmethod
    def here(cls) -> DriverDevices:
        """The cards that the driver shows; raises FormUnavailable with what is missing."""
        missing = what_is_missing(look())
        if missing is not None:
            raise FormUnavailable(missing)
        cuda: Any = importlib.import_module("numba.cuda")  # only now is it certain to be there
        # Walking one walker again is a small launch, as it should be: no warning of it on the machine's stderr.
        cuda.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
        return cls(cuda.gpus)

    def all(self) -> Sequence[Device]:
        """Every card that can run the kernels."""
        return [d for d in self._devices if what_is_too_old(d.capability) is None]

    def find(self, uuid: str) -> Device:
        """The card with this UUID, whatever its case."""
        device = next((d for d in self._devices if d.uuid.lower() == uuid.lower()), None)
        if device is None:
            shown = ", ".join(d.uuid for d in self._devices)
            raise CardError(
                CARD_NOT_FOUND, f"{uuid} is no card that the driver shows: {shown or 'it shows none'}"
            )
        reason = what_is_too_old(device.capability)
        if reason is not None:
            raise CardError(FORM_UNAVAILABLE, f"{uuid}: {reason}")
        if device.uuid in _given_back:
            raise CardError(FORM_UNAVAILABLE, f"{uuid}: one process is for one proof, start another")
        return device


_loaded: set[str] = set()
"""Cards with all kernels, by UUID: kernels stay loaded from practice to proof."""
_given_back: set[str] = set()
"""Cards that were reset: numba-cuda does not know that its loaded kernels are gone with the context."""


class DriverDevice:
    """A card that the driver shows."""

    def __init__(self, gpu: Any) -> None:
        self._gpu = gpu
        self.uuid: str = gpu.uuid
        self.capability: tuple[int, int] = tuple(gpu.compute_capability)

    @property
    def is_loaded(self) -> bool:
        """Whether the kernels are loaded on this card."""
        return self.uuid in _loaded

    @property
    def is_any_loaded(self) -> bool:
        """Whether they are on any card, and so are compiled."""
        return bool(_loaded)

    def note_loaded(self) -> None:
        """From now on the kernels are loaded on this card."""
        _loaded.add(self.uuid)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Push the card's primary context, and pop it at the end."""
        with self._gpu:
            yield

    def free_bytes(self) -> int:
        """As the driver has it, once what waits to be freed is free."""
        self.free()
        return int(self._gpu.get_primary_context().get_memory_info().free)

    def free(self) -> None:
        """Have numba-cuda do at once what it puts off: freeing."""
        self._gpu.get_primary_context().memory_manager.deallocations.clear()

    def allocate(self, shape: tuple[int, ...]) -> DeviceArray:
        """A plain allocation."""
        from numba import cuda  # noqa: PLC0415  a device is at hand, so it is imported already
        from numba.cuda.cudadrv.driver import CudaAPIError  # noqa: PLC0415  the same

        try:
            return cuda.device_array(shape, np.uint32)
        except CudaAPIError as error:
            if int(error.code) != OUT_OF_MEMORY:
                raise
            detail = f"{self.uuid}: {4 * prod(shape)} bytes are refused, {self.free_bytes()} are free"
            raise CardError(CARD_MEMORY_SHORT, detail) from None

    def reset(self) -> None:
        """Destroy the primary context, and with it all memory, also where a kernel has broken it; never raises."""
        _given_back.add(self.uuid)
        # A broken context refuses to free, piece by piece; numba-cuda then destroys it all the same. What is left
        # even so goes when the process ends.
        with suppress(Exception), self._gpu:
            self._gpu.get_primary_context().reset()
        with suppress(Exception):
            self._gpu.reset()
