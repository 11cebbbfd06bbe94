"""The container engine, Docker or Podman, and the OCI runtimes that it offers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from storage.records import Severity
from tasks.inspection.facts.fact import Fact
from tasks.inspection.facts.text import Unreadable, shown
from tasks.inspection.output import Command

MAX_RUNTIMES = 32

_VERSION = re.compile(r"[0-9][A-Za-z0-9.+~-]{0,39}")
_RUNTIME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine that answers."""

    name: str
    version: str
    runtimes: tuple[str, ...]
    """Sorted: ('io.containerd.runc.v2', 'nvidia', 'runc', 'sysbox-runc')."""


def parse_docker(text: str) -> Engine | Unreadable:
    """`docker info` -> Engine(name='docker', version='28.2.2', runtimes=('nvidia', 'runc', 'sysbox-runc'))."""
    return _engine("docker", text)


def parse_podman(text: str) -> Engine | Unreadable:
    """`podman info` -> Engine(name='podman', version='4.9.3', runtimes=('crun',))."""
    return _engine("podman", text)


def _engine(name: str, text: str) -> Engine | Unreadable:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return Unreadable(f"no JSON: {shown(text, 60)!r}")
    if not isinstance(said, dict):
        return Unreadable("no JSON object")
    version, runtimes = said.get("version"), said.get("runtimes")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        # Only a text is shown: another value may be as deep as the parser goes.
        told = repr(shown(version, 40)) if isinstance(version, str) else f"a {type(version).__name__}"
        return Unreadable(f"version is {told}")
    # Docker answers a mapping of name -> path, Podman the one name it uses.
    names = [runtimes] if isinstance(runtimes, str) else list(runtimes) if isinstance(runtimes, dict) else []
    if len(names) > MAX_RUNTIMES or not all(_RUNTIME.fullmatch(x) for x in names):
        return Unreadable("runtimes that are none")
    return Engine(name, version, tuple(sorted(names)))


DOCKER = Fact(
    Command(
        "docker",
        """docker info --format '{"version":{{json .ServerVersion}},"runtimes":{{json .Runtimes}}}'""",
        timeout_s=15,
        limit_bytes=16 << 10,
    ),
    parse_docker,
    Severity.WARN,
)
PODMAN = Fact(
    Command(
        "podman",
        """podman info --format '{"version":{{json .Version.Version}},"runtimes":{{json .Host.OCIRuntime.Name}}}'""",
        timeout_s=15,
        limit_bytes=16 << 10,
    ),
    parse_podman,
    Severity.WARN,
)
