"""What a renter's container is made of, checked, and the engine's arguments for it. Pure.

    ContainerSpec -> check_spec -> create(spec, form) = Invocation(argv, stdin)

No shell ever sees any of it: an argument vector travels as a list and is executed as one. Text of a renter stands only
where it can't be taken for an option: behind `--name=value` in one argument, or after `--`. Values of the environment
may be secrets: they go to the engine's standard input as an env file, never into an argument that `ps` shows.

With a toolbox (`tasks/edges/toolbox.py`) the container starts our `init`, which keeps an SSH server up beside the
program that the renter or the image names; without one it starts that program alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Literal

from tasks.errors import SpecRefused

LABEL = "org.compute-subnet.lease"
"""Every container of ours carries it: whatever lacks it is never touched."""
ATTEMPT_LABEL = "org.compute-subnet.attempt"
VALIDATOR_LABEL = "org.compute-subnet.validator"
MACHINE_LABEL = "org.compute-subnet.machine"
SPEC_LABEL = "org.compute-subnet.spec"
RENTER_LABEL = "org.compute-subnet.renter"
VOLUME_LABEL = "org.compute-subnet.volume"
"""Every volume of ours carries it, with the name that its renter knows it by."""
SSH_PORT = 22
TOOLBOX_AT = "/opt/subnet"
"""Where a container sees the toolbox, read-only."""
MAX_TEXT_BYTES = 64 * 1024
MAX_COMMAND_BYTES, MAX_ENVIRONMENT_BYTES = 96 * 1024, 192 * 1024
"""All words and all variables together: with them a request still fits in one frame of a session."""
MAX_LINE_BYTES = 65_000
"""A variable with its name and value: engines read no longer line."""
MAX_ENVIRONMENT, MAX_PORTS, MAX_VOLUMES, MAX_WORDS = 256, 32, 16, 256
MIB = 1 << 20
RESERVED_PREFIXES = ("SUBNET_", "NVIDIA_", "CUDA_VISIBLE")
"""Names of the environment that are ours: with them a renter could name other cards than its own."""

EngineName = Literal["docker", "podman"]

# A renter's log must not fill the machine's disk; the driver is named, since others know no such limit.
_LOG_OPTIONS: Mapping[EngineName, tuple[str, ...]] = MappingProxyType(
    {
        "docker": ("--log-driver=json-file", "--log-opt=max-size=50m", "--log-opt=max-file=2"),
        "podman": ("--log-driver=k8s-file", "--log-opt=max-size=50mb"),
    }
)

_IMAGE = re.compile(
    r"(?=.{1,512}\Z)([a-z0-9]+([.-][a-z0-9]+)*(:[0-9]{1,5})?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?\Z"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_VOLUME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_LEASE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_CARD = re.compile(r"(GPU|MIG)-[A-Za-z0-9-]{1,64}\Z")
_KEY = re.compile(r"[A-Za-z0-9._/-]{0,200}\Z")
_ADDRESS = re.compile(r"([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9a-f:]{2,39}\]|)\Z")
_TOOLBOX = re.compile(r"/[A-Za-z0-9._/ +@-]{1,400}\Z")


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
    attempt: int = 1
    """Counts the tries of its lease to get a container: each has a name of its own."""
    validator_hotkey: str = ""
    executor_key: str = ""
    """The machine: engines that several machines share tell their containers and volumes apart by it."""
    publish_address: str = ""
    """Where ports are published, e.g. 127.0.1.3 or [::1]; empty: on every address of the machine."""


@dataclass(frozen=True, slots=True)
class Program:
    """What an image runs by itself."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """How the container is made on this machine."""

    engine: EngineName = "docker"
    toolbox: str = ""
    """The toolbox's folder on the machine; empty: none, and so no SSH server of ours."""
    own: Program = field(default_factory=Program)
    """The image's program: with a toolbox it is our init that has to start it."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A program to run: its arguments as they are, and what it reads."""

    argv: tuple[str, ...]
    stdin: bytes = field(default=b"", repr=False)


def name_of(lease_id: str, attempt: int = 1) -> str:
    """The container's name: one attempt of a lease has one, so that making it twice fails instead of doubling it."""
    return f"subnet-{lease_id}-{attempt}"


def create(spec: ContainerSpec, form: Form | None = None) -> Invocation:
    """Make the container without starting it; SpecRefused for what no container can have."""
    form = form or Form()
    check_spec(spec)
    _matches("toolbox", form.toolbox or "/-", _TOOLBOX, "an absolute path of letters, digits and . _ - + @ /")
    entrypoint, words = _program(spec, form)
    argv = [
        form.engine,
        "create",
        f"--name={name_of(spec.lease_id, spec.attempt)}",
        *(f"--label={name}={value}" for name, value in labels_of(spec).items()),
        "--pull=never",
        "--restart=unless-stopped",
        "--security-opt=no-new-privileges",
        "--pids-limit=8192",
        *_LOG_OPTIONS[form.engine],
        f"--shm-size={spec.shm_bytes}",
        *_card_options(spec, form.engine),
        "--env-file=/dev/stdin",
        *([f"--memory={spec.memory_bytes}"] if spec.memory_bytes else []),
        *([f"--cpus={spec.cpus:g}"] if spec.cpus else []),
        *([f"--runtime={spec.runtime}"] if spec.runtime else []),
        *(f"--publish={_published(spec, port)}" for port in spec.ports),
        *(f"--mount=type=volume,source={volume_of(spec, mount)},target={mount.at}" for mount in spec.mounts),
        *([f"--mount=type=bind,source={form.toolbox},target={TOOLBOX_AT},readonly"] if form.toolbox else []),
        # Our init brings the SSH server up and is the one that reaps; without it the engine's own init does.
        *(["--user=0:0", f"--entrypoint={TOOLBOX_AT}/busybox"] if form.toolbox else ["--init"]),
        *([f"--entrypoint={entrypoint}"] if entrypoint and not form.toolbox else []),
        "--",
        spec.image,
        *(("sh", f"{TOOLBOX_AT}/init", *words) if form.toolbox else words),
    ]
    lines = (f"{name}={value}\n" for name, value in sorted(spec.environment.items()))
    return Invocation(tuple(argv), "".join(lines).encode())


def labels_of(spec: ContainerSpec) -> dict[str, str]:
    """What its container carries: whose it is, which attempt, and a digest of what it was made of."""
    return {
        LABEL: spec.lease_id,
        ATTEMPT_LABEL: str(spec.attempt),
        VALIDATOR_LABEL: spec.validator_hotkey,
        MACHINE_LABEL: spec.executor_key,
        RENTER_LABEL: spec.renter_id,
        SPEC_LABEL: digest_of(spec),
    }


def digest_of(spec: ContainerSpec) -> str:
    """Of everything in it: the same container and no other has it."""
    told = {**asdict(spec), "environment": dict(spec.environment)}
    return hashlib.blake2s(json.dumps(told, sort_keys=True).encode(), digest_size=16).hexdigest()


def volume_of(spec: ContainerSpec, mount: Mount) -> str:
    """The volume's name on the machine."""
    return volume_name(spec.renter_id, mount.volume, spec.executor_key)


def volume_name(renter_id: str, volume: str, executor_key: str = "") -> str:
    """It outlives the lease, and its renter is in it, so that nobody can name another's; SpecRefused for no name."""
    _matches("renter_id", renter_id, _LEASE, "a name of a-z, 0-9 and -")
    _matches("volume", volume, _VOLUME, "a name of a-z, 0-9 and -")
    machine = hashlib.blake2s(executor_key.encode(), digest_size=4).hexdigest() if executor_key else ""
    return f"subnet-{renter_id}.{volume}" + (f".{machine}" if machine else "")


def _program(spec: ContainerSpec, form: Form) -> tuple[str, tuple[str, ...]]:
    """The entrypoint to give to the engine and the words behind the image: with a toolbox they name the whole program."""
    if not form.toolbox:
        return spec.entrypoint, spec.words
    # As engines do it: with another entrypoint the image's own command goes, too.
    entrypoint = (spec.entrypoint,) if spec.entrypoint else form.own.entrypoint
    command = spec.words or (() if spec.entrypoint else form.own.command)
    return "", (*entrypoint, *command)


def _card_options(spec: ContainerSpec, engine: EngineName) -> list[str]:
    if engine == "podman":
        return [f"--device=nvidia.com/gpu={card}" for card in spec.card_uuids]
    return [f'--gpus="device={",".join(spec.card_uuids)}"']


def _published(spec: ContainerSpec, port: Port) -> str:
    address = f"{spec.publish_address}:" if spec.publish_address else ""
    return f"{address}{port.outside}:{port.inside}/{port.protocol}"


def check_spec(spec: ContainerSpec) -> None:
    """SpecRefused, with key, value and what was expected, for the first thing that does not fit."""
    _matches("lease_id", spec.lease_id, _LEASE, "a name of a-z, 0-9 and -")
    _matches("renter_id", spec.renter_id, _LEASE, "a name of a-z, 0-9 and -")
    _matches("image", spec.image, _IMAGE, "an image such as ubuntu:22.04 or name@sha256:<64 hex digits>")
    for card in spec.card_uuids:
        _matches("card", card, _CARD, "a card's UUID")
    if not spec.card_uuids:
        raise SpecRefused("cards", "none", "at least one")
    _between("attempt", spec.attempt, 1, 1_000_000)
    _matches("validator", spec.validator_hotkey, _KEY, "a hotkey's address")
    _matches("machine", spec.executor_key, _KEY, "a machine's key")
    _matches("publish address", spec.publish_address, _ADDRESS, "an IPv4 address, or an IPv6 one in brackets")
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
    _at_most("command", sum(len(word.encode()) for word in spec.words), MAX_COMMAND_BYTES, "bytes")


def _check_environment(environment: Mapping[str, str]) -> None:
    _at_most("environment", len(environment), MAX_ENVIRONMENT, "variables")
    for name, value in environment.items():
        _matches("environment", name, _NAME, "a name of letters, digits and _")
        if name.startswith(RESERVED_PREFIXES):
            raise SpecRefused(
                "environment", name, f"a name that begins with none of {', '.join(RESERVED_PREFIXES)}"
            )
        _text(f"environment {name}", value)
        _at_most(f"environment {name}", len(name) + len(value.encode()), MAX_LINE_BYTES, "bytes")
        if "\n" in value or "\r" in value:
            # An env file has a line for each: the rest of the value would be another variable.
            raise SpecRefused(f"environment {name}", "a value with a line break", "a value of one line")
    size = sum(len(name) + len(value.encode()) for name, value in environment.items())
    _at_most("environment", size, MAX_ENVIRONMENT_BYTES, "bytes")


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
        is_ours = path.parts[1:3] in (("opt", "subnet"), ("etc", "subnet"))
        if not is_plain or len(path.parts) < 2 or path.parts[1] in ("proc", "sys", "dev") or is_ours:
            raise SpecRefused(
                "mount",
                mount.at,
                "an absolute path below /, not of /proc, /sys, /dev, /opt/subnet or /etc/subnet, without , : and quotes",
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
