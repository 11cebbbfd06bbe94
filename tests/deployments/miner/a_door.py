"""A miner's door as a process of its own: prints its port, serves until its input ends."""

import asyncio
import sys
from pathlib import Path

from bittensor import sp_core

from deployments.miner.agent import build_app
from deployments.miner.listening import serve
from tasks.edges.nonces import NonceStore
from tasks.offering.config import MinerConfig


async def main() -> None:
    """Serve no executors to anybody."""
    keypair = sp_core.Keypair.create_from_uri("//Miner")
    store = NonceStore(Path(sys.argv[1]) / "shared.sqlite")
    app = build_app(MinerConfig(()), keypair, lambda _: True, store)
    async with serve(app, "127.0.0.1", 0) as port:
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
