"""A miner's door on loopback, or the least server that refuses: what strangers of the bench knock at.

python -m tests.bench.door FOLDER AT_NS [--bare]      prints its port, and its CPU seconds for each line of its stdin

Its time stands still at AT_NS, so that a request is as old as it was signed to be, however long the bench takes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from bittensor import sp_core

from deployments.miner.agent import build_app
from deployments.miner.bounds import Bounds
from deployments.miner.listening import serve
from deployments.miner.tls import DoorTls
from tasks.edges.nonces import NonceStore
from tasks.offering.config import MinerConfig

MINER, VALIDATOR, STRANGER = (
    sp_core.Keypair.create_from_uri(f"//{name}") for name in ("Miner", "Validator", "Stranger")
)
_REFUSAL = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"


async def main(folder: Path, at_ns: int, *, is_bare: bool) -> None:
    """Refuse until stdin ends."""
    if is_bare:
        server = await asyncio.start_server(_refuse, "127.0.0.1", 0, backlog=1_024)
        async with server:
            await _tell(server.sockets[0].getsockname()[1])
        return
    bounds = Bounds(requests_per_s=1e9, burst=10**9, connections=10_000, connections_per_address=10_000)
    config = MinerConfig((), folder=folder)
    nonces = NonceStore(folder / "agent.sqlite")
    app = build_app(config, MINER, _may_enter, nonces, bounds=bounds, now_ns=lambda: at_ns)
    async with serve(app, "127.0.0.1", 0, DoorTls(folder / "tls").context) as port:
        await _tell(port)
    nonces.close()


def _may_enter(hotkey: str) -> bool | str:
    return hotkey == VALIDATOR.ss58_address or "not registered on subnet 51 at block 100"


async def _tell(port: int) -> None:
    print(port, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(time.process_time(), flush=True)


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(_REFUSAL)
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), is_bare="--bare" in sys.argv))
