"""Files that pages load, each under a name with the digest of what is in it: kept by browsers for as long as they like.

page.css -> /static/page.1f0c2a9b3d4e.css
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType

FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, ready to be sent."""

    address: str
    media_type: str
    body: bytes
    compressed: bytes


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    digest = blake2b(body, digest_size=6).hexdigest()
    address = f"/static/{path.stem}.{digest}{path.suffix}"
    return Asset(address, _TYPES[path.suffix], body, gzip.compress(body, 9, mtime=0))


ASSETS: Mapping[str, Asset] = MappingProxyType(
    {path.name: _asset(path) for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES}
)
"""By the name that templates call it."""
BY_ADDRESS: Mapping[str, Asset] = MappingProxyType({one.address: one for one in ASSETS.values()})
