"""A market on loopback: real HTTP servers that answer like the named sources, or worse."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace

from tasks.pricing.sources import SOURCES

TAO = {
    "kraken": lambda usd: {"error": [], "result": {"TAOUSD": {"c": [str(usd), "1"]}}},
    "coinbase": lambda usd: {"data": {"amount": str(usd), "base": "TAO", "currency": "USD"}},
}


def saying(document, *, status=200, head=()):
    """A behaviour: this document as the whole answer."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()

    async def behave(writer):
        lines = [f"HTTP/1.1 {status} X", *head, f"Content-Length: {len(body)}", "", ""]
        writer.write("\r\n".join(lines).encode() + body)

    return behave


@contextlib.asynccontextmanager
async def market(tls=None, **behaviours):
    """Sources by name whose address leads to a server that behaves so; and what each was asked, as it comes in."""
    requests = []
    async with contextlib.AsyncExitStack() as stack:
        sources = []
        for name, behave in behaviours.items():
            port = await stack.enter_async_context(_serving(name, behave, requests, tls))
            scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
            sources.append(replace(SOURCES[name], url=f"{scheme}://{host}:{port}/price"))
        yield sources, requests


@contextlib.asynccontextmanager
async def _serving(name, behave, requests, tls):
    async def handle(reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            requests.append((name, head.split(b"\r\n")[0].decode()))
            await behave(writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
