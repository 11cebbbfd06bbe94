"""The machine's network interfaces."""

from __future__ import annotations

import re

from storage.records import Severity
from tasks.inspection.facts.fact import Fact
from tasks.inspection.facts.text import Unreadable, rows
from tasks.inspection.output import Command

MAX_SHOWN = 64

_INTERFACE = re.compile(r"([A-Za-z0-9_.@-]{1,15}):")


def parse_interfaces(text: str) -> tuple[str, ...] | Unreadable:
    """/proc/net/dev -> ('eno1', 'docker0'): at most 64, each once, without loopback and the containers' own ends."""
    lines = rows(text, 4_096)
    if isinstance(lines, Unreadable):
        return lines
    if not lines or not lines[0].startswith("Inter-|"):
        return Unreadable("no header of /proc/net/dev")
    names = [match[1] for line in lines[2:] if (match := _INTERFACE.match(line))]
    return tuple(x for x in dict.fromkeys(names) if x != "lo" and not x.startswith("veth"))[:MAX_SHOWN]


INTERFACES = Fact(
    Command("interfaces", "cat /proc/net/dev", timeout_s=5, limit_bytes=512 << 10),
    parse_interfaces,
    Severity.WARN,
)
