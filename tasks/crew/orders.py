"""What a foreman and its hands tell each other: frozen records, and how they become bytes.

A message is a head (JSON, one of the records here) and a body (bytes that only the receiver of that head can read).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from storage.records import Executor, ExecutorRecord, HostReport, Verdict
from tasks.edges.shell import ShellSettings
from tasks.policy import Policy
from tasks.proof.challenge import ProofKind
from tasks.proof.population import Population

YES, NO = "yes", "no"
"""Answers to what is asked of the foreman."""


# --- bodies ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Access:
    """How to log in to a machine: the secret bytes of our key for its miner, and what the miner has signed for it."""

    seed: bytes
    certificate: str | None


@dataclass(frozen=True, slots=True)
class Visit:
    """One machine to be inspected."""

    executor: Executor
    record: ExecutorRecord
    access: Access
    measures_bandwidth: bool
    is_hurried: bool = False
    """Whether nobody waits for it (`tasks/strangers.py`)."""


@dataclass(frozen=True, slots=True)
class Proving:
    """One machine to be proved in a wave."""

    executor: Executor
    access: Access
    cards: tuple[tuple[int, str], ...]
    """Index and UUID, as inspection found them."""
    model: str
    vram_mib: int
    kind: ProofKind
    population: Population | None


# --- from the foreman ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """The first message: what all work of this hand has in common."""

    shell: ShellSettings
    policy: Policy
    netuid: int
    own_hotkey: str
    permitted: tuple[str, ...]
    """Hotkeys with a validator's permit."""
    most_sessions: int
    """Machines that this hand talks to at once."""
    most_open: int
    """Sessions that it keeps for a proof to come."""
    most_probes: int
    kind: Literal["begin"] = "begin"


@dataclass(frozen=True, slots=True)
class DoVisits:
    """Body: a list of `Visit`."""

    number: int
    left_s: float
    """Until all of them must be over."""
    kind: Literal["visits"] = "visits"


@dataclass(frozen=True, slots=True)
class Keep:
    """Sessions of these machines, or of all others, are closed."""

    keys: tuple[str, ...]
    is_rest_closed: bool
    kind: Literal["keep"] = "keep"


@dataclass(frozen=True, slots=True)
class BeginWave:
    """A wave of which this hand has these members."""

    wave: int
    members: tuple[str, ...]
    limits_s: tuple[float, ...]
    block: int
    block_hash: str
    attempt: int
    hurried: tuple[str, ...] = ()
    """Of the members, those for whom the first gates do not wait."""
    kind: Literal["wave"] = "wave"


@dataclass(frozen=True, slots=True)
class DoProofs:
    """Body: a list of `Proving`, all of them members of the wave."""

    number: int
    wave: int
    kind: Literal["proofs"] = "proofs"


@dataclass(frozen=True, slots=True)
class OpenGate:
    """Now: whoever stands at this gate goes on, whoever does not is out."""

    wave: int
    gate: int
    kind: Literal["open"] = "open"


@dataclass(frozen=True, slots=True)
class Answer:
    """To a hand's question."""

    number: int
    value: str
    kind: Literal["answer"] = "answer"


# --- from a hand -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """A hand is ready."""

    pid: int
    kind: Literal["hello"] = "hello"


@dataclass(frozen=True, slots=True)
class Alive:
    """Each second, however busy: `late_s` is how late this very message is."""

    late_s: float
    kind: Literal["alive"] = "alive"


@dataclass(frozen=True, slots=True)
class Stepped:
    """So many machines more are done."""

    count: int
    kind: Literal["stepped"] = "stepped"


@dataclass(frozen=True, slots=True)
class Visited:
    """Body: a list of `HostReport`, in the order of the visits."""

    number: int
    kind: Literal["visited"] = "visited"


@dataclass(frozen=True, slots=True)
class Proved:
    """Body: the verdicts without their transcripts, then the transcripts one after the other."""

    number: int
    verdicts_bytes: int
    transcript_bytes: tuple[int, ...]
    kind: Literal["proved"] = "proved"


@dataclass(frozen=True, slots=True)
class AtGate:
    """How many of this hand's members stand at the gate, of how many that are still in the wave."""

    wave: int
    gate: int
    arrived: int
    members: int
    awaited: int
    """Of those who are not there yet, how many are waited for."""
    kind: Literal["gate"] = "gate"


@dataclass(frozen=True, slots=True)
class Ask:
    """What only the foreman can do or tell: `sign` these lines; whether a text is `signed` by a hotkey, the second line;
    whether another process of ours proves a machine, `elsewhere`.
    """

    number: int
    what: Literal["sign", "signed", "elsewhere"]
    lines: tuple[str, ...]
    kind: Literal["ask"] = "ask"


Order = Annotated[
    Begin | DoVisits | Keep | BeginWave | DoProofs | OpenGate | Answer, Field(discriminator="kind")
]
Told = Annotated[Hello | Alive | Stepped | Visited | Proved | AtGate | Ask, Field(discriminator="kind")]

_BYTES = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")


def encode(kind: Any, value: object) -> bytes:
    """As JSON."""
    return _adapter(kind).dump_json(value)


def decode(kind: Any, content: bytes | memoryview) -> Any:
    """Back from JSON; ValueError when it is no such record."""
    return _adapter(kind).validate_json(bytes(content))


def encode_visits(visits: Sequence[Visit]) -> bytes:
    """The body of `DoVisits`."""
    return encode(tuple[Visit, ...], tuple(visits))


def encode_reports(reports: Sequence[HostReport]) -> bytes:
    """The body of `Visited`."""
    return encode(tuple[HostReport, ...], tuple(reports))


def encode_verdicts(verdicts: Sequence[Verdict]) -> bytes:
    """The first part of the body of `Proved`."""
    return encode(tuple[Verdict, ...], tuple(verdicts))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=_BYTES)
