"""A look at the system from outside while it is under chaos: who holds which card, by our own rows and by what really runs."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from deployments.localnet.engine import EngineMissing, find_tool
from storage.database import open_database, reading
from storage.errors import StorageError
from storage.rental import RentalState
from storage.tables import held_cards, rentals
from tasks.renting.containers import ATTEMPT_LABEL, LABEL

LOOK_S = 0.7
ENGINE_EVERY = 4
"""Looks at our rows for one at the engine, which starts a program."""
HOLDING = frozenset({RentalState.RESERVED.value, RentalState.PROVISIONING.value, RentalState.ACTIVE.value})


@dataclass(frozen=True, slots=True)
class Running:
    """A container that runs, as the engine shows it."""

    name: str
    lease_id: str
    attempt: int
    cards: tuple[str, ...]
    is_running: bool


class Watcher:
    """Looks until told to stop; what was wrong at any look is kept."""

    def __init__(self, database: Path, engine_host: str) -> None:
        self._database, self._host = database, engine_host
        self.looks, self.engine_looks = 0, 0
        self.wrong: set[str] = set()
        self._twice: dict[str, int] = defaultdict(int)

    def watch(self, stop: threading.Event) -> None:
        """In a thread of its own."""
        engine = open_database(f"sqlite:///{self._database}")
        try:
            while not stop.wait(LOOK_S):
                self.look(engine)
        finally:
            engine.dispose()

    def look(self, engine: sa.Engine) -> None:
        """Once."""
        try:
            with reading(engine) as connection:
                query = sa.select(held_cards.c.card_uuid, held_cards.c.lease_id)
                held = {str(card): str(lease) for card, lease in connection.execute(query)}
                columns = (rentals.c.lease_id, rentals.c.state, rentals.c.card_uuids, rentals.c.is_holding)
                rows = connection.execute(sa.select(*columns)).tuples().all()
        except StorageError:
            return
        self.looks += 1
        self.wrong |= set(wrong_rows(held, ((n, s, json.loads(c), h) for n, s, c, h in rows)))
        if self.looks % ENGINE_EVERY == 0 and (found := containers(self._host)) is not None:
            self.engine_looks += 1
            self._see(found)

    def _see(self, found: Iterable[Running]) -> None:
        """A card in two running containers of different leases at two looks in a row: one look may see a swap half done."""
        now = set(shared_cards(found))
        for told in now:
            self._twice[told] += 1
            if self._twice[told] > 1:
                self.wrong.add(f"at {datetime.now(UTC):%H:%M:%S}: {told}")
        for told in self._twice.keys() - now:
            self._twice[told] = 0


def wrong_rows(held: Mapping[str, str], leases: Iterable[tuple[str, str, list[str], bool]]) -> Iterable[str]:
    """What of two tables that were read at one moment does not fit."""
    holders: dict[str, list[str]] = defaultdict(list)
    for lease_id, state, cards, is_holding in leases:
        if state in HOLDING and not is_holding:
            yield f"lease {lease_id} is {state} and holds no cards"
        for card in cards if is_holding else ():
            holders[card].append(lease_id)
    for card, names in holders.items():
        if len(names) > 1:
            yield f"card {card} is held by {' and '.join(sorted(names))}"
        elif held.get(card) != names[0]:
            yield f"card {card} is {names[0]}'s, and {held.get(card, 'nobody')} holds it"
    for card in held.keys() - holders.keys():
        yield f"card {card} is held for {held[card]}, which does not hold it"


def shared_cards(found: Iterable[Running]) -> Iterable[str]:
    """Cards that more than one lease has a running container on."""
    users: dict[str, set[str]] = defaultdict(set)
    for one in found:
        for card in one.cards if one.is_running else ():
            users[card].add(one.lease_id)
    for card, names in users.items():
        if len(names) > 1:
            yield f"card {card} is in running containers of {' and '.join(sorted(names))}"


def containers(host: str) -> list[Running] | None:
    """All of the engine that are of leases; None when it does not answer."""
    names = docker(host, "ps", "--all", "--quiet", "--filter", f"label={LABEL}")
    if names is None:
        return None
    told = docker(host, "inspect", *names.split()) if names.split() else "[]"
    if told is None:
        return None
    return [_running(one) for one in json.loads(told)]


def docker(host: str, *words: str) -> str | None:
    """What the engine's own command line prints; None when it can't."""
    try:
        done = subprocess.run(
            [find_tool("docker"), *words],
            env={"DOCKER_HOST": host, "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, EngineMissing):
        return None
    return done.stdout if done.returncode == 0 else None


def _running(told: dict[str, object]) -> Running:
    config, state, host = told["Config"], told["State"], told["HostConfig"]
    assert isinstance(config, dict)
    assert isinstance(state, dict)
    assert isinstance(host, dict)
    cards = [c for r in host.get("DeviceRequests") or () for c in r.get("DeviceIDs") or ()]
    labels = config["Labels"]
    return Running(
        str(told["Name"]).lstrip("/"),
        labels.get(LABEL, ""),
        int(labels.get(ATTEMPT_LABEL, 0)),
        tuple(cards),
        bool(state["Running"]),
    )
