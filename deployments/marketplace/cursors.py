"""Where a page ended, as a text that only we read: the values that its last item was sorted by."""

from __future__ import annotations

import base64
import binascii
import json

from deployments.marketplace.problems import Refused

MAX_CHARACTERS = 400
PATTERN = r"^[A-Za-z0-9_-]*$"
"""Empty: from the begin."""


def encode(*values: str | float) -> str:
    """The cursor of an item that is sorted by these."""
    return base64.urlsafe_b64encode(json.dumps(values, ensure_ascii=False).encode()).decode().rstrip("=")


def decode(cursor: str, *kinds: type) -> tuple[str | float, ...]:
    """The values, one of each kind; Refused for what we have not made."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        values = None
    if (
        not isinstance(values, list)
        or len(values) != len(kinds)
        or not all(type(value) is kind for value, kind in zip(values, kinds, strict=True))
    ):
        raise Refused(
            422, "BAD_CURSOR", "this cursor is none of ours", "send `next_cursor` of a page as it is, or none"
        )
    return tuple(values)
