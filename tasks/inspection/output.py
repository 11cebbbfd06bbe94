"""What is asked of a machine, and what it printed: the seam between the SSH side and the parsers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One constant command of the inspection, with its budget of time and bytes."""

    name: str
    """[a-z_]+, unique among the commands of an inspection."""
    command: str
    """A constant script for POSIX sh, of one line or a few; never put together from foreign text."""
    timeout_s: float
    limit_bytes: int
    """Of stdout; what comes after it is cut and `FactOutput.truncated` says so."""


@dataclass(frozen=True, slots=True)
class FactOutput:
    """What one command printed; every byte of it is the machine's own word."""

    name: str
    """The `Command.name` that it answers."""
    exit_code: int
    """As the shell has it: 127 not found, 124 stopped at its time limit, -1 never ended."""
    stdout: bytes
    stderr: bytes
    duration_s: float
    truncated: bool
    """Whether stdout or stderr went over its limit and was cut."""
