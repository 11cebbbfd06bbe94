"""Foreign text made harmless for a terminal: what a machine, a renter or a server says moves no cursor."""

from __future__ import annotations

DOT = "\N{MIDDLE DOT}"


def printable(text: str, limit: int = 300) -> str:
    """One line of printable characters, dots for the others, and not too many."""
    return "".join(c if c.isprintable() else DOT for c in text[:limit])


def printable_lines(text: str) -> str:
    """The same for text of many lines, at any length: newlines and tabs stay, carriage returns before newlines go."""
    kept = text.replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" else DOT for c in kept)
