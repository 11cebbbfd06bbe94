"""Renters who rent, operate and end all the time, by the marketplace's API as programs do, drawn from the seed.

What a renter has asked for is known to it by the key that it chose: a request whose answer got lost is asked again until it is
answered, so that at the end every lease that was wanted can be told from one that nobody wanted.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass, field

from deployments.localnet.engine import PLAIN_IMAGE
from deployments.renting.client import Client, Patience
from deployments.renting.wire import Document
from tasks.edges.shell import EpochKey
from tasks.errors import MarketAway, MarketRefused, SubnetError
from tests.chaos.system import System

OPEN = ("requested", "reserved", "provisioning", "active", "stopped", "ending")
MOST_LEASES = 3
PAUSE_S = (0.5, 4.0)
TTL_S = (60, 900)
IMPATIENT = Patience(attempts=2, first_wait_s=0.3, longest_wait_s=1.0, whole_s=10.0)


@dataclass
class Renter:
    """One renter, and what it has asked for."""

    name: str
    key: str
    system: System
    draw: random.Random
    public_key: str = field(default_factory=lambda: EpochKey.generate().public_line)
    wanted: dict[str, Document] = field(default_factory=dict)
    """Leases that were asked for, by the key chosen for each."""
    leases: dict[str, str] = field(default_factory=dict)
    """The lease that the market has answered with, by the same key."""
    counts: Counter[str] = field(default_factory=Counter)

    def live(self, stop: threading.Event) -> None:
        """Do one thing after the other until told to stop."""
        while not stop.wait(self.draw.uniform(*PAUSE_S)):
            try:
                with self.client() as client:
                    self._ask_again(client)
                    self._do_something(client)
            except MarketRefused as refused:
                self.counts[f"refused: {refused.code or refused.status}"] += 1
            except MarketAway:
                self.counts["market away"] += 1
            except SubnetError as error:
                self.counts[f"{type(error).__name__}"] += 1

    def finish(self, keep: int) -> list[str]:
        """Ask again for what was never answered, and end all open leases but so many; the names of those kept."""
        with self.client() as client:
            self._ask_again(client)
            active = [lease["lease_id"] for lease in self._mine(client) if lease["state"] == "active"]
            kept = [str(name) for name in active[:keep]]
            for lease in self._mine(client):
                if lease["state"] in OPEN and lease["lease_id"] not in kept:
                    client.delete(f"/v1/leases/{lease['lease_id']}")
        return kept

    def client(self) -> Client:
        """The market's, with this renter's key."""
        return Client(self.system.market, self.key, patience=IMPATIENT, read_s=20.0)

    def _mine(self, client: Client) -> list[Document]:
        return list(client.pages("/v1/leases", most=200))

    def _ask_again(self, client: Client) -> None:
        for key, body in list(self.wanted.items()):
            if key not in self.leases:
                self._send(client, key, body)

    def _send(self, client: Client, key: str, body: Document) -> None:
        try:
            self.leases[key] = str(client.post("/v1/leases", body, request_id=key)["lease_id"])
        except MarketRefused:
            self.wanted.pop(key)  # it said no: nothing was asked for
            raise
        self.counts["rent"] += 1

    def _do_something(self, client: Client) -> None:
        mine = [lease for lease in self._mine(client) if lease["state"] in OPEN]
        if len(mine) < MOST_LEASES and self.draw.random() < (0.8 if not mine else 0.35):
            self._rent(client)
        elif mine:
            self._handle(client, self.draw.choice(mine))

    def _rent(self, client: Client) -> None:
        offers = [o for o in client.pages("/v1/offers", most=50) if o["free_card_count"]]
        if not offers:
            self.counts["nothing on offer"] += 1
            return
        offer = self.draw.choice(offers)
        key = f"{self.name}-{len(self.wanted)}-{self.draw.getrandbits(40):x}"
        mounts = (
            [{"volume": f"data-{self.draw.randrange(3)}", "at": "/data"}] if self.draw.random() < 0.5 else []
        )
        wish: Document = {"card_count": 1}
        wish |= (
            {"executor_key": offer["executor_key"]} if self.draw.random() < 0.5 else {"model": offer["model"]}
        )
        if self.draw.random() < 0.15:
            wish |= {"mode": "spot", "bid_micro_usd_per_hour": 50_000_000}
        body: Document = {
            "wish": wish,
            "pod": {
                "image": PLAIN_IMAGE,
                "words": ["sleep", "100000"],
                "public_keys": [self.public_key],
                "mounts": mounts,
                "environment": {"TOKEN": "hunter2"},
            },
            "terms": {"ttl_s": self.draw.randint(*TTL_S)},
        }
        self.wanted[key] = body
        self._send(client, key, body)

    def _handle(self, client: Client, lease: Document) -> None:
        name, state = str(lease["lease_id"]), lease["state"]
        what = self.draw.choice(("stop", "start", "reboot", "keys", "replace", "backup", "end", "end"))
        if what == "end":
            client.delete(f"/v1/leases/{name}")
        elif (what == "start") == (state == "stopped") and state in {"active", "stopped"}:
            body: Document = {}
            if what == "keys":
                body = {"add": [EpochKey.generate().public_line]}
            elif what == "replace":
                body = {"image": PLAIN_IMAGE, "words": ["sleep", "200000"]}
            elif what == "backup":
                body = {"path": "/etc"}
            client.post(f"/v1/leases/{name}/{'backups' if what == 'backup' else what}", body)
        else:
            return
        self.counts[what] += 1


def make_renters(system: System, seed: int, count: int, usd: int = 1_000) -> list[Renter]:
    """Renters with money, as an operator makes them."""
    renters = []
    for number in range(count):
        name = f"renter-{number}"
        key = system.local.typed("market", "renter", "add", name).split()[-1]
        system.local.typed("market", "credit", name, str(usd), "--reason", "welcome")
        renters.append(Renter(name, key, system, random.Random(f"{seed}/{name}")))
    return renters
