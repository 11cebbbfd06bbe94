"""Opening what work on leases needs from the settings; kept open with the edges in a process that runs many flows."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from flows.edges import kept, open_edges
from flows.policies import named_policy
from flows.settings import Settings, read_settings
from storage.sealing import Sealer
from tasks.epoch import Edges
from tasks.renting.market import Market


@asynccontextmanager
async def open_market(
    settings: Settings | None = None, substrate: Callable[[], object] | None = None
) -> AsyncIterator[Market]:
    """The market that the environment names (.env.example), or these settings; `substrate` as for `open_edges`."""
    given = settings or read_settings(os.environ)
    async with open_edges(given, substrate) as edges:
        known = kept(("market", given), lambda: _market(given, edges))
        if known is not None:
            yield known
            return
        market = _market(given, edges)
        try:
            yield market
        finally:
            market.close()


def _market(settings: Settings, edges: Edges) -> Market:
    sealer = Sealer.of(settings.secrets_key)
    return Market(edges, named_policy(settings.policy), sealer, settings.backups)
