"""The prover as one archive: the package `kernels`, byte for byte the same for everybody who has the same code."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

_FIXED_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class ProverArchive:
    """A zip of the package `kernels`, as it travels to an executor."""

    content: bytes
    digest: str
    """64 hex digits, BLAKE2s of the content."""


@lru_cache(maxsize=1)
def prover_archive() -> ProverArchive:
    """The archive of the installed package, made once a process."""
    content = pack(files("kernels"))
    return ProverArchive(content, hashlib.blake2s(content).hexdigest())


def pack(package: Traversable) -> bytes:
    """Zip the package's Python files, sorted, with one fixed date: equal files give equal bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, source in sorted(_sources(package, package.name)):
            info = zipfile.ZipInfo(name, _FIXED_DATE)
            info.external_attr = 0o644 << 16
            info.create_system = 3
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, source)
    return out.getvalue()


def _sources(folder: Traversable, path: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            found += _sources(entry, name)
        elif entry.name.endswith(".py"):
            found.append((name, entry.read_bytes()))
    return found
