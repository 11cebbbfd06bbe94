"""A fact: one constant command and the pure parser of what it prints. Asking and understanding are two things."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from storage.records import Severity
from tasks.inspection.facts.text import Unreadable, shown
from tasks.inspection.output import Command, FactOutput

Shape_co = TypeVar("Shape_co", covariant=True)

NEVER_ENDED = -1
TIMED_OUT = 124
NOT_FOUND = 127


@dataclass(frozen=True, slots=True)
class Fact(Generic[Shape_co]):
    """What to ask, how to understand it, and what it means when it can't be understood."""

    command: Command
    parse: Callable[[str], Shape_co | Unreadable]
    """Total: answers for every string; its docstring shows the parsed shape."""
    severity: Severity
    """Of the reason when the machine answered and it can't be read."""
    accepted_exit_codes: tuple[int, ...] = (0,)

    def read(self, output: FactOutput | None) -> Shape_co | Unreadable:
        """The value, or why there is none."""
        if output is None or output.exit_code == NEVER_ENDED:
            return Unreadable("the command never answered", is_silent=True)
        if output.exit_code == TIMED_OUT:
            return Unreadable(f"stopped after {self.command.timeout_s:g} s", TIMED_OUT)
        if output.exit_code not in self.accepted_exit_codes:
            return Unreadable(f"exit code {output.exit_code}: {_complaint(output)}", output.exit_code)
        if output.truncated or len(output.stdout) > self.command.limit_bytes:
            return Unreadable(f"more than {self.command.limit_bytes} bytes", output.exit_code)
        if b"\0" in output.stdout:  # UTF-16, which an XML parser would take as well, or a broken pipe
            return Unreadable("NUL bytes, which no text has", output.exit_code)
        return self.parse(output.stdout.decode("utf-8", "replace"))


def _complaint(output: FactOutput) -> str:
    """The first line in which the command says what is wrong; nvidia-smi says it on stdout."""
    for stream in (output.stderr, output.stdout):
        text = stream[:4_096].decode("utf-8", "replace").strip()
        if text:
            return shown(text.split("\n", 1)[0])
    return "nothing said"
