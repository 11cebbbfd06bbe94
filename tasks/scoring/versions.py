"""Versions of drivers as numbers that compare."""

from __future__ import annotations

import re
from functools import lru_cache

_VERSION = re.compile(r"(\d{1,4})(?:\.(\d{1,4}))?(?:\.(\d{1,4}))?")


@lru_cache(maxsize=1_024)
def version_number(text: str) -> int:
    """580.65.06 as 580_0065_0006; 0 for what is no version."""
    found = _VERSION.fullmatch(text.strip()[:20])
    if found is None:
        return 0
    major, minor, patch = (int(part or 0) for part in found.groups())
    return (major * 10_000 + minor) * 10_000 + patch
