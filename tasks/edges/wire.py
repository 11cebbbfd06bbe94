"""What goes over the wire between a validator and a miner's door, version 1: both ends read it with these forms.

POST /v1/executors                         signed by the validator, for this miner's hotkey
  {"epoch": 128, "public_key": "ssh-ed25519 AAAA...", "expires_at": 1790000000, "executor_ids": null}
                                           and for a lease of one executor:  "purpose": "rent", "lease_id": "lease-5f3c..."
200                                        signed by the miner
  {"executors": [{"executor_id": "rack1-a", "address": "203.0.113.7", "port": 22, "user": "subnet",
                  "python": "/usr/bin/python3", "host_key": "<68 base64 digits>",
                  "price_usd_per_hour": 1.5,
                  "paused_from": 1790000000, "min_cards": 2,
                  "certificate": "ssh-ed25519-cert-v01@openssh.com AAAA..."}],      (these three only where they say anything)
   "failed": [{"executor_id": "rack1-b", "error": "KEYS_FILE"}],
   "swaps": ["subnet/statement/1\nsr25519\nswap/1\n..."]}                      (tasks/swaps.py)

POST /v1/results                           signed by the validator: what an epoch came to for this miner's machines
  {"epoch": 128, "policy": "default", "scored_at": 1790000000, "weight": 0.04, "reasons": [],
   "machines": [{"executor_id": "rack1-a", "score": 0.31, "terms": {"uptime": 0.5}, "cards": ["GPU-..."],
                 "passed_since": 1789000000, "resets": 0, "reset_at": null, "reset_code": "", "reasons": [{"code": "...", "severity": "fail", "got": "...",
                 "wanted": "...", "mend": "...", "is_shadow": false}]}], "left_out": 0}
200 {}                                     signed by the miner; 404 from an agent that keeps none
4xx, 5xx                                   signed once the asker is proved
  {"error": "AUTH_STALE", "detail": "..."}
"""

from __future__ import annotations

import base64
import ipaddress
import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

PATH = "/v1/executors"
MAX_EXECUTORS = 256
MAX_REQUEST_BYTES = 32 * 1024
MAX_ANSWER_BYTES = 512 * 1024
MAX_ANSWER_MARKS = 16_384
"""Colons and commas of an answer: 256 executors with all fields and IPv6 addresses have 7,700. Each key that nobody knows
costs half a kilobyte to refuse, and each number in a list that nobody asked for is copied to be told."""
RESULTS_PATH = "/v1/results"
MAX_RESULTS_BYTES = 256 * 1024
MAX_TOLD = 64
"""Misfits of which the first is told; of more, their number: each is built before any can be read."""
MAX_SWAPS = 16
MAX_STATEMENT_CHARS = 4_096
MAX_CERTIFICATE_CHARS = 2_048

_BLOB_HEAD = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
_KEY_LINE = re.compile(r"ssh-ed25519 ([A-Za-z0-9+/]{68})", re.ASCII)
_CERTIFICATE_TYPE = b"ssh-ed25519-cert-v01@openssh.com"
_CERTIFICATE = re.compile(r"ssh-ed25519-cert-v01@openssh\.com ([A-Za-z0-9+/]{200,2000}={0,2})", re.ASCII)


def blob_of_line(line: str) -> bytes:
    """The 51 wire bytes of `ssh-ed25519 AAAA...` without options or comment; ValueError for anything else."""
    match = _KEY_LINE.fullmatch(line)
    if match is None:
        raise ValueError("not `ssh-ed25519` and 68 base64 digits")
    return blob_of_base64(match[1])


def is_key_line(line: str) -> bool:
    """Whether `blob_of_line` takes this line."""
    try:
        blob_of_line(line)
    except ValueError:
        return False
    return True


def blob_of_base64(text: str) -> bytes:
    """The 51 wire bytes of an ed25519 public key from 68 base64 digits; ValueError for anything else."""
    blob = base64.b64decode(text, validate=True)
    if len(blob) != 51 or not blob.startswith(_BLOB_HEAD):
        raise ValueError("not the 51 bytes of an ssh-ed25519 public key")
    return blob


def blob_of_certificate(line: str) -> bytes:
    """The wire bytes of `ssh-ed25519-cert-v01@openssh.com AAAA...`; ValueError for anything else.

    Looked at no further than `certified_key` does: the executor's sshd, whom it is for, judges the rest.
    """
    match = _CERTIFICATE.fullmatch(line)
    if match is None or len(line) > MAX_CERTIFICATE_CHARS:
        raise ValueError("not `ssh-ed25519-cert-v01@openssh.com` and base64 digits")
    blob = base64.b64decode(match[1], validate=True)
    certified_key(blob)
    return blob


def certified_key(blob: bytes) -> bytes:
    """The 51 wire bytes of the key that a certificate is of; ValueError when it has another form."""
    kind, rest = _wire_string(blob)
    _, rest = _wire_string(rest)
    key, _ = _wire_string(rest)
    if kind != _CERTIFICATE_TYPE or len(key) != 32:
        raise ValueError("not the certificate of an ed25519 key")
    return _BLOB_HEAD + key


def _wire_string(data: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(data[:4], "big")
    if len(data) < end:
        raise ValueError("cut off")
    return data[4:end], data[end:]


def literal_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address behind a literal IPv4 or IPv6 text, IPv4 unwrapped from IPv6; ValueError for a name or a zone."""
    if "%" in text:
        raise ValueError("an address with a zone means nothing to another machine")
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _checked_line(line: str) -> str:
    blob_of_line(line)
    return line


def _checked_blob(text: str) -> str:
    blob_of_base64(text)
    return text


def _checked_certificate(line: str) -> str:
    blob_of_certificate(line)
    return line


def _canonical_address(text: str) -> str:
    return str(literal_address(text))


ExecutorId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
LeaseId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}\z")]
KeyLine = Annotated[str, StringConstraints(max_length=80), AfterValidator(_checked_line)]
HostKey = Annotated[str, StringConstraints(min_length=68, max_length=68), AfterValidator(_checked_blob)]
Certificate = Annotated[
    str, StringConstraints(max_length=MAX_CERTIFICATE_CHARS), AfterValidator(_checked_certificate)
]
Address = Annotated[str, StringConstraints(max_length=45), AfterValidator(_canonical_address)]
Port = Annotated[int, Field(ge=1, le=65_535)]
User = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
PythonPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/+-]{1,200}$")]
Told = Annotated[str, StringConstraints(max_length=240, pattern=r"^[\x20-\x7e]*\z")]
TermName = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}\z")]
CardId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}\z")]
Statement = Annotated[str, StringConstraints(max_length=MAX_STATEMENT_CHARS, pattern=r"^[\n\x20-\x7e]*\z")]
Price = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
CardCount = Annotated[int, Field(ge=1, le=16)]
Term = Annotated[float, Field(allow_inf_nan=False)]
UnixSeconds = Annotated[int, Field(ge=0, le=253_402_300_799)]
"""Until the year 9999: whoever reads it can show it."""


class Wire(BaseModel):
    """Strict: no conversions, nothing unknown, nothing changed afterwards."""

    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", frozen=True)


class KeyRequest(Wire):
    """Let this key in on these executors (all, when None) until then."""

    epoch: Annotated[int, Field(ge=0, le=2**48)]
    public_key: KeyLine
    expires_at: Annotated[int, Field(ge=0, le=2**48)]
    """Unix seconds."""
    executor_ids: (
        Annotated[tuple[ExecutorId, ...], Field(max_length=MAX_EXECUTORS, fail_fast=True)] | None
    ) = None
    purpose: Literal["validate", "rent"] = "validate"
    """What the key is for: the second is another user's, who reaches the container engine."""
    lease_id: LeaseId | None = None
    """The lease that it is for."""

    @model_validator(mode="after")
    def _one_lease_of_one_machine(self) -> Self:
        if (self.purpose == "rent") != (self.lease_id is not None):
            raise ValueError("a lease_id goes with the purpose rent, and with no other")
        if self.purpose == "rent" and len(self.executor_ids or ()) != 1:
            raise ValueError("a lease is of one executor")
        return self

    @model_serializer(mode="wrap")
    def _what_is_asked(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Without the newer fields where a door that does not know them can do without."""
        newer = () if self.purpose == "rent" else ("purpose", "lease_id")
        return {name: value for name, value in dump(self).items() if name not in newer}


class Offer(Wire):
    """One executor, as its miner announces it."""

    executor_id: ExecutorId
    address: Address
    port: Port
    user: User
    python: PythonPath
    host_key: HostKey
    price_usd_per_hour: Price
    certificate: Certificate | None = None
    """Of the key that was handed over, where the executor lets keys in by certificate."""
    paused_from: UnixSeconds | None = None
    """From then on no new lease is wanted; those that run go on."""
    min_cards: CardCount = 1
    """A lease of fewer cards is not wanted, unless it is the whole machine."""

    @model_serializer(mode="wrap")
    def _what_is_said(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Without the newer fields that say nothing: a validator that does not know them reads the rest."""
        unsaid = {"certificate": None, "paused_from": None, "min_cards": 1}
        return {name: value for name, value in dump(self).items() if unsaid.get(name, dump) != value}


class NotReady(Wire):
    """One executor that could not let the key in, and the miner's code for why."""

    executor_id: ExecutorId
    error: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_]{1,64}$")]


class ExecutorsAnswer(Wire):
    """All executors of a miner that were asked for."""

    executors: Annotated[tuple[Offer, ...], Field(max_length=MAX_EXECUTORS, fail_fast=True)]
    failed: Annotated[tuple[NotReady, ...], Field(max_length=MAX_EXECUTORS, fail_fast=True)] = ()
    swaps: Annotated[tuple[Statement, ...], Field(max_length=MAX_SWAPS, fail_fast=True)] = ()
    """Signed swaps of cards, the newest first."""


class ToldReason(Wire):
    """A reason of a validator, its texts cut."""

    code: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_]{1,64}\z")]
    severity: Annotated[str, StringConstraints(pattern=r"^(fail|no_verdict|warn)\z")]
    got: Told
    wanted: Told
    mend: Told
    is_shadow: bool = False


class MachineResult(Wire):
    """One machine's score with every term and every reason."""

    executor_id: ExecutorId
    score: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """USD an hour, or a share, as the policy's formula has it."""
    terms: Annotated[dict[TermName, Term], Field(max_length=64)]
    cards: Annotated[tuple[CardId, ...], Field(max_length=16)] = ()
    """Those that the machine is held to."""
    passed_since: UnixSeconds | None = None
    resets: Annotated[int, Field(ge=0, le=2**31)] = 0
    """How often its record was set back before this epoch."""
    reset_at: UnixSeconds | None = None
    reset_code: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_]{0,64}\z")] = ""
    """Why the last time."""
    reasons: Annotated[tuple[ToldReason, ...], Field(max_length=64)] = ()


class Results(Wire):
    """What an epoch of a validator came to for one miner."""

    epoch: Annotated[int, Field(ge=0, le=2**48)]
    policy: Annotated[str, StringConstraints(max_length=64, pattern=r"^[\x20-\x7e]*\z")]
    scored_at: UnixSeconds
    weight: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """The miner's share of the weights as meant; None when none were."""
    reasons: Annotated[tuple[ToldReason, ...], Field(max_length=64)] = ()
    """Of the miner's own answer."""
    machines: Annotated[tuple[MachineResult, ...], Field(max_length=MAX_EXECUTORS, fail_fast=True)] = ()
    left_out: Annotated[int, Field(ge=0, le=2**31)] = 0
    """Machines for which there was no room."""


class Refusal(BaseModel):
    """Why a door stayed shut: read leniently, shown, never acted on."""

    error: str = ""
    detail: str = ""


def problem(error: ValidationError) -> tuple[str, str, str]:
    """Where the first thing that does not fit stands, what it is, and what was wanted: bounded, printable."""
    # Building the list costs by the error, and a hostile answer holds tens of thousands of them.
    if error.error_count() > MAX_TOLD:
        return "", f"{error.error_count()} misfits", "an answer of this schema"
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return plain(where, 80), plain(repr(first["input"]), 120), plain(first["msg"], 160)


def plain(text: str, limit: int) -> str:
    """Foreign text made safe to show: printable ASCII, no longer than the limit."""
    clipped = text[: limit + 1]
    shown = "".join(c if " " <= c <= "~" else "?" for c in clipped[:limit])
    return shown + "..." if len(clipped) > limit else shown
