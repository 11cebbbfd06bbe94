"""How numbers, times and foreign text stand on a page. Whatever a miner or a renter has chosen is shown as text: bounded, printable."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from urllib.parse import quote

from markupsafe import Markup, escape

MAX_CHARACTERS = 80
_CODE = Markup("<code>{}</code>")
_STEERING = re.compile(
    r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b\n]{0,512}(?:\x07|\x1b\\)|[@-Z\\^_])"
)
"""What a terminal is steered with: colours, the cursor, titles of windows."""
_WRITTEN_OVER = re.compile(r"^[^\n]*\r(?=[^\r\n])", re.MULTILINE)


def shown(text: object, most: int = MAX_CHARACTERS) -> str:
    """Foreign text: what can't be printed, marks that turn the direction of writing included, is replaced; too much is cut out of the middle."""
    plain = "".join(c if c.isprintable() else "\ufffd" for c in str(text)[: most * 8])
    if len(plain) <= most:
        return plain
    head = (most - 1) * 2 // 3
    return f"{plain[:head]}…{plain[len(plain) - (most - 1 - head) :]}"


def printed(text: str) -> str:
    """What a program has printed, to be read: what steers a terminal is left out, a line that was written over is as it was last."""
    plain = _STEERING.sub("", text).replace("\r\n", "\n")
    lines = _WRITTEN_OVER.sub("", plain).replace("\r", "").split("\n")
    return "\n".join(line if line.isprintable() else _plain(line) for line in lines)


def _plain(line: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line)


def sentence(text: str) -> str:
    """A refusal as a sentence begins."""
    return text[:1].upper() + text[1:]


def coded(text: str, most: int = MAX_CHARACTERS) -> Markup:
    """Foreign text in which what stands between two backticks is a command: `subnet miner serve`."""
    parts = shown(text, most).split("`")
    if len(parts) % 2 == 0:
        return escape("`".join(parts))
    return Markup("").join(_CODE.format(part) if at % 2 else escape(part) for at, part in enumerate(parts))


def path_of(text: str) -> str:
    """A name within an address of our own: nothing in it can end the path."""
    return quote(text, safe="/")


def share(part: float) -> str:
    """A share of 1 in percent; 100 only when it is exactly that."""
    percent = f"{100 * part:.1f}"
    return "99.9" if percent == "100.0" and part < 1 else percent


def gib(size: float) -> str:
    """Memory without needless digits."""
    return f"{size:.1f}".removesuffix(".0")


def size(count_bytes: int | None) -> str:
    """Bytes in the unit that leaves the fewest digits, of powers of 1,024; `-` where it is not known."""
    if count_bytes is None:
        return "-"
    for unit, least in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count_bytes >= least:
            return f"{count_bytes / least:.1f} {unit}"
    return f"{count_bytes} bytes"


def moment(at: datetime | None) -> str:
    """A time of day in UTC, to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "-"


def lasting(seconds: float) -> str:
    """A length of time in its two largest units: 2 h 5 min."""
    left = max(0, round(seconds))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def between(begin: datetime, end: datetime) -> str:
    """How long it was from one moment to another."""
    return lasting(max(timedelta(0), end - begin).total_seconds())
