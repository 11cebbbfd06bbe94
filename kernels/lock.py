"""The lock of a machine's cards: one proof at a time, whichever validator asks (docs/gpu-proof.md).

A card's lock is the file `subnet-<uuid>.lock`, locked by the prover for its whole conversation; the kernel drops it
with the process, however that dies. In it stands what the validator of that proof says of itself: whoever finds the
card locked hands that text to its own validator, which alone can judge it.

The folder is the same for all who log in, whatever their user: the one that SUBNET_PROOF_LOCKS names, that of the
simulated cards, or the first of /run/lock and /tmp that everybody may write to and where nobody may remove another's
file. Files are opened without following links, never created over another's, and may be written by all: another
user of the machine can lock a card for ever, but can't make a validator believe anything, nor have a file elsewhere
touched. What such a user can do is cost the machine its proofs.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from kernels.messages import MAX_STATEMENT_CHARS, STATEMENT

VARIABLE = "SUBNET_PROOF_LOCKS"
SHARED_FOLDERS = ("/run/lock", "/tmp")  # noqa: S108  sticky, and files in it are opened as the module's text says
PATIENCE_S = 0.5
"""A conversation that is just ending is waited for."""
LAST_LOOK_S = 0.5
"""A holder that has just ended has wiped its statement out: who finds nothing written looks for so much longer."""
PAUSE_S = 0.05
"""Between two looks; also how long a holder has for writing its statement once it has the lock."""


class CardsBusy(Exception):
    """Another proof holds one of the cards; `holder` is the statement found there, empty when there is none."""

    def __init__(self, holder: str) -> None:
        super().__init__("another proof holds the cards")
        self.holder = holder


class LockUnavailable(Exception):
    """This machine has no place where a lock could be held; the text says what is missing."""


class CardLocks:
    """The locks in a folder."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)

    @contextmanager
    def hold(self, uuids: Sequence[str], statement: str) -> Iterator[Held]:
        """Hold the locks of these cards for the block; raises CardsBusy or LockUnavailable."""
        until = time.monotonic() + PATIENCE_S
        with ExitStack() as stack:
            # In one order for all, so that of two who want the same cards one gets them.
            held = Held([self._take(uuid, until, stack) for uuid in sorted(uuids)])
            held.state(statement)
            stack.callback(held.state, "")
            yield held

    def _take(self, uuid: str, until: float, stack: ExitStack) -> int:
        """The descriptor of a card's lock, once it is ours; closed with the stack."""
        path = self._folder / f"subnet-{uuid}.lock"
        while True:
            with ExitStack() as attempt:
                descriptor = _open(path)
                attempt.callback(os.close, descriptor)
                if _is_taken(descriptor):
                    # Somebody may have removed the file meanwhile: what others open is then another one.
                    if _is_file_of(path, descriptor):
                        stack.push(attempt.pop_all())
                        return descriptor
                elif time.monotonic() >= until:
                    statement = _statement_in(descriptor)
                    # Nothing said: the holder may be just ending. Once more round, then it has no word to show.
                    if statement or time.monotonic() >= until + LAST_LOOK_S:
                        raise CardsBusy(statement)
            time.sleep(PAUSE_S)


class Held:
    """Locks that are held; without any, for a prover that needs none."""

    def __init__(self, descriptors: Sequence[int] = ()) -> None:
        self._descriptors = tuple(descriptors)

    def state(self, statement: str) -> None:
        """Write down for whom they are held."""
        text = statement.encode()
        for descriptor in self._descriptors:
            # Written before it is cut: a reader finds an old statement or the new one, never none.
            os.pwrite(descriptor, text, 0)
            os.ftruncate(descriptor, len(text))


def locks_of(environment: Mapping[str, str]) -> CardLocks:
    """The machine's locks."""
    named = environment.get(VARIABLE) or environment.get("SUBNET_SIMULATED_CARDS")
    return CardLocks(named or next(filter(_is_everybodys, SHARED_FOLDERS), SHARED_FOLDERS[-1]))


@contextmanager
def held_by(locks: CardLocks | None, uuids: Sequence[str], statement: str) -> Iterator[Held]:
    """Hold the locks, or none where there are none to hold."""
    if locks is None:
        yield Held()
        return
    with locks.hold(uuids, statement) as held:
        yield held


def _open(path: Path) -> int:
    """The lock's file, created when it is not there; raises LockUnavailable for anything but a plain file."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        try:
            # Not with O_CREAT: the kernel would refuse another user's file in a folder of everybody's.
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            _create(path)
            descriptor = os.open(path, flags)
    except OSError as error:
        raise LockUnavailable(f"{path}: {error.strerror}; {VARIABLE} may name another folder") from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise LockUnavailable(f"{path} is no plain file; {VARIABLE} may name another folder")
    return descriptor


def _create(path: Path) -> None:
    """The file, open to all users from its first moment: a mode that is changed later would shut others out meanwhile."""
    mask = os.umask(0)
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL, 0o666))
    finally:
        os.umask(mask)


def _is_taken(descriptor: int) -> bool:
    """Take the lock; False when another holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file_of(path: Path, descriptor: int) -> bool:
    """Whether the path still leads to this very file."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _statement_in(descriptor: int) -> str:
    """What the holder has written, empty when it is no statement; at most so many bytes are read."""
    time.sleep(PAUSE_S)
    text = os.pread(descriptor, MAX_STATEMENT_CHARS + 1, 0).decode("latin-1")
    return text if STATEMENT.fullmatch(text) else ""


def _is_everybodys(folder: str) -> bool:
    """Whether all users may write there, and none may remove another's file."""
    try:
        mode = Path(folder).stat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and bool(mode & stat.S_ISVTX) and bool(mode & stat.S_IWOTH)
