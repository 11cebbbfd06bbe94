"""The processes of a system, found by its folder in their environment and by whose children they are, each with a role.

A process whose role nobody has named yet is called by its module or its program, and by whose child it is: what is new in the
system is killed too, without a word here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

OWNER, FLOW, MACHINES, ENGINE = "subnet up", "flow process", "miners and machines", "container engine"
ROLES: tuple[tuple[str, str], ...] = (
    ("-m deployments.prefect_process server", "Prefect server"),
    ("-m deployments.flow_worker", "renting worker"),
    ("-m prefect worker", "epochs' worker"),
    ("-m prefect.engine", FLOW),
    ("-m prefect.runner._workspace_supervisor", FLOW),
    ("-m deployments.marketplace.serve", "marketplace"),
    ("-m deployments.localnet.world", MACHINES),
    ("bin/subnet up", OWNER),
    ("/unshare ", ENGINE),
    ("dockerd ", ENGINE),
    ("bin/sshd", "SSH server"),
)
CHILDREN: Mapping[str, str] = {FLOW: "child of a flow process", MACHINES: "session on a machine"}
SPARED = frozenset({"docker-proxy"})
"""Of the local subnet alone: its engine has no netfilter to publish ports with, and begins none of these again."""


@dataclass(frozen=True, slots=True)
class Process:
    """One that lives."""

    pid: int
    parent: int
    command: str
    role: str = ""


def processes_of(folder: Path, spared: Iterable[int] = (), proc: Path = Path("/proc")) -> list[Process]:
    """All that belong to the system of this folder, in the order of their ids; this process and those spared are none of them."""
    every = {one.pid: one for one in map(_read, proc.iterdir()) if one is not None}
    left = {os.getpid(), *spared}
    ours = {pid for pid in every if _names(proc / str(pid), folder)} - left
    found = []
    for pid, one in sorted(every.items()):
        line = [pid, *_ancestors(pid, every)]
        if pid not in left and any(p in ours for p in line):
            found.append(Process(pid, one.parent, one.command, _role_of(one, every)))
    return found


def processes_under(root: int, proc: Path = Path("/proc")) -> list[Process]:
    """All that descend from one process, without itself."""
    every = {one.pid: one for one in map(_read, proc.iterdir()) if one is not None}
    below = [one for pid, one in sorted(every.items()) if root in _ancestors(pid, every)]
    return [
        Process(one.pid, one.parent, one.command, f"{_role_of(one, every)} on a bare machine")
        for one in below
    ]


def killable(found: Iterable[Process]) -> dict[str, list[Process]]:
    """Those that a fault may hit, by role; the owner is no prey of single kills."""
    by_role: dict[str, list[Process]] = {}
    for one in found:
        if one.role not in SPARED and one.role != OWNER:
            by_role.setdefault(one.role, []).append(one)
    return dict(sorted(by_role.items()))


def _read(entry: Path) -> Process | None:
    if not entry.name.isdigit():
        return None
    try:
        fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    return (
        None if fields[0] in {"Z", "X"} or not command else Process(int(entry.name), int(fields[1]), command)
    )


def _names(entry: Path, folder: Path) -> bool:
    """Whether its environment has the folder, or a path in it."""
    try:
        told = (entry / "environ").read_bytes()
    except OSError:
        return False
    return any(os.fsencode(folder) + end in told for end in (b"\0", b"/"))


def _ancestors(pid: int, every: Mapping[int, Process]) -> list[int]:
    line: list[int] = []
    while (one := every.get(pid)) is not None and one.parent not in line and one.parent > 1:
        pid = one.parent
        line.append(pid)
    return line


def _role_of(one: Process, every: Mapping[int, Process]) -> str:
    if named := _named(one.command):
        return named
    for pid in _ancestors(one.pid, every):
        if pid in every and (role := CHILDREN.get(_named(every[pid].command))):
            return role
    return _called(one.command)


def _named(command: str) -> str:
    return next((role for sign, role in ROLES if sign in f"{command} "), "")


def _called(command: str) -> str:
    """By the module that Python runs, else by the program."""
    words = command.split()
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1]
    program = Path(words[0]).name
    script = next((w for w in words[1:] if not w.startswith("-")), "")
    return f"{program} {Path(script).name}" if program.startswith("python") and script else program
