"""The text by which a hotkey's owner opens the pages of a marketplace in one browser: asked for there, signed here.

    subnet sign-in/1 | https://market.example | hotkey 5F... | nonce 9c... | from 2026-11-27T07:20:00Z | until
    2026-11-27T07:25:00Z | shows this hotkey's pages in one browser for twelve hours, and moves nothing

One line of plain characters, so that it survives a shell and a clipboard. Its beginning keeps it apart from everything else
that hotkeys sign; whoever signs by our command signs nothing but such a text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

LASTS = timedelta(minutes=5)
MOST = 1_000
"""Characters."""
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_END = "shows this hotkey's pages in one browser for twelve hours, and moves nothing"
_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
ORIGIN = r"https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::[0-9]{1,5})?"
_FORM = re.compile(
    rf"subnet sign-in/1 \| (?P<origin>{ORIGIN}) \| hotkey (?P<hotkey>5[1-9A-HJ-NP-Za-km-z]{{47}}) "
    rf"\| nonce (?P<nonce>[A-Za-z0-9_-]{{16,128}}) \| from (?P<issued>{_MOMENT}) \| until (?P<ends>{_MOMENT}) "
    rf"\| {re.escape(_END)}",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class SignIn:
    """What is asked of a hotkey's owner."""

    origin: str
    """Scheme, host and port of the marketplace, as the browser has them."""
    hotkey: str
    """SS58."""
    nonce: str
    issued_at: datetime
    """UTC, whole seconds."""

    @property
    def ends_at(self) -> datetime:
        """It opens nothing from then on."""
        return self.issued_at + LASTS

    @property
    def text(self) -> str:
        """What is signed."""
        return (
            f"subnet sign-in/1 | {self.origin} | hotkey {self.hotkey} | nonce {self.nonce} "
            f"| from {self.issued_at:{_TIME}} | until {self.ends_at:{_TIME}} | {_END}"
        )


def read_sign_in(text: str) -> SignIn | None:
    """The request in this text; None when it is anything else, be it by one character."""
    found = _FORM.fullmatch(text) if len(text) <= MOST else None
    if found is None:
        return None
    try:
        issued_at = datetime.strptime(found["issued"], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    asked = SignIn(found["origin"], found["hotkey"], found["nonce"], issued_at)
    return asked if asked.text == text else None
