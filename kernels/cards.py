"""Cards: the seam between the prover and the memory that it fills.

A simulated card is a budget of bytes kept by card UUID in a folder: `<folder>/<uuid>/total` holds the budget in
decimal. A reservation is a file beside it, locked by the process that holds it; the kernel drops the lock when
that process dies, however it dies, and the next who asks clears the file away. So everybody who lists a
card shares its memory, and a second fill that does not fit really fails.
"""

from __future__ import annotations

import fcntl
import os
import uuid as uuids
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.messages import CARD_MEMORY_SHORT, CARD_NOT_FOUND, UUID

U32 = NDArray[np.uint32]
_HELD = ".held"


class CardError(Exception):
    """A card can't be used; `code` is the protocol's."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class Card(Protocol):
    """One opened card, for one proof."""

    def allocate(self, lines: int) -> U32:
        """Memory for D, uint32 [lines, 32]; raises CardError with CARD_MEMORY_SHORT."""
        ...

    def close(self) -> None:
        """Give everything back; a second time does nothing."""
        ...


class CardSource(Protocol):
    """Where the prover finds its cards."""

    def open(self, uuid: str) -> Card:
        """The card with this UUID; raises CardError with CARD_NOT_FOUND."""
        ...


class NoCards:
    """A machine without simulated cards."""

    def open(self, uuid: str) -> Card:
        """Tell how a simulated card comes about."""
        raise CardError(
            CARD_NOT_FOUND,
            f"{uuid}: no simulated cards here; SUBNET_SIMULATED_CARDS names the folder that holds them",
        )


class UnlimitedCards:
    """Cards of any UUID and any size, for practice and for a verifier's tests."""

    def open(self, uuid: str) -> Card:  # noqa: ARG002  any UUID will do
        """A card without a budget."""
        return _UnlimitedCard()


class _UnlimitedCard:
    def allocate(self, lines: int) -> U32:
        return np.zeros((lines, 32), dtype=np.uint32)

    def close(self) -> None:
        pass


class FolderCards:
    """The simulated cards of a folder, shared by all processes and threads that list it."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)

    def open(self, uuid: str) -> Card:
        """The card with this UUID; raises CardError with CARD_NOT_FOUND."""
        if not UUID.fullmatch(uuid) or not (self._folder / uuid / "total").is_file():
            raise CardError(CARD_NOT_FOUND, f"{uuid} is no card of this machine")
        return SimulatedCard(self._folder / uuid)


class SimulatedCard:
    """A card whose memory is a budget in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[Path, int] = {}

    def allocate(self, lines: int) -> U32:
        """Memory for D, uint32 [lines, 32], once its bytes are reserved; raises CardError."""
        size = 128 * lines
        with _locked(self._folder / "lock"):
            free = int((self._folder / "total").read_text()) - sum(_live_reservations(self._folder))
            if size > free:
                detail = f"{self._folder.name} has {free} bytes free, D needs {size}"
                raise CardError(CARD_MEMORY_SHORT, detail)
            self._hold(size)
        return np.zeros((lines, 32), dtype=np.uint32)

    def close(self) -> None:
        """Give every reservation back."""
        while self._held:
            path, descriptor = self._held.popitem()
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def _hold(self, size: int) -> None:
        """Write a reservation and lock it for as long as this process lives."""
        path = self._folder / f"{uuids.uuid4().hex}{_HELD}"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        self._held[path] = descriptor
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, str(size).encode())


def add_simulated_card(folder: str | os.PathLike[str], uuid: str, size_bytes: int) -> None:
    """Put a card into the folder, or give the one that is there another budget."""
    if not UUID.fullmatch(uuid):
        raise ValueError(f"{uuid!r} is no card UUID, expected {UUID.pattern}")
    card = Path(folder) / uuid
    card.mkdir(parents=True, exist_ok=True)
    fresh = card / f"{uuids.uuid4().hex}.new"
    fresh.write_text(str(size_bytes))
    fresh.replace(card / "total")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file's lock: across processes, and across threads since each opens it anew."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _live_reservations(folder: Path) -> Iterator[int]:
    """The sizes of the reservations that somebody still holds; those of the dead are cleared away."""
    for path in folder.glob(f"*{_HELD}"):
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                yield int(path.read_text())
            finally:
                os.close(descriptor)
