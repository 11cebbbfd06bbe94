"""Challenges: each is for one purpose and one browser, lives five minutes, and is taken once.

    challenge = random, when, keyed digest of (random, when, purpose, what the browser's cookie holds)

Nothing is kept of one that is made: asking for many fills nothing. Those that were taken are kept until they would have ended.
"""

from __future__ import annotations

import hmac
import math
import secrets
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from deployments.marketplace.problems import Refused

LASTS = timedelta(minutes=5)
MOST_TAKEN = 50_000
"""When so many were taken within five minutes none is taken until the first of them would have ended."""
_RANDOM, _WHEN, _DIGEST = 16, 5, 24
_CHARACTERS = (_RANDOM + _WHEN + _DIGEST) * 4 // 3


@dataclass(frozen=True, slots=True)
class Challenge:
    """One that was made here."""

    text: str
    """URL-safe."""
    issued_at: datetime
    """UTC, whole seconds."""


class Challenges:
    """Makes them and takes them; those of an earlier process are none."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now, self._key = now, secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._taken: OrderedDict[str, datetime] = OrderedDict()

    def new(self, purpose: str, browser: str) -> Challenge:
        """One for this purpose, and for the browser whose cookie holds this."""
        issued_at = self._now().replace(microsecond=0)
        body = secrets.token_bytes(_RANDOM) + round(issued_at.timestamp()).to_bytes(_WHEN, "big")
        made = body + self._digest(body, purpose, browser)
        return Challenge(urlsafe_b64encode(made).decode("ascii"), issued_at)

    def read(self, text: str, purpose: str, browser: str) -> Challenge | None:
        """The challenge, if it is one of ours for this purpose and this browser, which lives and was not taken yet."""
        try:
            made = urlsafe_b64decode(text.encode("ascii")) if len(text) == _CHARACTERS else b""
        except (Error, UnicodeEncodeError):
            return None
        if (
            urlsafe_b64encode(made).decode("ascii") != text
        ):  # the same bytes by other characters were another one
            return None
        body, digest = made[: _RANDOM + _WHEN], made[_RANDOM + _WHEN :]
        if not browser or not hmac.compare_digest(digest, self._digest(body, purpose, browser)):
            return None
        issued_at = datetime.fromtimestamp(int.from_bytes(body[_RANDOM:], "big"), UTC)
        if self._now() >= issued_at + LASTS or text in self._taken:
            return None
        return Challenge(text, issued_at)

    def take(self, challenge: Challenge) -> bool:
        """Use it up, once what came with it holds; False when somebody was faster. Refused when too many were."""
        now = self._now()
        with self._lock:
            while self._taken and next(iter(self._taken.values())) <= now:
                self._taken.popitem(last=False)
            if challenge.text in self._taken:
                return False
            if len(self._taken) >= MOST_TAKEN:
                raise _full(next(iter(self._taken.values())) - now)
            self._taken[challenge.text] = now + LASTS
            return True

    def _digest(self, body: bytes, purpose: str, browser: str) -> bytes:
        told = body + f"{purpose}\n{browser}".encode()
        return blake2b(told, digest_size=_DIGEST, key=self._key).digest()


def _full(wait: timedelta) -> Refused:
    wait_s = math.ceil(wait.total_seconds())
    return Refused(
        429,
        "TOO_MANY_SIGN_INS",
        "too many people have signed in within the last minutes",
        f"wait {wait_s} seconds, then send it again",
        headers={"Retry-After": str(wait_s)},
    )
