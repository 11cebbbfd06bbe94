"""The machine around the cards: processor, memory, operating system, kernel, uptime."""

from __future__ import annotations

import re
from dataclasses import dataclass

from storage.records import Severity
from tasks.inspection.facts.fact import Fact
from tasks.inspection.facts.text import Unreadable, decimal, rows, shown, whole
from tasks.inspection.output import Command

MAX_CPUS = 4_096

_KERNEL = re.compile(r"[!-~]{1,32} [!-~]{1,64} [!-~]{1,32}")


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor's name, None when the kernel gives none, and the number of logical CPUs."""

    model: str | None
    count: int


@dataclass(frozen=True, slots=True)
class OsRelease:
    """ID and VERSION_ID of os-release; a rolling distribution has no version."""

    id: str
    version: str | None


def parse_cpu(text: str) -> Cpu | Unreadable:
    """/proc/cpuinfo's lines of processor and name -> Cpu(model='AMD EPYC 7763 64-Core Processor', count=128)."""
    lines = rows(text, 4 * MAX_CPUS)
    if isinstance(lines, Unreadable):
        return lines
    pairs = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]
    count = len(
        {n for key, value in pairs if key == "processor" and (n := whole(value, MAX_CPUS)) is not None}
    )
    if not count or count > MAX_CPUS:
        return Unreadable(f"{count} processors")
    said = dict(reversed(pairs))
    name = said.get("model name") or _arm(said)
    return Cpu(shown(name, 80) if name else None, count)


def parse_memory(text: str) -> int | Unreadable:
    """/proc/meminfo -> MemTotal in bytes: 135057317888."""
    found = re.search(r"^MemTotal: {1,20}([0-9]{1,14}) kB$", text, re.MULTILINE)
    kib = whole(found[1], 1 << 40) if found else None
    return Unreadable("no MemTotal in kB") if kib is None else kib << 10


def parse_os(text: str) -> OsRelease | Unreadable:
    """/etc/os-release -> OsRelease(id='ubuntu', version='22.04')."""
    lines = rows(text, 128)
    if isinstance(lines, Unreadable):
        return lines
    said = {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}
    if not re.fullmatch(r"[a-z0-9._-]{1,32}", said.get("ID", "")):
        return Unreadable(f"ID is {shown(said.get('ID', ''), 40)!r}")
    version = said.get("VERSION_ID", "")
    return OsRelease(said["ID"], version if re.fullmatch(r"[A-Za-z0-9._+-]{1,32}", version) else None)


def parse_kernel(text: str) -> str | Unreadable:
    """`uname -s -r -m` -> 'Linux 5.15.0-91-generic x86_64'."""
    line = text.strip()
    if not _KERNEL.fullmatch(line):
        return Unreadable(f"not a system, release and machine: {shown(text, 100)!r}")
    return line


def parse_uptime(text: str) -> float | Unreadable:
    """/proc/uptime -> seconds since boot: 1209600.42."""
    line = rows(text, 1)
    seconds = decimal(line[0].split(" ", 1)[0], 1e10) if isinstance(line, list) and line else None
    return Unreadable(f"no seconds: {shown(text, 40)!r}") if seconds is None else seconds


def _arm(said: dict[str, str]) -> str | None:
    """ARM kernels name no model: implementer and part stand for it, 0x41 0xd4f is Neoverse V2 (Grace)."""
    maker, part = said.get("CPU implementer"), said.get("CPU part")
    return f"ARM implementer {maker} part {part}" if maker and part else None


CPU = Fact(
    Command(
        "cpu",
        "grep -E '^(processor|model name|CPU implementer|CPU part)' /proc/cpuinfo",
        timeout_s=5,
        limit_bytes=256 << 10,
    ),
    parse_cpu,
    Severity.WARN,
)
MEMORY = Fact(
    Command("memory", "cat /proc/meminfo", timeout_s=5, limit_bytes=16 << 10), parse_memory, Severity.FAIL
)
OS_RELEASE = Fact(
    Command("os_release", "cat /etc/os-release", timeout_s=5, limit_bytes=8 << 10), parse_os, Severity.WARN
)
KERNEL = Fact(
    Command("kernel", "uname -s -r -m", timeout_s=5, limit_bytes=1 << 10), parse_kernel, Severity.FAIL
)
UPTIME = Fact(
    Command("uptime", "cat /proc/uptime", timeout_s=5, limit_bytes=256), parse_uptime, Severity.WARN
)
