"""Many requests for few machines at once: through the real API, and through the flow for each of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from deployments.marketplace.app import build_app
from deployments.marketplace.market import Market
from flows.rent import rent_lease
from storage.money import Money
from storage.rental import Rental
from storage.renter import Scope
from storage.renters import Renters
from tasks.renting.api_keys import new_key
from tasks.renting.money import granted
from tasks.renting.offering import Offering
from tests.databases import fresh
from tests.deployments.marketplace.serving import served
from tests.deployments.marketplace.world import NO_LIMITS, SSH_KEY, Starter
from tests.tasks.renting.leases import NOON, USD
from tests.tasks.renting.renters import renter
from tests.tasks.renting.sites import Town, proved

CLIENTS = 32
"""Threads that ask: each request has a connection and a key of its own."""


@dataclass(frozen=True)
class Raced:
    """What came of it."""

    statuses: Counter
    answer_s: tuple[float, ...]
    """Of each request, until its answer."""
    leases: tuple[Rental, ...]
    held: dict[str, str]

    @property
    def states(self) -> Counter:
        """How many leases stand in each state."""
        return Counter(lease.state.value for lease in self.leases)


def race(folder: Path, requests: int, machines: int) -> Raced:
    """So many requests for so many machines; all flows work at the same time."""
    engine = fresh(folder)
    names = [f"m-{n:03}" for n in range(machines)]
    proved(engine, names)
    town = Town(folder, engine, names)
    offering = Offering(engine, town.policy)
    market = Market(
        engine=engine,
        sealer=town.market.sealer,
        digest_key=b"k" * 32,
        offers=lambda: offering.offers(town.clock()),
        consoles=None,
        starter=Starter(),
        policy=town.policy,
        limits=NO_LIMITS,
    )
    tokens = [_renter(engine, n, town.clock()) for n in range(requests)]
    try:
        with served(build_app(market)) as url:
            answers = _ask_all(url, tokens)
        asyncio.run(_rent_all(town, [lease_id for _, _, lease_id in answers if lease_id]))
        leases = tuple(town.lease(lease_id) for _, _, lease_id in answers if lease_id)
        return Raced(
            Counter(status for status, _, _ in answers),
            tuple(took for _, took, _ in answers),
            leases,
            dict(town.market.rentals.held()),
        )
    finally:
        town.market.close()
        engine.dispose()


def _renter(engine, number: int, now) -> str:
    name = f"renter-{number}"
    Renters(engine).add(replace(renter(name), renter_id=name))
    Money(engine).post(granted(name, 100 * USD, f"grant-{name}", NOON, "race"))
    token, key = new_key(name, "race", (Scope.ADMIN,), now)
    Renters(engine).add_key(key, now)
    return token


def _ask_all(url: str, tokens: list[str]) -> list[tuple[int, float, str]]:
    with (
        ThreadPoolExecutor(CLIENTS) as threads,
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        return list(threads.map(lambda token: _ask(client, token), tokens))


def _ask(client: httpx.Client, token: str) -> tuple[int, float, str]:
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "race"}
    body = {"pod": {"image": "ubuntu", "public_keys": [SSH_KEY]}}
    began = time.perf_counter()
    answer = client.post("/v1/leases", json=body, headers=headers)
    took = time.perf_counter() - began
    return answer.status_code, took, answer.json().get("lease_id", "")


async def _rent_all(town: Town, lease_ids: list[str]) -> None:
    await asyncio.gather(*(rent_lease(town.market, lease_id) for lease_id in lease_ids))
