"""A saved volume, whichever engine saved it: tar streams that differ in what their members' names begin with. Pure.

Docker's begin with `volume/`, Podman's have no beginning, and a mark of ours stands before them (a comment, which tar
reads over). Each engine takes its own form as it is, byte for byte; the other's is written anew member by member, with
everything that tar knows of it: mode, owner, time, links, extended attributes. The mode of the volume itself Podman does
not save.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from itertools import chain

from tasks.errors import VolumeRefused
from tasks.renting.blame import REFUSED

ROOT = "volume"
"""Where a helper container has the volume, and so what Docker's names begin with."""
PODMAN_MARK: bytes = tarfile.TarInfo.create_pax_global_header({"comment": "saved by podman"})
"""What we write before a stream of Podman's: without it a folder called `volume` would look like Docker's root."""
_HEAD_BYTES = 64 << 10
_PIECE_BYTES = 256 << 10


def rooted(pieces: Iterable[bytes], at: str) -> Iterator[bytes]:
    """The stream with names that begin with `at`: `volume`, or nothing; VolumeRefused, at once, for no saved volume."""
    rest = iter(pieces)
    head = bytearray()
    while len(head) < _HEAD_BYTES and (piece := next(rest, None)) is not None:
        head += piece
    is_podmans = head.startswith(PODMAN_MARK)
    if is_podmans:
        del head[: len(PODMAN_MARK)]
    try:
        with tarfile.open(fileobj=io.BytesIO(head), mode="r:") as archive:
            first = archive.next()
    except tarfile.TarError as error:
        raise VolumeRefused("restore", REFUSED, f"no tar stream: {error}") from None
    if not is_podmans and (first is None or first.name.strip("/") != ROOT):
        raise VolumeRefused("restore", REFUSED, "no stream of a saved volume")
    whole = chain([bytes(head)], rest)
    root = "" if is_podmans else ROOT
    return whole if root == at else _moved(whole, root, at)


def _moved(pieces: Iterable[bytes], root: str, at: str) -> Iterator[bytes]:
    try:
        with tarfile.open(fileobj=_Reader(pieces), mode="r|") as archive:
            for member in archive:
                if _renamed(member.name, root, at) != ".":  # the root itself is the volume, which is there
                    yield from _member(archive, member, root, at)
    except tarfile.TarError as error:
        raise VolumeRefused("restore", REFUSED, f"no tar stream: {error}") from None
    yield bytes(2 * tarfile.BLOCKSIZE)


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, root: str, at: str) -> Iterator[bytes]:
    """Its header with other names, and its content."""
    content = archive.extractfile(member) if member.isreg() else None
    member.name = _renamed(member.name, root, at)
    if member.islnk():
        member.linkname = _renamed(member.linkname, root, at)
    # What a member's own header says wins over its fields: the names there are the old ones.
    kept = {k: v for k, v in member.pax_headers.items() if k not in ("path", "linkpath", "size")}
    member.pax_headers = kept
    if member.issparse():
        member.type = tarfile.REGTYPE
    yield member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    if content is not None:
        while piece := content.read(_PIECE_BYTES):
            yield piece
        yield bytes(-member.size % tarfile.BLOCKSIZE)


def _renamed(name: str, root: str, at: str) -> str:
    inner = name.removeprefix("./").strip("/").removeprefix(root).strip("/")
    return "/".join(part for part in (at, inner) if part) or "."


class _Reader(io.RawIOBase):
    """Pieces as a file that is read once."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__()
        self._pieces, self._held = iter(pieces), b""

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes; none at the end."""
        while not self._held and (piece := next(self._pieces, None)) is not None:
            self._held = piece
        taken, self._held = self._held[:size], self._held[size:]
        return taken
