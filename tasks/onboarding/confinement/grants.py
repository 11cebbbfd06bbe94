"""A validator's key that a miner lets in for one epoch, and the line of an `authorized_keys` file that says so.

restrict,expiry-time="20261122093000Z" ssh-ed25519 AAAA... subnet:<validator hotkey>:<epoch>
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.edges.wire import blob_of_line

LINE = re.compile(
    rb'restrict,expiry-time="(?P<expiry>[0-9]{14})Z" '
    rb"(?P<key>ssh-ed25519 [A-Za-z0-9+/]{68}) "
    rb"subnet:(?P<hotkey>[1-9A-HJ-NP-Za-km-z]{48}):(?P<epoch>[0-9]{1,15})\r?\n?"
)
STAMP = "%Y%m%d%H%M%S"


@dataclass(frozen=True, slots=True)
class Grant:
    """A validator's key for one epoch, until then."""

    public_key: str
    """`ssh-ed25519 AAAA...`, nothing before or after."""
    hotkey: str
    epoch: int
    expires_at: datetime
    lease_id: str = ""
    """The lease that it is for; empty: it is for validating."""

    def line(self) -> bytes:
        """The line for the file, without its newline; ValueError when a part would not be ours again when read."""
        blob_of_line(self.public_key)
        expiry = self.expires_at.astimezone(UTC).strftime(STAMP)
        text = f'restrict,expiry-time="{expiry}Z" {self.public_key} subnet:{self.hotkey}:{self.epoch}'
        line = text.encode("ascii")
        if LINE.fullmatch(line) is None:
            raise ValueError("hotkey, epoch or expiry has another form")
        return line
