"""What a renter's container is made of, checked, and the engine's arguments for it. Pure.

    ContainerSpec -> check_spec -> create(spec) = Invocation(argv, stdin)

No shell ever sees any of it: an argument vector travels as a list and is executed as one. Text of a renter stands only
where it can't be taken for an option: behind `--name=value` in one argument, or after `--`. Values of the environment
may be secrets: they go to the engine's standard input as an env file, never into an argument that `ps` shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tasks.errors import SpecRefused

LABEL = "org.compute-subnet.lease"
"""Every container and volume of ours carries it: whatever lacks it is never touched."""
SSH_PORT = 22
MAX_TEXT_BYTES = 64 * 1024
MAX_ENVIRONMENT, MAX_PORTS, MAX_VOLUMES, MAX_WORDS = 256, 32, 16, 256
MIB = 1 << 20
RESERVED_PREFIXES = ("SUBNET_", "NVIDIA_", "CUDA_VISIBLE")
"""Names of the environment that are ours: with them a renter could name other cards than its own."""

_IMAGE = re.compile(
    r"(?=.{1,512}\Z)([a-z0-9]+([.-][a-z0-9]+)*(:[0-9]{1,5})?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?\Z"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_VOLUME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_LEASE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_CARD = re.compile(r"(GPU|MIG)-[A-Za-z0-9-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the container, published on the machine."""

    inside: int
    outside: int
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class Mount:
    """A named volume of the renter, where the container sees it."""

    volume: str
    at: str


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """Everything of one container; limits are the machine's share for the lease's cards."""

    lease_id: str
    renter_id: str
    image: str
    card_uuids: tuple[str, ...]
    entrypoint: str = ""
    """Empty: the image's own."""
    words: tuple[str, ...] = ()
    """Of the command; empty: the image's own."""
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    mounts: tuple[Mount, ...] = ()
    shm_bytes: int = 64 * MIB
    memory_bytes: int = 0
    """0: no limit."""
    cpus: float = 0.0
    """0: no limit."""
    runtime: str = ""
    """OCI runtime, e.g. sysbox-runc; empty: the engine's own."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A program to run: its arguments as they are, and what it reads."""

    argv: tuple[str, ...]
    stdin: bytes = b""


def name_of(lease_id: str) -> str:
    """The container's name: one lease has one, so that making it twice fails instead of doubling it."""
    return f"subnet-{lease_id}"


def create(spec: ContainerSpec, engine: str = "docker") -> Invocation:
    """Make the container without starting it; SpecRefused for what no container can have."""
    check_spec(spec)
    argv = [
        engine,
        "create",
        f"--name={name_of(spec.lease_id)}",
        f"--label={LABEL}={spec.lease_id}",
        "--pull=never",
        "--init",
        "--restart=unless-stopped",
        "--security-opt=no-new-privileges",
        "--pids-limit=8192",
        f"--shm-size={spec.shm_bytes}",
        f'--gpus="device={",".join(spec.card_uuids)}"',
        "--env-file=/dev/stdin",
        *([f"--memory={spec.memory_bytes}"] if spec.memory_bytes else []),
        *([f"--cpus={spec.cpus:g}"] if spec.cpus else []),
        *([f"--runtime={spec.runtime}"] if spec.runtime else []),
        *(f"--publish={port.outside}:{port.inside}/{port.protocol}" for port in spec.ports),
        *(f"--mount=type=volume,source={volume_of(spec, mount)},target={mount.at}" for mount in spec.mounts),
        *([f"--entrypoint={spec.entrypoint}"] if spec.entrypoint else []),
        "--",
        spec.image,
        *spec.words,
    ]
    lines = (f"{name}={value}\n" for name, value in sorted(spec.environment.items()))
    return Invocation(tuple(argv), "".join(lines).encode())


def volume_of(spec: ContainerSpec, mount: Mount) -> str:
    """The volume's name on the machine: it outlives the lease, and its renter is in it, so that nobody can name another's."""
    return f"subnet-{spec.renter_id}.{mount.volume}"


def check_spec(spec: ContainerSpec) -> None:
    """SpecRefused, with key, value and what was expected, for the first thing that does not fit."""
    _matches("lease_id", spec.lease_id, _LEASE, "a name of a-z, 0-9 and -")
    _matches("renter_id", spec.renter_id, _LEASE, "a name of a-z, 0-9 and -")
    _matches("image", spec.image, _IMAGE, "an image such as ubuntu:22.04 or name@sha256:<64 hex digits>")
    for card in spec.card_uuids:
        _matches("card", card, _CARD, "a card's UUID")
    if not spec.card_uuids:
        raise SpecRefused("cards", "none", "at least one")
    _check_words(spec)
    _check_environment(spec.environment)
    _check_ports(spec.ports)
    _check_mounts(spec.mounts)
    _between("shm_bytes", spec.shm_bytes, MIB, 1 << 40)
    _between("memory_bytes", spec.memory_bytes, 0, 1 << 44)
    _between("cpus", spec.cpus, 0, 4_096)
    if spec.runtime not in ("", "runc", "nvidia", "sysbox-runc"):
        raise SpecRefused("runtime", spec.runtime, "runc, nvidia or sysbox-runc")


def _check_words(spec: ContainerSpec) -> None:
    _at_most("command", len(spec.words), MAX_WORDS, "words")
    for key, word in (("entrypoint", spec.entrypoint), *(("command", word) for word in spec.words)):
        _text(key, word)


def _check_environment(environment: Mapping[str, str]) -> None:
    _at_most("environment", len(environment), MAX_ENVIRONMENT, "variables")
    for name, value in environment.items():
        _matches("environment", name, _NAME, "a name of letters, digits and _")
        if name.startswith(RESERVED_PREFIXES):
            raise SpecRefused(
                "environment", name, f"a name that begins with none of {', '.join(RESERVED_PREFIXES)}"
            )
        _text(f"environment {name}", value)
        if "\n" in value or "\r" in value:
            # An env file has a line for each: the rest of the value would be another variable.
            raise SpecRefused(f"environment {name}", "a value with a line break", "a value of one line")


def _check_ports(ports: tuple[Port, ...]) -> None:
    _at_most("ports", len(ports), MAX_PORTS, "ports")
    for port in ports:
        _between("port inside", port.inside, 1, 65_535)
        _between("port outside", port.outside, 1_024, 65_535)
        if port.protocol not in ("tcp", "udp"):
            raise SpecRefused("port", port.protocol, "tcp or udp")
    for side in ("inside", "outside"):
        numbers = [(getattr(port, side), port.protocol) for port in ports]
        if len(set(numbers)) != len(numbers):
            raise SpecRefused("ports", f"one {side} twice", "each once")


def _check_mounts(mounts: tuple[Mount, ...]) -> None:
    _at_most("volumes", len(mounts), MAX_VOLUMES, "volumes")
    for mount in mounts:
        _matches("volume", mount.volume, _VOLUME, "a name of a-z, 0-9 and -")
        _text("mount", mount.at)
        path = PurePosixPath(mount.at)
        # The engine reads a mount as fields between commas; a colon is the older form's field.
        is_plain = path.is_absolute() and ".." not in path.parts and not set(mount.at) & set(',:"\n\r')
        if not is_plain or len(path.parts) < 2 or path.parts[1] in ("proc", "sys", "dev"):
            raise SpecRefused(
                "mount",
                mount.at,
                "an absolute path below /, not of /proc, /sys or /dev, without , : and quotes",
            )
    if len({mount.at for mount in mounts}) != len(mounts) or len({m.volume for m in mounts}) != len(mounts):
        raise SpecRefused("volumes", "one twice", "each once, each at a place of its own")


def _matches(key: str, value: str, pattern: re.Pattern[str], expected: str) -> None:
    if not pattern.match(value):
        raise SpecRefused(key, value, expected)


def _between(key: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise SpecRefused(key, f"{value}", f"{least:g} to {most:g}")


def _at_most(key: str, count: int, most: int, what: str) -> None:
    if count > most:
        raise SpecRefused(key, f"{count} {what}", f"at most {most}")


def _text(key: str, value: str) -> None:
    if "\0" in value:
        raise SpecRefused(key, "a text with NUL", "a text that a program can be given")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise SpecRefused(key, "half a surrogate pair", "a text in UTF-8") from None
    _at_most(key, size, MAX_TEXT_BYTES, "bytes")
