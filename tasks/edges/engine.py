"""What a container engine says, in records: the templates that ask it, and strict parsers of the answers. Pure.

Docker and Podman take the same templates, but for their own description. Every answer is a machine's own word: what
does not fit its schema is a `BadAnswer`, and what is not ours (no label) is None.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tasks.errors import BadAnswer
from tasks.renting.containers import (
    ATTEMPT_LABEL,
    LABEL,
    MACHINE_LABEL,
    RENTER_LABEL,
    SPEC_LABEL,
    VALIDATOR_LABEL,
    VOLUME_LABEL,
    EngineName,
    Port,
    Program,
)

MOST_BYTES, MOST_PIDS = 1 << 62, (1 << 31) - 1
"""What a machine tells beyond them is not kept: no column of ours holds it."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine that answers."""

    name: EngineName
    version: str
    runtimes: tuple[str, ...]
    architecture: str = ""
    """Of the machine's processor, e.g. x86_64; empty: not told."""

    @property
    def has_sysbox(self) -> bool:
        """Whether containers may have an engine of their own inside."""
        return "sysbox-runc" in self.runtimes


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """Who pulls a private image; it never leaves memory but as a program's standard input."""

    server: str
    """As the engine knows it: registry.example:5000; Docker Hub is https://index.docker.io/v1/."""
    user: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is on the machine."""

    reference: str
    image_id: str
    digests: tuple[str, ...]
    """name@sha256:..., as registries know it; none for an image that came from no registry."""
    program: Program
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Container:
    """A container of ours, as its engine sees it."""

    name: str
    container_id: str
    image_id: str
    lease_id: str
    attempt: int
    renter_id: str
    validator_hotkey: str
    executor_key: str
    spec_digest: str
    status: str
    """created, running, paused, restarting, removing, exited, dead, or as Podman has it."""
    exit_code: int
    is_oom_killed: bool
    started_at: datetime | None
    finished_at: datetime | None
    ports: tuple[Port, ...]
    """Published now; none while it stands still."""

    @property
    def is_running(self) -> bool:
        """Whether its init lives."""
        return self.status == "running"


@dataclass(frozen=True, slots=True)
class Output:
    """What a command inside a container, or its log, printed."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    truncated: bool


@dataclass(frozen=True, slots=True)
class Stats:
    """What a container uses now; bytes as the engine rounds them, to three or four digits."""

    cpu_percent: float
    """Of one core: 250 is two and a half."""
    memory_bytes: int
    memory_limit_bytes: int
    received_bytes: int
    sent_bytes: int
    read_bytes: int
    written_bytes: int
    pids: int


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of ours on the machine."""

    name: str
    """On the machine, as `volume_name` makes it."""
    volume: str
    """As its renter calls it."""
    renter_id: str
    executor_key: str


def architecture(told: str | None = None) -> str:
    """A processor's kind in one spelling, as Linux has it; without a word this computer's."""
    name = platform.machine() if told is None else told
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name.lower(), name.lower())


def read_engine(name: EngineName, said: bytes) -> Engine | None:
    """An engine's description; None when only its client answered, and its daemon is away."""
    told = _parse(_ENGINE, said, "engine")
    runtimes = [told.runtimes] if isinstance(told.runtimes, str) else sorted(told.runtimes or {})
    return (
        Engine(name, told.version, tuple(runtimes), architecture(told.architecture)) if told.version else None
    )


def read_image(reference: str, said: bytes) -> Image:
    """An image's description."""
    told = _parse(_IMAGE, said, "image")
    program = Program(_words_of(told.entrypoint), _words_of(told.command))
    return Image(reference, told.id, tuple(told.digests or ()), program, told.size)


def read_containers(said: bytes) -> list[Container]:
    """A line each; those that are ours."""
    found = [_container(_parse(_CONTAINER, line, "inspect")) for line in said.splitlines() if line.strip()]
    return [container for container in found if container is not None]


def read_volumes(said: bytes) -> list[Volume]:
    """A line each."""
    told = [_parse(_VOLUME, line, "volume list") for line in said.splitlines() if line.strip()]
    return [_volume(v.name, v.labels) for v in told]


def read_stats(said: bytes) -> Stats | None:
    """What a container uses; None for one that stands still."""
    told = _parse(_STATS, said, "stats")
    pids = min(MOST_PIDS, int(_number(str(told.pids))))
    if not pids:
        return None
    memory, limit = _sizes(told.memory)
    received, sent = _sizes(told.network)
    read, written = _sizes(told.disk)
    return Stats(_number(told.cpu.removesuffix("%")), memory, limit, received, sent, read, written, pids)


def read_all_stats(said: bytes) -> dict[str, Stats]:
    """The same of several containers, by name; those that stand still are missing."""
    found = {}
    for line in said.splitlines():
        stats = read_stats(line)
        if stats is not None:
            found[_parse(_NAMED, line, "stats").name.removeprefix("/")] = stats
    return found


ENGINE_TEMPLATES: dict[EngineName, str] = {
    "docker": '{"version":{{json .ServerVersion}},"runtimes":{{json .Runtimes}},"architecture":{{json .Architecture}}}',
    "podman": '{"version":{{json .Version.Version}},"runtimes":{{json .Host.OCIRuntime.Name}},"architecture":{{json .Host.Arch}}}',
}


def image_template(name: EngineName) -> str:
    """An image's description; Podman spells one field in its own way."""
    return (
        f'{{"id":{{{{json .{_ID[name]}}}}},"digests":{{{{json .RepoDigests}}}},"size":{{{{json .Size}}}},'
        '"entrypoint":{{json .Config.Entrypoint}},"command":{{json .Config.Cmd}}}'
    )


def container_template(name: EngineName) -> str:
    """A container's description."""
    return (
        f'{{"id":{{{{json .{_ID[name]}}}}},"name":{{{{json .Name}}}},"image":{{{{json .Image}}}},'
        '"labels":{{json .Config.Labels}},"state":{{json .State}},"ports":{{json .NetworkSettings.Ports}}}'
    )


_ID: dict[EngineName, str] = {"docker": "Id", "podman": "ID"}
STATS_TEMPLATE = (
    '{"cpu":{{json .CPUPerc}},"memory":{{json .MemUsage}},"network":{{json .NetIO}},'
    '"disk":{{json .BlockIO}},"pids":{{json .PIDs}}}'
)
ALL_STATS_TEMPLATE = '{"name":{{json .Name}},' + STATS_TEMPLATE[1:]
"""Of several containers, a line each."""
VOLUME_TEMPLATE = '{"name":{{json .Name}},"labels":{{json .Labels}}}'


class _Told(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


_Text = Annotated[str, Field(max_length=512)]
_Short = Annotated[str, Field(max_length=80)]
_Hash = Annotated[str, Field(pattern=r"^(sha256:)?[0-9a-f]{12,64}$")]


class _EngineTold(_Told):
    version: Annotated[str, Field(pattern=r"^([0-9][A-Za-z0-9.+~-]{0,39})?$")]
    runtimes: Annotated[dict[_Short, Any], Field(max_length=32)] | _Short | None
    architecture: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,20}$")] = ""


class _ImageTold(_Told):
    id: _Hash
    digests: Annotated[list[_Text], Field(max_length=64)] | None
    entrypoint: Annotated[list[str], Field(max_length=256)] | str | None
    command: Annotated[list[str], Field(max_length=256)] | str | None
    size: Annotated[int, Field(ge=0)]


class _State(_Told):
    status: Annotated[str, Field(alias="Status", pattern=r"^[a-z]{1,20}$")]
    exit_code: Annotated[int, Field(alias="ExitCode")] = 0
    is_oom_killed: Annotated[bool, Field(alias="OOMKilled")] = False
    started_at: Annotated[_Short, Field(alias="StartedAt")] = ""
    finished_at: Annotated[_Short, Field(alias="FinishedAt")] = ""


class _Binding(_Told):
    port: Annotated[str, Field(alias="HostPort", pattern=r"^[0-9]{0,5}$")]


class _ContainerTold(_Told):
    id: _Hash
    name: Annotated[str, Field(pattern=r"^/?[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$")]
    image: _Hash
    labels: Annotated[dict[_Text, str], Field(max_length=1_000)] | None
    state: _State
    ports: (
        Annotated[dict[_Short, Annotated[list[_Binding], Field(max_length=64)] | None], Field(max_length=256)]
        | None
    )


class _StatsTold(_Told):
    cpu: _Short
    memory: _Short
    network: _Short
    disk: _Short
    pids: _Short | int
    """Podman has a number."""


class _NamedTold(_Told):
    name: _Text


class _VolumeTold(_Told):
    name: _Text
    labels: Annotated[dict[_Text, str], Field(max_length=1_000)]


_T = TypeVar("_T", bound=_Told)
_ENGINE = TypeAdapter(_EngineTold)
_IMAGE = TypeAdapter(_ImageTold)
_CONTAINER = TypeAdapter(_ContainerTold)
_STATS = TypeAdapter(_StatsTold)
_NAMED = TypeAdapter(_NamedTold)
_VOLUME = TypeAdapter(_VolumeTold)


def _parse(adapter: TypeAdapter[_T], said: bytes, step: str) -> _T:
    try:
        return adapter.validate_json(said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"][:6])
        raise BadAnswer(f"{step}: an engine's answer that does not fit: {first['type']} at {where}") from None


def _volume(name: str, labels: dict[str, str]) -> Volume:
    volume, renter_id, machine = (
        labels.get(key, "")[:200] for key in (VOLUME_LABEL, RENTER_LABEL, MACHINE_LABEL)
    )
    return Volume(name, volume, renter_id, machine)


def _words_of(told: list[str] | str | None) -> tuple[str, ...]:
    """Podman joins an entrypoint into one text, as its Dockerfile's shell form had it."""
    return tuple(told.split()) if isinstance(told, str) else tuple(told or ())


def _container(told: _ContainerTold) -> Container | None:
    labels = told.labels or {}
    if not labels.get(LABEL):
        return None
    attempt = labels.get(ATTEMPT_LABEL, "")
    return Container(
        name=told.name.removeprefix("/"),
        container_id=told.id,
        image_id=told.image,
        lease_id=labels[LABEL][:200],
        attempt=int(attempt) if re.fullmatch(r"[0-9]{1,7}", attempt) else 0,
        renter_id=labels.get(RENTER_LABEL, "")[:200],
        validator_hotkey=labels.get(VALIDATOR_LABEL, "")[:200],
        executor_key=labels.get(MACHINE_LABEL, "")[:200],
        spec_digest=labels.get(SPEC_LABEL, "")[:64],
        status=told.state.status,
        exit_code=told.state.exit_code,
        is_oom_killed=told.state.is_oom_killed,
        started_at=_moment(told.state.started_at),
        finished_at=_moment(told.state.finished_at),
        ports=tuple(sorted(_ports(told), key=lambda p: (p.inside, p.protocol))),
    )


def _ports(told: _ContainerTold) -> Iterable[Port]:
    for place, bindings in (told.ports or {}).items():
        inside, _, protocol = place.partition("/")
        outside = {binding.port for binding in bindings or () if binding.port}
        if inside.isascii() and inside.isdigit() and len(inside) <= 5 and outside:
            yield Port(int(inside), int(min(outside)), protocol if protocol in ("tcp", "udp") else "tcp")


def _moment(told: str) -> datetime | None:
    """An engine's time, to the second; None for one that has not come."""
    try:
        moment = datetime.fromisoformat(re.sub(r"\.[0-9]+", "", told))
        return moment.astimezone(UTC) if moment.tzinfo and moment.year > 1_970 else None
    except (ValueError, OverflowError):  # the last day of the calendar in another zone is none in UTC
        return None


_UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def _sizes(told: str) -> tuple[int, int]:
    """`1.5MiB / 2GiB` -> bytes; 0 for what an engine does not tell."""
    first, _, second = told.partition("/")
    return _size(first), _size(second)


def _size(told: str) -> int:
    found = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([A-Za-z]{1,3})\s*", told)
    return min(MOST_BYTES, int(float(found[1]) * _UNITS.get(found[2].lower(), 0))) if found else 0


def _number(told: str) -> float:
    return float(told) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", told) else 0.0
