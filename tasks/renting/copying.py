"""Copies of a lease's data, byte for byte: a tar stream of a volume or a folder, kept in a file with its digest.

    back_up    volume or folder -> FOLDER/<backup>.tar, whole or not at all
    restore    the same bytes -> a volume or folder, of this lease or another of the same renter

The file's name is the operation's: a run that was killed half-way is begun again in the same place.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from storage.errors import StorageError
from storage.rental import Backup, Operation, Rental, RentalState
from tasks.edges.bounded import Bounds
from tasks.errors import MoveRefused, SpecRefused, VolumeRefused
from tasks.renting.jobs import Job
from tasks.renting.making import site_of
from tasks.renting.provisioning import come

PIECE_BYTES = 1 << 18
WRITING, KEPT, FAILED = "writing", "kept", "failed"
_TAR_MARGIN_BYTES = 1 << 20
LEAST_FREE_BYTES = 1 << 30
"""Of the disk that backups are on."""


async def back_up(job: Job, operation: Operation) -> dict[str, object]:
    """Keep what lies there now; the backup's name, size and digest."""
    _check_standing(job.lease)
    source = _argument(operation, "source")
    path = place_of(job.lease, source)
    lease, market = job.lease, job.market
    backup = Backup(
        backup_name(operation), lease.lease_id, lease.renter_id, source, market.now(), state=WRITING
    )
    await market.call(lambda: market.backups.save(backup))
    job.undo.append(("backup", partial(_fail, job, backup)))
    await _come_wide(job)
    whole = await job.step("backup", market.policy.renting.backup_s, partial(_write, job, backup, path))
    await market.call(lambda: market.backups.save(whole))
    return {"backup_id": whole.backup_id, "size_bytes": whole.size_bytes, "blake2b": whole.blake2b}


async def restore(job: Job, operation: Operation) -> dict[str, object]:
    """Write a backup back: what is in it replaces what lies there by its names, and nothing else is touched."""
    _check_standing(job.lease)
    name, target = _argument(operation, "backup_id"), _argument(operation, "target")
    backup = await job.market.call(lambda: job.market.backups.get(name))
    if backup is None or backup.renter_id != job.lease.renter_id or backup.state != KEPT:
        raise SpecRefused("backup_id", name, "a backup of yours that is whole")
    path = place_of(job.lease, target)
    await _come_wide(job)
    await job.step("restore", job.market.policy.renting.backup_s, partial(_read, job, backup, path))
    return {"backup_id": name, "size_bytes": backup.size_bytes}


def backup_name(operation: Operation) -> str:
    """One operation makes one backup, however often it is begun."""
    return f"backup-{operation.operation_id.rpartition('-')[2]}"


def file_of(folder: Path, backup_id: str) -> Path:
    """The file of a whole backup."""
    return folder / f"{backup_id}.tar"


def place_of(lease: Rental, source: str) -> str:
    """Where in the container `volume:<name>` or `path:</absolute>` is; SpecRefused for what is neither."""
    kind, _, name = source.partition(":")
    if kind == "volume":
        at = next((mount.at for mount in lease.pod.mounts if mount.volume == name), None)
        if at is not None:
            return at.rstrip("/")
    path = PurePosixPath(name)
    if kind != "path" or not path.is_absolute() or ".." in path.parts or len(path.parts) < 2 or "\0" in name:
        raise SpecRefused("source", source, "volume:<name of one that is mounted> or path:</absolute path>")
    return str(path)


def _write(job: Job, backup: Backup, path: str, deadline: float) -> Backup:
    """Stream it into a draft, and give it its name when every byte is on the disk."""
    market = job.market
    whole = file_of(market.backup_folder, backup.backup_id)
    draft = whole.with_suffix(".partial")
    digest = hashlib.blake2b(digest_size=32)
    engine, name = site_of(job).engine(deadline), _container(job.lease)
    try:
        market.backup_folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            write = partial(_keep, file, digest.update)
            limit = market.policy.renting.backup_most_bytes
            size = engine.backup(name, path, write, limit_bytes=limit, deadline=deadline)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(whole)
    except OSError as error:
        raise StorageError(f"the backup can't be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return replace(backup, size_bytes=size, blake2b=digest.hexdigest(), state=KEPT)


def _keep(file: IO[bytes], update: Callable[[bytes], object], piece: bytes) -> None:
    keep_room(file)
    update(piece)
    file.write(piece)


def keep_room(file: IO[bytes], least_free_bytes: int = LEAST_FREE_BYTES) -> None:
    """StorageError when the disk of this file is all but full: what else is on it, as our books, must go on."""
    disk = os.fstatvfs(file.fileno())
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < least_free_bytes:
        raise StorageError(f"the disk of the backups has {free_bytes} bytes left")


def _read(job: Job, backup: Backup, path: str, deadline: float) -> None:
    """Send the very bytes to the root; where the folder is elsewhere than it was, the archive's names are made to fit."""
    file = file_of(job.market.backup_folder, backup.backup_id)
    _check_digest(file, backup)
    engine, name = site_of(job).engine(deadline), _container(job.lease)
    target = path.lstrip("/")
    try:
        with file.open("rb") as archive:
            pieces = _pieces(archive) if _top_of(file) == target else renamed(archive, target)
            engine.restore(name, "/", pieces, deadline=deadline)
    except (OSError, tarfile.TarError) as error:
        raise VolumeRefused("restore", "REFUSED", f"the backup can't be read: {error}") from error


def _check_digest(file: Path, backup: Backup) -> None:
    digest = hashlib.blake2b(digest_size=32)
    try:
        with file.open("rb") as archive:
            for piece in _pieces(archive):
                digest.update(piece)
    except OSError as error:
        raise StorageError(f"backup {backup.backup_id} can't be read: {error.strerror}") from error
    if digest.hexdigest() != backup.blake2b:
        raise StorageError(f"backup {backup.backup_id} is damaged: its digest is another")


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece


def _top_of(file: Path) -> str:
    """The folder that all of an archive's names begin with."""
    with tarfile.open(file, "r:") as archive:
        first = archive.next()
    return "" if first is None else PurePosixPath(first.name).parts[0]


def renamed(file: IO[bytes], name: str) -> Iterator[bytes]:
    """An archive with another path at its top, piece by piece: what is in it stays byte for byte."""
    sink = _Sink()
    with (
        tarfile.open(fileobj=file, mode="r|") as old,
        tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as new,  # type: ignore[call-overload]
    ):
        for member in old:
            inside = PurePosixPath(member.name).parts[1:]
            member.name = str(PurePosixPath(name, *inside))
            if member.islnk():
                member.linkname = str(PurePosixPath(name, *PurePosixPath(member.linkname).parts[1:]))
            content = old.extractfile(member) if member.isreg() else None
            new.addfile(member, content)
            yield from sink.take()
    yield from sink.take()


class _Sink:
    """What a tar writer has written and nobody has taken yet."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def take(self) -> Iterator[bytes]:
        pieces, self._pieces = self._pieces, []
        yield from pieces


async def _fail(job: Job, backup: Backup, _: float) -> None:
    await job.market.call(lambda: job.market.backups.save(replace(backup, state=FAILED)))


async def _come_wide(job: Job) -> None:
    """A session that much data may go through."""
    await job.leave()
    policy = job.market.policy.renting
    most = 2 * policy.backup_most_bytes + _TAR_MARGIN_BYTES
    wide = Bounds(
        receive_budget_bytes=most,
        packet_budget=most // 1_024 + 100_000,
        read_budget=most // 512 + 100_000,
        lifetime_s=policy.backup_s + policy.enter_s,
    )
    await come(job, wide)


def _container(lease: Rental) -> str:
    assert lease.access is not None, "a lease that stands was handed over"
    return lease.access.container


def arguments_of(operation: Operation) -> Mapping[str, object]:
    """What was asked; SpecRefused when it is no JSON object."""
    try:
        arguments = json.loads(operation.arguments)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise SpecRefused("arguments", operation.arguments[:60], "a JSON object")
    return arguments


def _argument(operation: Operation, name: str) -> str:
    value = arguments_of(operation).get(name)
    if not isinstance(value, str):
        raise SpecRefused(name, "nothing", "a text")
    return value


def _check_standing(lease: Rental) -> None:
    if lease.state not in (RentalState.ACTIVE, RentalState.STOPPED):
        raise MoveRefused(lease.lease_id, lease.state.value, "copied")
