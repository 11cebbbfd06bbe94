"""Where the container engine of a local subnet is: pure, so that its machines know it whether it runs or not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

_RUN = Path("/run")


@dataclass(frozen=True, slots=True)
class EnginePlace:
    """Where the engine of one folder is."""

    folder: Path
    """What it keeps: images, containers, volumes."""
    run: Path
    """Sockets, which must have short paths."""
    bridge: str
    first_subnet: int
    """The third number of 10.222.x.0/24, if nobody else has it."""

    @property
    def host(self) -> str:
        """DOCKER_HOST of whoever is to reach it."""
        return f"unix://{self.run / 'docker.sock'}"


def place_of(folder: Path) -> EnginePlace:
    """Where the engine of a local subnet's folder is; the same for every process."""
    digest = hashlib.blake2s(str(folder.resolve()).encode(), digest_size=5).hexdigest()
    return EnginePlace(folder / "engine", _RUN / f"subnet-{digest}", f"sn{digest}", int(digest[:2], 16) % 250)
