"""What a lock file pins: names, versions, digests, and who asked for what. Pure.

locked(text) -> packages in the order of the file
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
LOCK = REPOSITORY / "requirements.lock"
"""All that is developed with."""
IMAGE_LOCK = REPOSITORY / "deployments/image/requirements.lock"
"""All that runs: a part of it."""
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Locked:
    """One pinned package."""

    name: str
    version: str
    marker: Marker | None
    sha256: tuple[str, ...]
    asked_by: tuple[str, ...]
    """Names of locked packages, or `compute-subnet`."""


def locked(text: str) -> tuple[Locked, ...]:
    """The packages of a lock file. ValueError for a line that is none."""
    return tuple(_package(block) for block in _blocks(text))


def _blocks(text: str) -> Iterator[list[str]]:
    """A requirement with what is indented below it."""
    block: list[str] = []
    for line in text.splitlines():
        if line.strip() and not line.startswith((" ", "#")):
            if block:
                yield block
            block = []
        if line.strip():
            block.append(line)
    if block:
        yield block


def _package(block: list[str]) -> Locked:
    wanted = Requirement(block[0].rstrip(" \\"))
    (pin,) = wanted.specifier
    if pin.operator != "==":
        raise ValueError(f"{wanted} is not pinned")
    comments = [line.strip(" #") for line in block[1:] if line.lstrip().startswith("#")]
    asked_by = [word.removeprefix("via").strip() for word in comments]
    return Locked(
        canonicalize_name(wanted.name),
        pin.version,
        wanted.marker,
        tuple(_HASH.findall("\n".join(block))),
        tuple(canonicalize_name(name.partition(" (")[0]) for name in asked_by if name),
    )
