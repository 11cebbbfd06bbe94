"""Reading hostile text: bounded, total, and never more than what was looked for.

Every function answers for every string: a value, None, or `Unreadable`. Numbers are plain decimal digits, so nan, inf,
1e400, -1 and [N/A] are simply no numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SHOWN = 120
"""Characters of foreign text that a reason or a table shows at most."""

_LINE = re.compile(r"[^\n]+")
_WHOLE = re.compile(r"[0-9]{1,15}")
_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What a parser answers when the text is not what its command prints."""

    why: str
    """One clause that can be shown."""
    exit_code: int | None = None
    """Of the command, when that is what was wrong."""
    is_silent: bool = False
    """Whether the command never answered, so that nothing is known."""


def shown(text: str, limit: int = SHOWN) -> str:
    """Foreign text as one printable ASCII line of at most `limit` characters, control characters gone."""
    plain = "".join(c if " " <= c <= "~" else " " if c.isspace() else "" for c in text[: 4 * limit])
    line = " ".join(plain.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def rows(text: str, max_rows: int, max_row: int = 1_024) -> list[str] | Unreadable:
    """The lines that are not blank, stripped; nothing is kept of those beyond the first too many."""
    found: list[str] = []
    for line in _LINE.finditer(text):
        if not (row := line[0].strip()):
            continue
        if len(row) > max_row:
            return Unreadable(f"a line of {len(row)} characters, more than {max_row}")
        if len(found) == max_rows:
            return Unreadable(f"more than {max_rows} lines")
        found.append(row)
    return found


def whole(text: str | None, ceiling: int) -> int | None:
    """A whole number from 0 to `ceiling`, or None."""
    if text is None or not _WHOLE.fullmatch(text) or int(text) > ceiling:
        return None
    return int(text)


def decimal(text: str | None, ceiling: float) -> float | None:
    """A number from 0 to `ceiling` written with digits and at most one point, or None."""
    if text is None or not _DECIMAL.fullmatch(text) or float(text) > ceiling:
        return None
    return float(text)
