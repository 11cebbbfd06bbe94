"""A marketplace over a database of its own: two renters, a clock by hand, machines that are told, containers that answer from a script."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import httpx

from deployments.marketplace.app import build_app
from deployments.marketplace.buckets import Rate
from deployments.marketplace.market import Desk, Limits, Market, Printed
from storage.money import Money
from storage.rental import Access, Published, RentalState
from storage.rentals import Rentals
from storage.renter import Scope
from storage.renters import Renters
from storage.sealing import Sealer
from tasks.renting.api_keys import new_key
from tasks.renting.meter import Reading
from tasks.renting.money import granted
from tasks.renting.moves import handed_over, moved, reserved
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, USD, offer
from tests.tasks.renting.renters import renter

SEALING_KEY = b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti me@laptop"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJq5nbnbSWxkPPkIqLBNyhVHKiZl8q0j0bBxPmCZbGwX me@desk"
ENDLESS = Rate(1e9, 10**9)
NO_LIMITS = Limits(
    per_key=ENDLESS,
    per_address=ENDLESS,
    per_visitor=ENDLESS,
    failures=ENDLESS,
    sign_ins=ENDLESS,
    sign_ups=ENDLESS,
    passkeys=ENDLESS,
    estimates=ENDLESS,
)


def printed(stdout=b"", stderr=b"", exit_code=0, *, is_truncated=False):
    """What a container printed."""
    return Printed(exit_code, stdout, stderr, is_truncated)


@dataclass
class Clock:
    """The time, which passes when it is told to."""

    at: object = NOON
    s: float = 1_000.0

    def now(self):
        """The wall clock."""
        return self.at

    def monotonic(self):
        """The other one."""
        return self.s

    def passes(self, seconds):
        """Both go on."""
        self.at += timedelta(seconds=seconds)
        self.s += seconds


@dataclass
class ScriptedConsole:
    """Answers as it was told to, and remembers what it was asked."""

    answers: list = field(default_factory=list)
    readings: list = field(default_factory=list)
    asked: list = field(default_factory=list)
    closed: int = 0

    async def open(self, rental, _deadline_s):
        """A session is itself."""
        self.asked.append(("open", rental.lease_id))
        return self

    def execute(self, argv, stdin, timeout_s, _limit_bytes):
        """The next answer."""
        self.asked.append(("execute", argv, stdin, timeout_s))
        return self._next()

    def logs(self, tail, since, _limit_bytes):
        """The next answer; an empty log when there is none left."""
        self.asked.append(("logs", tail, since))
        return self._next() if self.answers else printed()

    def measure(self, card_uuids, _timeout_s):
        """The next reading; one that tells nothing when there is none left."""
        self.asked.append(("measure", card_uuids))
        if not self.readings:
            return Reading()
        answer = self.readings.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _next(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        """Counted."""
        self.closed += 1


@dataclass
class Starter:
    """Counts how often it was poked."""

    orchestrator: str = "ok"
    pokes: int = 0

    def poke(self):
        """Once more."""
        self.pokes += 1


@dataclass
class World:
    """The market, its stores, and keys to it."""

    market: Market
    clock: Clock
    console: ScriptedConsole
    starter: Starter
    machines: list
    keys: dict = field(default_factory=dict)
    beside: tuple = ()

    def __post_init__(self):
        self.desk = Desk(self.market)
        self.app = build_app(self.market, self.beside)

    @property
    def stores(self):
        """The tables."""
        return self.desk.stores

    def key(self, renter_id="alice", *scopes, **more):
        """A new key of a renter; of all scopes by default."""
        token, key = new_key(renter_id, "test", scopes or (Scope.ADMIN,), self.clock.at, **more)
        self.stores.renters.add_key(key, self.clock.at)
        return token

    def client(self, renter_id="alice", *scopes, token=None):
        """Asks the app directly, as this renter; errors of the app are raised."""
        held = token or self.key(renter_id, *scopes)
        return Client(self.app, {"Authorization": f"Bearer {held}"})

    def stranger(self):
        """Asks without a key."""
        return Client(self.app, {})

    def rebuilt(self, **changes):
        """The same world with something about its market changed."""
        return World(
            replace(self.market, **changes),
            self.clock,
            self.console,
            self.starter,
            self.machines,
            beside=self.beside,
        )

    def active(self, client, **body):
        """A lease of the client that was handed over, on the first machine that is free."""
        return self.hand_over(ask(client, **body).json()["lease_id"])

    def hand_over(self, lease_id, *happened):
        """What a worker does with a lease, in a moment; on the machine that it names, if it is one of ours."""
        rentals = Rentals(self.market.engine)
        lease = rentals.get(lease_id)
        held = rentals.held()
        free = [one for one in self.machines if one.card_uuids[0] not in held]
        machine = next((one for one in free if one.executor_key == lease.wish.executor_key), free[0])
        cards = machine.card_uuids[: lease.wish.card_count or None]
        access = Access(
            "203.0.113.7",
            30_022,
            (
                Published(22, 30_022),
                *(Published(p.inside, 31_000 + n) for n, p in enumerate(lease.pod.ports)),
            ),
            "ssh-ed25519 AAAA",
            "sha256:0",
            f"subnet-{lease_id}-1",
        )
        for step in (
            lambda one: reserved(one, machine, cards, self.clock.at),
            lambda one: moved(one, RentalState.PROVISIONING, self.clock.at),
            lambda one: handed_over(one, self.clock.at, access),
        ):
            lease, before = step(lease), lease
            assert rentals.move(before, lease, happened if lease.state is RentalState.PROVISIONING else ())
        return lease


class Client:
    """A synchronous client over the app, for tests that read like a conversation."""

    def __init__(self, app, headers, base="http://127.0.0.1:8091"):
        self.app, self.headers, self.base = app, headers, base

    def request(self, method, path, *, key=None, headers=None, **more):
        """One request; `key` is its Idempotency-Key."""
        import asyncio

        sent = {**self.headers, **(headers or {}), **({"Idempotency-Key": key} if key else {})}

        async def once():
            transport = httpx.ASGITransport(self.app, client=("192.0.2.1", 1234))
            async with httpx.AsyncClient(transport=transport, base_url=self.base) as client:
                return await client.request(method, path, headers=sent, **more)

        return asyncio.run(once())

    def get(self, path, **more):
        """GET."""
        return self.request("GET", path, **more)

    def post(self, path, json=None, **more):
        """POST."""
        return self.request("POST", path, json=json, **more)

    def put(self, path, json=None, **more):
        """PUT."""
        return self.request("PUT", path, json=json, **more)

    def patch(self, path, json=None, **more):
        """PATCH."""
        return self.request("PATCH", path, json=json, **more)

    def delete(self, path, **more):
        """DELETE."""
        return self.request("DELETE", path, **more)


def ask(client, key="k-1", **changes):
    """A lease asked for: plain Ubuntu on any machine."""
    body = {"pod": {"image": "ubuntu:24.04"}, **changes}
    return client.post("/v1/leases", body, key=key)


@contextmanager
def world(folder, *, machines=3, usd=100, limits=NO_LIMITS, beside=(), consoles_are=None, **changes):
    """A marketplace with these machines of two cards; alice and bob have so many USD. One that was here before goes on."""
    engine = fresh(folder, "market.db")
    clock, console, starter = Clock(), ScriptedConsole(), Starter()
    told = [offer(f"5Miner/m-{n:03}") for n in range(machines)]
    for name in ("alice", "bob"):
        Renters(engine).add(renter(name))
        if usd:
            Money(engine).post(granted(name, usd * USD, f"start-{name}", NOON, "to begin with"))
    market = Market(
        engine=engine,
        sealer=Sealer(SEALING_KEY),
        digest_key=b"k" * 32,
        offers=lambda: tuple(told),
        consoles=consoles_are or console,
        starter=starter,
        limits=limits,
        now=clock.now,
        clock=clock.monotonic,
        **changes,
    )
    made = World(market, clock, console, starter, told, beside=beside)
    try:
        yield made
    finally:
        made.desk.close()
        engine.dispose()
