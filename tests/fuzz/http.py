"""A target over the network: a validator that asks a miner's agent, whose answer's bytes are changed, its head included.

In an input `{signed}` stands for the headers that sign what follows the head, so that a changed body is read and not only refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable, Iterator

from bittensor import sp_core

from storage.records import MinerReply
from tasks.edges.peers import Peers, PeerSettings
from tasks.edges.signing import Asked, sign_answer
from tests.fuzz.mutating import mutated
from tests.fuzz.parsers import KEY_LINE, assert_shown, miner, offer
from tests.fuzz.target import Limits, Target

VALIDATOR = sp_core.Keypair.create_from_uri("//Validator")
MINER = sp_core.Keypair.create_from_uri("//Miner")
DEADLINE_S = 0.5
SIGNED = b"{signed}"
_BODY = json.dumps({"executors": [offer()]}).encode()
_REFUSAL = b'{"error": "AUTH_STALE", "detail": "too old"}'
SEEDS = (
    b"HTTP/1.1 200 OK\r\n{signed}\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (len(_BODY), _BODY),
    b"HTTP/1.1 200 OK\r\n{signed}\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    % (len(_BODY), _BODY),
    b"HTTP/1.1 403 Forbidden\r\n{signed}\r\nContent-Length: %d\r\n\r\n%b" % (len(_REFUSAL), _REFUSAL),
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n{signed}\r\nContent-Length: %d\r\n\r\n%b"
    % (len(_BODY), _BODY),
    b"HTTP/1.0 200 OK\r\n{signed}\r\nContent-Encoding: gzip\r\n\r\n%b" % _BODY,
)


def _make(rng: random.Random) -> bytes:
    return mutated(rng, SEEDS)


@contextlib.contextmanager
def _opened() -> Iterator[Callable[[bytes], None]]:
    with asyncio.Runner() as runner:
        door = _Door()
        server = runner.run(_listen(door))
        settings = PeerSettings(deadline_s=DEADLINE_S, attempts=1, allow_private=True)
        peers = Peers(VALIDATOR, settings)
        endpoint = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

        async def ask() -> MinerReply:
            until = int(time.time()) + 300
            return await peers.ask(miner(endpoint, MINER.ss58_address), 7, KEY_LINE, until)

        def take(data: bytes) -> None:
            door.answer = data
            assert_shown(runner.run(ask()))

        take(SEEDS[0])
        try:
            yield take
        finally:
            runner.run(peers.__aexit__())
            server.close()


class _Door:
    """Answers every request with the bytes that it was given."""

    answer = b""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(x.lower().split(": ", 1) for x in head.decode().split("\r\n")[1:] if ": " in x)
            body = await reader.readexactly(int(fields["content-length"]))
            writer.write(self._signed(head, body))
            await writer.drain()
        writer.close()

    def _signed(self, head: bytes, body: bytes) -> bytes:
        """The answer, with the signature of its own body where it asks for one."""
        if SIGNED not in self.answer:
            return self.answer
        fields = dict(x.split(": ", 1) for x in head.decode().split("\r\n")[1:] if ": " in x)
        named = {name.lower(): value for name, value in fields.items()}
        nonce, hotkey = int(named["x-bittensor-nonce"]), named["x-bittensor-hotkey"]
        asked = Asked("POST", b"/v1/executors", body, nonce, hotkey, MINER.ss58_address)
        signed = sign_answer(MINER, asked=asked, status=200, body=self.answer.partition(b"\r\n\r\n")[2])
        lines = "\r\n".join(f"{name}: {value}" for name, value in signed.items())
        return self.answer.replace(SIGNED, lines.encode(), 1)


async def _listen(door: _Door) -> asyncio.Server:
    return await asyncio.start_server(door.handle, "127.0.0.1", 0)


TARGETS = (Target("http", _make, _opened, Limits(wall_s=DEADLINE_S + 1.0)),)
