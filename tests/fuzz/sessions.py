"""A target over the network: a live `Shell` against an honest SSH server whose words are changed on their way.

An input is a plan of `mutant_server.py`. Whatever is changed, a session ends with an error of ours or goes through.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from paramiko import common

from storage.records import Executor
from tasks.edges.shell import EpochKey, Shell, ShellSettings
from tasks.errors import SubnetError
from tests.fuzz import mutant_server
from tests.fuzz.target import Limits, Target

DEADLINE_S = 0.5
PACKETS = 12
"""An honest server sends so many, up to its last answer's first."""
BYTES = 3_000
"""Most of what is before the answers."""
_KINDS = tuple(sorted(v for n, v in vars(common).items() if n.startswith("MSG_") and isinstance(v, int)))


def made(rng: random.Random) -> bytes:
    """A plan of one to three changes."""
    if rng.random() < 0.6:
        return json.dumps({"packets": [_packet(rng) for _ in range(rng.randint(1, 3))]}).encode()
    return json.dumps({"bytes": [_bytes(rng) for _ in range(rng.randint(1, 3))]}).encode()


def _packet(rng: random.Random) -> list[object]:
    what = rng.choice(("drop", "twice", "late", "cut", "grow", "flip", "flip", "kind", "word", "before"))
    hows: dict[str, object] = {
        "kind": rng.choice((*_KINDS, rng.randrange(256))),
        "grow": rng.choice((1, 4, 1_000, 30_000)),
        "before": _foreign(rng),
    }
    return [rng.randrange(PACKETS), what, hows.get(what, rng.randrange(4_096))]


def _foreign(rng: random.Random) -> str:
    """A packet of any number: nothing in it, noise, or lengths of 4 billion."""
    body = rng.choice((b"", rng.randbytes(rng.randrange(40)), b"\0\0\0\0" + b"\xff" * 8, b"\xff" * 20))
    return (bytes([rng.choice((*_KINDS, rng.randrange(1, 256)))]) + body).hex()


def _bytes(rng: random.Random) -> list[object]:
    what = rng.choice(("flip", "flip", "drop", "twice", "insert", "swap", "cut", "stall"))
    hows: dict[str, object] = {
        "flip": 1 << rng.randrange(8),
        "insert": rng.randbytes(rng.choice((1, 4, 60, 2_000))).hex(),
    }
    # Most of what can go wrong is in the banner and the headers of packets.
    return [
        rng.choice((rng.randrange(60), rng.randrange(BYTES))),
        what,
        hows.get(what, rng.choice((1, 4, 64))),
    ]


@contextlib.contextmanager
def opened() -> Iterator[Callable[[bytes], None]]:
    """The server, as a process of its own, and a shell of ours; the first session has nothing changed."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", mutant_server.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        executor = Executor(
            "one",
            "5Miner",
            1,
            1,
            "127.0.0.1",
            told["port"],
            "subnet",
            "/usr/bin/python3",
            bytes.fromhex(told["key"]),
            1.0,
        )
        shell, key, plans = Shell(ShellSettings(starts_per_s=1e6)), EpochKey.generate(), process.stdin

        def take(data: bytes) -> None:
            plans.write(data.decode() + "\n")
            with contextlib.suppress(SubnetError):
                # What is changed before it is encrypted is what the server says; what is changed later is nobody's word.
                talk(shell, key, executor, DEADLINE_S, is_whole=b'"packets"' not in data)

        try:
            plans.write("{}\n")
            talk(shell, key, executor, 10.0)
            yield take
        finally:
            process.stdin.close()


def talk(shell: Shell, key: EpochKey, executor: Executor, within_s: float, *, is_whole: bool = True) -> None:
    """A session as an inspection has it: two frames, and an answer to each, which is whole or none."""
    deadline = time.monotonic() + within_s
    session = shell.open(executor, key, deadline=deadline)
    try:
        for answer in mutant_server.ANSWERS:
            session.send(bytes(5_000), deadline=deadline)
            got = session.receive(deadline=deadline, limit_bytes=1 << 20)
            assert got == answer or not is_whole, "an answer that is not the server's was taken for one"
    finally:
        session.close()


TARGETS = (Target("sessions", made, opened, Limits(wall_s=DEADLINE_S + 1.0)),)
