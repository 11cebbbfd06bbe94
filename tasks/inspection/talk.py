"""Talking with our program on an executor (`tasks/inspection/remote.py`): requests out, strict records back.

    start_runner(session)                the program's text, as the first frame
    ask_facts(session, commands, ...)    what the commands print, all in one round trip
    run_program(session, argv, ...)      one program with its arguments as they are
    stream_from(session, argv, write)    the same, what it prints handed over as it comes, however much that is
    stream_to(session, argv, pieces)     the same, fed with pieces of any number
    install_tools(session, archive, ...) a folder of programs over there, sent once
    measure_bandwidth(session, ...)      a bounded number of bytes each way, timed here
    start_prover(session, archive, ...)  the package `kernels` over there; then the proof talks by itself

All of what comes back is foreign: a reply that does not fit its schema is a `BadAnswer`, and a program that says it
can't do what was asked a `RunnerRefused` with its code.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, TypeVar

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from storage.records import Bandwidth
from tasks.edges.shell import Session
from tasks.errors import BadAnswer, LimitExceeded, RunnerRefused
from tasks.inspection.output import Command, FactOutput

STDERR_BYTES = 2_048
STREAM_BYTES = 262_144
SMALL_REPLY_BYTES = 4_096
LATENCY_CREDIT_S = 0.05
MIN_SECONDS = 1e-3
"""A sample that took less says only that the channel is faster than it can measure."""
MAX_FACTS = 64
MAX_MARKS = 4_096
"""Quotes, commas and brackets of a reply: 64 facts have 1,700, a refusal's text some hundreds. What comes in base64 has
none, and each misfit costs half a kilobyte before it is told."""
MAX_TOLD_MISFITS = 100
"""Above it they are counted only: each costs kilobytes once it is told, and a hostile reply has a hundred thousand."""
_FACT_OVERHEAD_BYTES = 512


def start_runner(session: Session, *, deadline: float) -> None:
    """Send the program; it does not answer before it is asked something."""
    session.send(_runner(), deadline=deadline)


def ask_facts(session: Session, commands: Sequence[Command], *, deadline: float) -> list[FactOutput]:
    """Run the commands over there, a few at a time, and bring their outputs in the same order."""
    session.send(_facts_request(tuple(commands)), deadline=deadline)
    limit = sum(_most_bytes(c) for c in commands) + SMALL_REPLY_BYTES
    reply = _parse(_FACTS, session.receive(deadline=deadline, limit_bytes=limit))
    if [f.name for f in reply.facts] != [c.name for c in commands]:
        raise BadAnswer(f"{len(reply.facts)} facts, not the {len(commands)} asked for in their order")
    return [_output(fact, command) for fact, command in zip(reply.facts, commands, strict=True)]


def run_program(
    session: Session,
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    timeout_s: float,
    limit_bytes: int,
    deadline: float,
    is_merged: bool = False,
) -> FactOutput:
    """Run one program over there, its arguments as they are; what it read and wrote, bounded.

    The output's name is the program's. No shell is involved: whatever stands in an argument is that argument.
    Merged: what it writes to stderr stands in stdout, in its order.
    """
    request = {"do": "run", "argv": list(argv), "stdin": b64encode(stdin).decode(), "is_merged": is_merged}
    _ask(session, request | {"timeout_s": timeout_s, "limit_bytes": limit_bytes}, deadline)
    return _ran(session, argv[0], limit_bytes, deadline)


def stream_from(
    session: Session,
    argv: Sequence[str],
    write: Callable[[bytes], object],
    *,
    stdin: bytes = b"",
    timeout_s: float,
    limit_bytes: int,
    deadline: float,
    is_merged: bool = False,
) -> FactOutput:
    """Run one program and hand over what it prints in pieces of at most 256 KiB; the output has no stdout, but the rest.

    At the limit the program is killed, and the output is marked as truncated. An error of `write` ends the session.
    """
    request = {"do": "stream", "argv": list(argv), "stdin": b64encode(stdin).decode(), "is_merged": is_merged}
    _ask(session, request | {"timeout_s": timeout_s, "limit_bytes": limit_bytes}, deadline)
    left = limit_bytes
    while piece := session.receive(deadline=deadline, limit_bytes=STREAM_BYTES):
        if (left := left - len(piece)) < 0:
            session.close()
            raise LimitExceeded("streamed output", f"{limit_bytes} bytes")
        try:
            write(piece)
        except BaseException:
            session.close()  # what is still to come would be taken for another answer
            raise
    return _ran(session, argv[0], 0, deadline)


def stream_to(
    session: Session,
    argv: Sequence[str],
    pieces: Iterable[bytes],
    *,
    timeout_s: float,
    limit_bytes: int,
    deadline: float,
) -> FactOutput:
    """Run one program that reads the pieces, each of any length, as its stdin; `limit_bytes` are of its stdout.

    What goes wrong with the pieces ends the session: half an input must not pass for a whole one.
    """
    _ask(
        session,
        {"do": "feed", "argv": list(argv), "timeout_s": timeout_s, "limit_bytes": limit_bytes},
        deadline,
    )
    _send_pieces(session, pieces, deadline)
    return _ran(session, argv[0], limit_bytes, deadline)


def install_tools(session: Session, archive: bytes, cache_folder: str, *, deadline: float) -> str:
    """A zip archive of programs, unpacked once under its digest; gives the folder's path over there."""
    digest = hashlib.blake2s(archive).hexdigest()
    _ask(session, {"do": "install", "cache": cache_folder, "digest": digest}, deadline)
    path = _parse(_INSTALLED, session.receive(deadline=deadline, limit_bytes=SMALL_REPLY_BYTES)).path
    if not path:
        _send_pieces(session, [archive], deadline)
        path = _parse(_INSTALLED, session.receive(deadline=deadline, limit_bytes=SMALL_REPLY_BYTES)).path
    if not path.endswith(f"/{digest}"):
        raise BadAnswer("the tools lie in another folder than their digest's")
    return path


def measure_bandwidth(
    session: Session, probe_bytes: int, *, deadline: float, clock: Callable[[], float] = time.monotonic
) -> Bandwidth:
    """One sample of `probe_bytes` each way, timed by our clock.

    The first sample on a connection finds it cold: it has not learned yet how much it may send. A round trip, measured
    beside it, is taken off each way, but at most `LATENCY_CREDIT_S`: whoever answers late on purpose gains no more.
    """
    begin = clock()
    _sink(session, b"\0", deadline)
    rtt_s = clock() - begin
    credit_s = min(LATENCY_CREDIT_S, rtt_s)
    up = _upload(session, probe_bytes, deadline, clock) - credit_s
    down = _download(session, probe_bytes, deadline, clock) - credit_s
    return Bandwidth(_mbit_s(probe_bytes, up), _mbit_s(probe_bytes, down), samples=1, rtt_ms=1e3 * rtt_s)


def start_prover(
    session: Session,
    archive: bytes,
    cache_folder: str,
    form: str = "cpu",
    warm_s: float = 0.0,
    *,
    deadline: float,
) -> float:
    """Send the package `kernels` as a zip archive and wait until its prover is imported: its seconds for that.

    With the form `cuda` its kernels are compiled and loaded first, for at most `warm_s`; what is not done then is done
    after GO.
    """
    digest = _digest_of(archive)
    request = {"do": "prove", "cache": cache_folder, "digest": digest, "form": form, "warm_s": warm_s}
    _ask(session, request, deadline)
    session.send(archive, deadline=deadline)
    reply = _parse(_PROVING, session.receive(deadline=deadline, limit_bytes=SMALL_REPLY_BYTES))
    if reply.proving != digest:
        raise BadAnswer("another archive is proving than the one that was sent")
    return reply.seconds


class _Reply(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


_Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class _Refusal(_Reply):
    error: Annotated[str, Field(pattern="^[A-Z_]{1,40}$")]
    detail: Annotated[str, Field(max_length=300)]


class _Ran(_Reply):
    exit: Annotated[int, Field(ge=0, le=255)]
    stdout: str
    stderr: str
    seconds: _Seconds
    truncated: bool


class _Fact(_Ran):
    name: str


class _Facts(_Reply):
    facts: Annotated[list[_Fact], Field(max_length=MAX_FACTS, fail_fast=True)]


class _Installed(_Reply):
    path: Annotated[str, Field(max_length=1_000)]


class _Sunk(_Reply):
    digest: str


class _Proving(_Reply):
    proving: str
    seconds: _Seconds


_R = TypeVar("_R", _Facts, _Ran, _Installed, _Sunk, _Proving)
_FACTS: TypeAdapter[_Facts | _Refusal] = TypeAdapter(_Facts | _Refusal)
_RAN: TypeAdapter[_Ran | _Refusal] = TypeAdapter(_Ran | _Refusal)
_INSTALLED: TypeAdapter[_Installed | _Refusal] = TypeAdapter(_Installed | _Refusal)
_SUNK: TypeAdapter[_Sunk | _Refusal] = TypeAdapter(_Sunk | _Refusal)
_PROVING: TypeAdapter[_Proving | _Refusal] = TypeAdapter(_Proving | _Refusal)


@lru_cache(maxsize=2)
def _digest_of(archive: bytes) -> str:
    """The same archive goes to every machine."""
    return hashlib.blake2s(archive).hexdigest()


@cache
def _runner() -> bytes:
    return Path(__file__).with_name("remote.py").read_bytes()


@cache
def _facts_request(commands: tuple[Command, ...]) -> bytes:
    return json.dumps({"do": "facts", "commands": [asdict(c) for c in commands]}).encode()


def _ask(session: Session, request: object, deadline: float) -> None:
    session.send(json.dumps(request).encode(), deadline=deadline)


def _send_pieces(session: Session, pieces: Iterable[bytes], deadline: float) -> None:
    """Frames of at most 256 KiB and an empty one; an error of the pieces ends the session."""
    try:
        for piece in pieces:
            for start in range(0, len(piece), STREAM_BYTES):
                session.send(piece[start : start + STREAM_BYTES], deadline=deadline)
    except BaseException:
        session.close()
        raise
    session.send(b"", deadline=deadline)


def _ran(session: Session, name: str, limit_bytes: int, deadline: float) -> FactOutput:
    """The end of a program."""
    command = Command(name, "", 0.0, limit_bytes)
    limit = _most_bytes(command) + SMALL_REPLY_BYTES
    reply = _parse(_RAN, session.receive(deadline=deadline, limit_bytes=limit))
    return _output(_Fact(name=name, **reply.model_dump()), command)


def _parse(adapter: TypeAdapter[_R | _Refusal], raw: bytes) -> _R:
    """The reply in its record; where it does not fit is told without telling what stood there."""
    if sum(raw.count(mark) for mark in (b'"', b",", b"[", b"{")) > MAX_MARKS:
        raise BadAnswer(f"a reply that does not fit: more than {MAX_MARKS} quotes, commas and brackets")
    try:
        reply = adapter.validate_json(raw)
    except ValidationError as error:
        raise BadAnswer(f"a reply that does not fit: {_misfit(error)}"[:200]) from None
    if isinstance(reply, _Refusal):
        raise RunnerRefused(reply.error, reply.detail)
    return reply


def _misfit(error: ValidationError) -> str:
    if error.error_count() > MAX_TOLD_MISFITS:
        return f"{error.error_count()} misfits"
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part)[:40] for part in first["loc"][:6])
    return f"{first['type']} at {where}"


def _most_bytes(command: Command) -> int:
    return 4 * (command.limit_bytes + STDERR_BYTES) // 3 + len(command.name) + _FACT_OVERHEAD_BYTES


def _output(fact: _Fact, command: Command) -> FactOutput:
    stdout = _decoded(fact.stdout, command.limit_bytes)
    stderr = _decoded(fact.stderr, STDERR_BYTES)
    return FactOutput(fact.name, fact.exit, stdout, stderr, fact.seconds, fact.truncated)


def _decoded(encoded: str, limit_bytes: int) -> bytes:
    try:
        raw = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise BadAnswer("an output that is not base64") from None
    if len(raw) > limit_bytes:
        raise BadAnswer(f"an output of {len(raw)} bytes, asked for at most {limit_bytes}")
    return raw


def _upload(session: Session, size: int, deadline: float, clock: Callable[[], float]) -> float:
    """Seconds from the executor to us."""
    begin = clock()
    _ask(session, {"do": "source", "bytes": size}, deadline)
    frame = session.receive(deadline=deadline, limit_bytes=max(size, SMALL_REPLY_BYTES))
    if len(frame) != size:
        raise BadAnswer(f"{len(frame)} bytes of a probe of {size}")
    return clock() - begin


def _download(session: Session, size: int, deadline: float, clock: Callable[[], float]) -> float:
    """Seconds from us to the executor."""
    probe = _random(size)
    begin = clock()
    _sink(session, probe, deadline)
    return clock() - begin


def _sink(session: Session, probe: bytes, deadline: float) -> None:
    """Send random bytes; their digest, which nobody can know before the last one has come, is the receipt."""
    _ask(session, {"do": "sink", "bytes": len(probe)}, deadline)
    session.send(probe, deadline=deadline)
    reply = _parse(_SUNK, session.receive(deadline=deadline, limit_bytes=SMALL_REPLY_BYTES))
    if reply.digest != hashlib.blake2s(probe).hexdigest():
        raise BadAnswer("the receipt of a probe is not its digest")


def _random(size: int) -> bytes:
    """Bytes that nobody can foretell, by a cipher with a fresh key: the system's own take four to eight times as long."""
    return Cipher(AES(os.urandom(16)), CTR(bytes(16))).encryptor().update(bytes(size))


def _mbit_s(size: int, seconds: float) -> float:
    return size * 8 / 1e6 / max(seconds, MIN_SECONDS)
