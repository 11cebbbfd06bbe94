"""Targets without a network: facts, replies of a machine's program, answers of a prover and of a miner's agent, signed texts."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import random
import time
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence

from kernels.messages import (
    Busy,
    CardSeed,
    End,
    Failed,
    Go,
    Multiplied,
    Multiply,
    Open,
    Opened,
    OpenedCard,
    OpenedSegment,
    OpenedTile,
    Ready,
    Walk,
    Walked,
    encode,
    parse_request,
)
from kernels.protocol import BadMessage, Parameters
from storage.records import MinerReply, Neuron
from tasks.edges import peers, wire
from tasks.edges.pins import check_shown, committed_text, pins_of
from tasks.edges.signing import is_signed_by
from tasks.errors import SubnetError
from tasks.inspection import talk
from tasks.inspection.facts import COMMANDS, FACTS, FactOutput
from tasks.proof import messages
from tasks.proof.busy import read_statement
from tasks.swaps import read_swap
from tests.fuzz.mutating import mutated
from tests.fuzz.target import DEFAULT, Limits, Target
from tests.tasks.inspection.judging import assert_harmless, inspected
from tests.tasks.inspection.outputs import CASES, output_of, outputs
from tests.tasks.inspection.replaying import Replaying

BLOB = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes(range(32))
KEY_LINE = "ssh-ed25519 " + b64encode(BLOB).decode()
HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
SIZES = Parameters(
    lines=512, chain_w=1, rounds=2, walkers=4, segments=1, segment_steps=1, rows=16, columns=16, tiles=1
)


def _pure(
    name: str, run: Callable[[bytes], None], seeds: Callable[[], Sequence[bytes]], limits: Limits = DEFAULT
) -> Target:
    kept = functools.cache(seeds)

    def make(rng: random.Random) -> bytes:
        return mutated(rng, kept())

    @contextlib.contextmanager
    def opened() -> Iterator[Callable[[bytes], None]]:
        for seed in kept():
            run(seed)
        yield run

    return Target(name, make, opened, limits)


def _parted(data: bytes) -> tuple[str, bytes]:
    """An input says in its first line what it is for."""
    name, _, rest = data.partition(b"\n")
    return name.decode("latin-1"), rest


# --- facts -----------------------------------------------------------------------------------------

_FACTS = {fact.command.name: fact for fact in FACTS}


def _fact_seeds() -> list[bytes]:
    return [f"{path.parent.name}\n".encode() + output_of(path).stdout for path in CASES]


def _read_fact(data: bytes) -> None:
    name, stdout = _parted(data)
    fact = _FACTS.get(name, FACTS[0])
    limit = min(fact.command.limit_bytes, talk.STREAM_BYTES * 3)
    output = FactOutput(fact.command.name, 0, stdout[:limit], b"", 0.1, len(stdout) > limit)
    assert_harmless(*inspected({output.name: output}))


# --- replies of the program on a machine -----------------------------------------------------------


def _tools() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as writing:
        writing.writestr(zipfile.ZipInfo("hello"), b"#!/bin/sh\n")
    return packed.getvalue()


def _fact_reply(output: FactOutput) -> dict[str, object]:
    return {
        "name": output.name,
        "exit": output.exit_code,
        "stdout": b64encode(output.stdout).decode(),
        "stderr": b64encode(output.stderr).decode(),
        "seconds": 0.1,
        "truncated": False,
    }


def _reply_seeds() -> list[bytes]:
    ran = {"exit": 0, "stdout": "aGk=", "stderr": "", "seconds": 0.1, "truncated": False}
    every = outputs()
    facts = {"facts": [_fact_reply(every[command.name]) for command in COMMANDS]}
    refusal = {"error": "NO_CACHE", "detail": "no space left"}
    digest = "00" * 32
    talks: dict[str, list[bytes]] = {
        "facts": [json.dumps(facts).encode()],
        "run": [json.dumps(ran).encode()],
        "stream": [b"some output", b"", json.dumps(ran | {"stdout": ""}).encode()],
        "feed": [json.dumps(ran).encode()],
        "install": [b'{"path": ""}', json.dumps({"path": f"/tmp/{digest}"}).encode()],
        "bandwidth": [json.dumps({"digest": digest}).encode(), bytes(64)],
        "prove": [json.dumps({"proving": digest, "seconds": 0.5}).encode()],
    }
    refused = [f"{name}\n".encode() + _framed([json.dumps(refusal).encode()]) for name in talks]
    return refused + [f"{name}\n".encode() + _framed(frames) for name, frames in talks.items()]


def _framed(frames: Sequence[bytes]) -> bytes:
    return b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)


def _unframed(data: bytes) -> list[bytes]:
    """Frames as their lengths have it, as many as any talk asks for; the last one is what is left."""
    frames, at = [], 0
    while at < len(data) and len(frames) < 64:
        size = int.from_bytes(data[at : at + 4], "big")
        frames.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return frames


def _talk(data: bytes) -> None:
    name, rest = _parted(data)
    session, end = Replaying(_unframed(rest)), time.monotonic() + 10.0
    bounds = {"timeout_s": 1.0, "limit_bytes": 10_000, "deadline": end}
    talks: dict[str, Callable[[], object]] = {
        "facts": lambda: _told_facts(talk.ask_facts(session, COMMANDS, deadline=end)),
        "run": lambda: talk.run_program(session, ["true"], **bounds),
        "stream": lambda: talk.stream_from(session, ["true"], bytearray().extend, **bounds),
        "feed": lambda: talk.stream_to(session, ["true"], [b"in"], **bounds),
        "install": lambda: talk.install_tools(session, _tools(), "/tmp", deadline=end),
        "bandwidth": lambda: talk.measure_bandwidth(session, 64, deadline=end),
        "prove": lambda: talk.start_prover(session, _tools(), "/tmp", deadline=end),
    }
    with contextlib.suppress(SubnetError):
        talks.get(name, talks["facts"])()


def _told_facts(told: list[FactOutput]) -> None:
    assert_harmless(*inspected({output.name: output for output in told}))


# --- proof -----------------------------------------------------------------------------------------


def _proof_seeds() -> list[bytes]:
    segment = OpenedSegment(None, None, bytes(128), bytes(64))
    card = OpenedCard(
        (segment, OpenedSegment(bytes(128), bytes(32), bytes(128), b"")), (OpenedTile(bytes(512), b""),)
    )
    go = Go("cpu", SIZES, bytes(32), (CardSeed(0, "GPU-0", bytes(32)),), "held\n")
    told = (
        Ready(),
        Busy(_HELD),
        Failed("PROVER_FAILED", None, "out of luck"),
        Failed("CARD_MEMORY_SHORT", 1, "3 MiB free"),
        Walked(0, (bytes(32),)),
        Multiplied((bytes(range(32)),)),
        Opened((card,)),
        go,
        Walk(1, bytes(32), "held"),
        Multiply(bytes(32)),
        Open(bytes(32)),
        End(),
    )
    return [encode(message) for message in told]


_READERS: tuple[Callable[[bytes], object], ...] = (
    messages.read_ready,
    lambda frame: messages.read_walked(frame, 0, 1),
    lambda frame: messages.read_multiplied(frame, 1),
    lambda frame: messages.read_opened(frame, 1, SIZES),
    lambda frame: messages.read_opened(frame, 14, SIZES),
)


def _prove(data: bytes) -> None:
    """As each of the answers; and as a request, which a hostile validator may send to a prover."""
    for read in _READERS:
        with contextlib.suppress(SubnetError):
            read(data)
    with contextlib.suppress(BadMessage):
        parse_request(data)


# --- a miner's agent -------------------------------------------------------------------------------

_SIGNATURE = "ab" * 64
_HELD = f"subnet/statement/1\nsr25519\n2\n51\n{HOTKEY}\nbox-1\n{HOTKEY}\n350\n1790000000\n{'0' * 64}\n{_SIGNATURE}"
_SWAP = f"subnet/statement/1\nsr25519\nswap/1\n{HOTKEY}\nbox-1\n1790000000\nGPU-1,GPU-2\nGPU-3\n{_SIGNATURE}"


def offer(**more: object) -> dict[str, object]:
    """An executor as a miner announces it."""
    return {
        "executor_id": "box-1",
        "address": "127.0.0.2",
        "port": 2201,
        "user": "subnet",
        "python": "/usr/bin/python3",
        "host_key": b64encode(BLOB).decode(),
        "price_usd_per_hour": 1.5,
        **more,
    }


def _answer_seeds() -> list[bytes]:
    full = offer(executor_id="box-2", address="2a00::1", paused_from=1_790_000_000, min_cards=2)
    told: tuple[object, ...] = (
        {"executors": [offer()]},
        {
            "executors": [offer(), full],
            "failed": [{"executor_id": "box-3", "error": "KEYS_FILE"}],
            "swaps": [_SWAP],
        },
        {"executors": [offer(executor_id=f"b-{n}", port=1_000 + n) for n in range(20)]},
        {"executors": []},
    )
    return [json.dumps(one).encode() for one in told]


def miner(endpoint: str, hotkey: str = HOTKEY) -> Neuron:
    """A miner whose door is there."""
    return Neuron(
        uid=5,
        hotkey=hotkey,
        coldkey=hotkey,
        endpoint=endpoint,
        is_active=True,
        has_permit=False,
        stake_rao=0,
        last_update_block=0,
        registered_at_block=9,
        incentive=0.0,
        dividends=0.0,
        collateral_locked_rao=None,
    )


_NEURON = miner("127.0.0.1:1")


def _read_answer(data: bytes) -> None:
    body = data[: wire.MAX_ANSWER_BYTES]
    reply = peers._read_answer(_NEURON, body, b"", BLOB, allow_private=True)
    assert_shown(reply)
    assert_shown(
        peers._failed(_NEURON, peers._refusal(peers._Answer(403, [], body[:4_096]), is_for_lease=True))
    )


def assert_shown(reply: MinerReply) -> None:
    """Whatever a miner answered, its reasons can be shown and its swaps be read."""
    for reason in reply.reasons:
        assert all(t.isprintable() and len(t) < 600 for t in (reason.got, reason.wanted, reason.mend))
    assert len(reply.executors) <= wire.MAX_EXECUTORS
    for swap in reply.swaps:
        read_swap(swap)


# --- texts that somebody has signed or committed ---------------------------------------------------


def _text_seeds() -> list[bytes]:
    return [
        _HELD.encode(),
        _SWAP.encode(),
        b"subnet-tls/1 none",
        b"subnet-tls/1 " + b"A" * 43 + b" " + b"B" * 43,
        b"ssh-ed25519 " + b64encode(BLOB),
        b"ssh-ed25519-cert-v01@openssh.com " + b64encode(_certificate()),
        b"127.0.0.1:8000",
        b"[2a00::1]:22",
    ]


def _certificate() -> bytes:
    parts = (b"ssh-ed25519-cert-v01@openssh.com", bytes(32), bytes(range(32)), bytes(200))
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _read_text(data: bytes) -> None:
    text = data[: wire.MAX_STATEMENT_CHARS].decode("utf-8", "replace")
    read_statement(text)
    read_swap(text)
    is_signed_by(text, HOTKEY)
    committed_text([{"Raw128": "0x" + data.hex()}, {text: text}, text])
    for read in (pins_of, lambda t: peers._place(t, allow_private=True), lambda _: check_shown(data, ())):
        with contextlib.suppress(SubnetError):
            read(text)
    for check in (wire.blob_of_line, wire.blob_of_certificate):
        with contextlib.suppress(ValueError):
            check(text)


TARGETS = (
    _pure("facts", _read_fact, _fact_seeds),
    _pure("replies", _talk, _reply_seeds),
    _pure("proofs", _prove, _proof_seeds, Limits(cpu_s=0.3)),  # each frame is read six times
    _pure("answers", _read_answer, _answer_seeds),
    _pure("texts", _read_text, _text_seeds),
)
