"""Where a history lies: in a folder of this machine or on S3, and the few things that are done otherwise there.

Everything else both kinds of path do by the same names.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias, TypeVar

import pyarrow.parquet as pq

from storage.locks import file_lock, shared_lock
from storage.s3 import SCHEME, S3Path, s3_path

Place: TypeAlias = Path | S3Path
A = TypeVar("A")
B = TypeVar("B")
AT_ONCE = 16
"""Requests to S3 that one reader has under way: each is a round trip or two, and a history has many days."""


def parquet(path: Place) -> pq.ParquetFile:
    """A Parquet file, its footer read; FileNotFoundError when it is not there."""
    return pq.ParquetFile(path) if isinstance(path, Path) else pq.ParquetFile(path.opened())


def place_of(text: str, environment: Mapping[str, str], locks: str = "") -> Place:
    """The folder of this machine, or on S3, that a text names; `locks` is the database that keeps writers on S3 apart.

    Raises StorageError when it begins with s3:// and is no such address.
    """
    return s3_path(text, environment, locks) if text.startswith(SCHEME) else Path(text)


def each(act: Callable[[A], B], of: Iterable[A]) -> list[B]:
    """What this gives for each of several files or folders, in their order; on S3 many are asked for at once."""
    every = list(of)
    if not any(isinstance(one, S3Path) for one in every):
        return [act(one) for one in every]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(act, every))


def names_in(folder: Place) -> list[str] | None:
    """The names in a folder; None when there is none. OSError when one that is asked for as a file is none."""
    if isinstance(folder, Path):
        try:
            return os.listdir(folder)  # noqa: PTH208  names are all that is wanted
        except FileNotFoundError:
            return None
    found = folder.listing()
    return None if found is None else [path.name for path in found]


def first_bytes(path: Place, most: int) -> bytes:
    """The first of a small file; FileNotFoundError when it is not there, OSError when it is no file."""
    if isinstance(path, Path):
        with open(path, "rb", opener=opened_at_once) as file:
            return file.read(most)
    with path.opened() as stream:
        return bytes(stream.read(most))


def opened_at_once(path: str, flags: int) -> int:
    """A file's descriptor; a pipe in its place, which nobody may ever write to, is not waited for."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return descriptor


@contextmanager
def written(path: Place) -> Iterator[IO[bytes]]:
    """A file to write; at the block's end its content is where a loss of power does not reach it."""
    if isinstance(path, Path):
        with path.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    else:
        with path.written() as stream:
            yield stream


def move(hidden: Place, place: Place) -> None:
    """Let a file that was written under a hidden name take its place, in one moment."""
    if isinstance(hidden, S3Path):
        hidden.replace(place)
    else:
        hidden.replace(str(place))


def size_of(path: Place) -> int:
    """Bytes of a file; FileNotFoundError when it is not there."""
    return path.stat().st_size if isinstance(path, Path) else path.size()


def identity_of(path: Place) -> tuple[Any, ...]:
    """What is another one as soon as the file is written again; FileNotFoundError when it is not there."""
    if isinstance(path, S3Path):
        return (path.tag(),)
    told = path.stat()
    return told.st_ino, told.st_mtime_ns, told.st_size


def alone(root: Place, lock: str = ".writing") -> AbstractContextManager[None]:
    """One writer at a time: two runs may archive one epoch at once, the second over the first."""
    if isinstance(root, Path):
        return file_lock(root / lock)
    return shared_lock(root.bucket.locks, f"{root}/{lock}")


def flush_folder(folder: Place) -> None:
    """Make a rename survive a loss of power."""
    if isinstance(folder, S3Path):  # it is kept as soon as it is answered
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
