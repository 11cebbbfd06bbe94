"""A machine of the farm: it speaks the far end's frames (`tasks/inspection/remote.py`) inside this very process.

Facts are recorded once, from real commands with the fake nvidia-smi in front, and answered with each machine's own
card UUID. The prover's cards are the real ones, of any size (`fleet/proving.py`). No process is started for a session.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import asyncssh

from deployments.localnet import nvidia_smi
from deployments.localnet.fleet.profiles import Fault, Profile
from deployments.localnet.fleet.proving import Bench, HangsUp, hold_proof
from tasks.errors import BadAnswer
from tasks.inspection.facts import COMMANDS
from tasks.inspection.models import find

MODEL = "NVIDIA GeForce RTX 4090"
RECORDED_UUID = "GPU-00000000-0000-0000-0000-000000000000"
MAX_FRAME_BYTES = 4 << 20
_HEADER_BYTES = 4

Process: TypeAlias = "asyncssh.SSHServerProcess[bytes]"


@dataclass(frozen=True, slots=True)
class RecordedFact:
    """What one command printed when it was recorded."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    duration_s: float


Recording: TypeAlias = Mapping[str, RecordedFact]


@dataclass(frozen=True, slots=True)
class Scripted:
    """What one machine answers."""

    card_uuid: str
    recording: Recording
    profile: Profile
    bench: Bench
    """Where its cards do their work."""


def record_facts(folder: Path, memory_times: int = 1) -> Recording:
    """Run the inspection's commands once, for real, on this machine with one card shown, of so many times its real memory."""
    folder.mkdir(parents=True, exist_ok=True)
    model = find(MODEL)
    assert model is not None
    shown = folder / "gpus.json"
    shown.write_text(nvidia_smi.cards_json(MODEL, [RECORDED_UUID], model.skus[0].nominal_mib * memory_times))
    nvidia_smi.install(folder, Path(sys.executable))
    environment = {
        "PATH": f"{folder}:{os.defpath}:/usr/sbin:/sbin",
        "HOME": str(folder),
        "LC_ALL": "C",
        nvidia_smi.SPEC_VARIABLE: str(shown),
    }
    return {c.name: _record(c.command, c.timeout_s, c.limit_bytes, environment) for c in COMMANDS}


async def answer_session(process: Process, machine: Scripted) -> None:
    """Serve one validator's session to its end."""
    if machine.profile.fault is Fault.DROPS_LOGIN:
        process.channel.get_connection().abort()
        return
    if machine.profile.fault is Fault.HANGS:
        await process.channel.wait_closed()
        return
    try:
        await _read(process)  # the program that a real machine would run
        while (request := await _read(process)) is not None:
            if not await _answer(process, json.loads(request), machine):
                break
    except HangsUp:
        process.channel.get_connection().abort()
    except (asyncio.IncompleteReadError, asyncssh.Error, OSError, BadAnswer, ValueError, KeyError):
        process.exit(1)
    else:
        process.exit(0)


async def _answer(process: Process, request: Mapping[str, object], machine: Scripted) -> bool:
    """Do what is asked; False when the conversation is over."""
    what = request["do"]
    if what == "facts":
        await _write(process, _facts(request, machine.recording, machine.card_uuid))
    elif what == "source":
        await _write(process, os.urandom(int(str(request["bytes"]))))
    elif what == "sink":
        probe = await _read(process) or b""
        await _write(process, json.dumps({"digest": hashlib.blake2s(probe).hexdigest()}).encode())
    elif what == "prove":
        archive = await _read(process) or b""
        told = {"proving": hashlib.blake2s(archive).hexdigest(), "seconds": 0.0}
        await _write(process, json.dumps(told).encode())
        await hold_proof(partial(_read, process), partial(_write, process), machine.profile, machine.bench)
        return False
    else:
        raise BadAnswer(f"nothing is known to do for {what!r}")
    return True


def _record(command: str, timeout_s: float, limit_bytes: int, environment: Mapping[str, str]) -> RecordedFact:
    try:
        done = subprocess.run(  # noqa: S603  the inspection's own constants
            ["/bin/sh", "-c", command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return RecordedFact(124, b"", b"", timeout_s)
    return RecordedFact(max(done.returncode, 0), done.stdout[:limit_bytes], done.stderr[:2048], 0.001)


def _facts(request: Mapping[str, object], recording: Recording, card_uuid: str) -> bytes:
    commands = request["commands"]
    assert isinstance(commands, list)
    facts = [_fact(str(c["name"]), recording[str(c["name"])], card_uuid) for c in commands]
    return json.dumps({"facts": facts}).encode()


def _fact(name: str, fact: RecordedFact, card_uuid: str) -> dict[str, object]:
    stdout = fact.stdout.replace(RECORDED_UUID.encode(), card_uuid.encode())
    return {
        "name": name,
        "exit": fact.exit_code,
        "stdout": base64.b64encode(stdout).decode(),
        "stderr": base64.b64encode(fact.stderr).decode(),
        "seconds": fact.duration_s,
        "truncated": False,
    }


async def _read(process: Process) -> bytes | None:
    """The next frame; None when the validator has gone."""
    try:
        size = int.from_bytes(await process.stdin.readexactly(_HEADER_BYTES), "big")
        if size > MAX_FRAME_BYTES:
            raise BadAnswer(f"a frame of {size} bytes")
        return bytes(await process.stdin.readexactly(size))
    except (asyncio.IncompleteReadError, asyncssh.Error, OSError):
        return None


async def _write(process: Process, frame: bytes) -> None:
    process.stdout.write(len(frame).to_bytes(_HEADER_BYTES, "big") + frame)
    await process.stdout.drain()
