"""One look at a machine for all of its leases: are the containers alive, what do they and their cards use.

    engine -> containers, cards, use -> {lease: Found}

What is asked goes in few round trips, whatever the number of leases; all of it by one deadline. What a machine tells is its
own word: it can't make a lease cost more, since only time does, and a container that it says lives is still proved by
`tasks/renting/proving.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from storage.rental import CardUse, Rental
from tasks.edges.engine import Container, Stats
from tasks.edges.runtime import Runtime
from tasks.edges.shell import Session
from tasks.inspection.facts.gpu_use import GPU_USE
from tasks.inspection.facts.text import Unreadable
from tasks.inspection.talk import ask_facts

KILLED = 128 + 9


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found of one lease."""

    dead: str = ""
    """How its container was found; empty: it lives."""
    cards: tuple[CardUse, ...] = ()
    """Of the lease's cards; none where nvidia-smi did not tell."""
    stats: Stats | None = None

    @property
    def gpu_percent(self) -> float | None:
        """Of its busiest card; None when nothing is known, or when nothing can run on it."""
        return None if self.dead else max((card.percent for card in self.cards), default=None)


def look(
    runtime: Runtime, rentals: Iterable[Rental], *, deadline: float, is_measured: bool = True
) -> Mapping[str, Found]:
    """What is found of each lease; raises what the session and the engine do when the machine does not tell.

    `is_measured`: what the containers use, too, for which Docker takes two seconds.
    """
    leases = tuple(rentals)
    containers = {container.name: container for container in runtime.containers(deadline=deadline)}
    cards = ask_cards(runtime.session, deadline=deadline)
    alive = [
        name
        for name in map(container_of, leases)
        if name in containers and containers[name].status == "running"
    ]
    stats = runtime.all_stats(alive, deadline=deadline) if is_measured else {}
    return {
        lease.lease_id: Found(
            dead_by(lease, containers.get(container_of(lease))),
            tuple(cards[uuid] for uuid in lease.card_uuids if uuid in cards),
            stats.get(container_of(lease)),
        )
        for lease in leases
    }


def container_of(rental: Rental) -> str:
    """The name of a lease's container; empty when it has none."""
    return rental.access.container if rental.access else ""


def ask_cards(session: Session, *, deadline: float) -> Mapping[str, CardUse]:
    """What each card of a machine does, by its UUID; those that don't tell are missing."""
    [told] = ask_facts(session, [GPU_USE.command], deadline=deadline)
    found = GPU_USE.read(told)
    return {} if isinstance(found, Unreadable) else found


def dead_by(rental: Rental, container: Container | None) -> str:
    """How a lease's container is dead, empty when it lives or is being started again. Pure."""
    if container is None or container.lease_id != rental.lease_id:
        return "gone"
    match container.status:
        case "running" | "restarting" | "created" | "initialized":
            return ""
        case "paused" | "dead":
            return container.status
        case "removing":
            return "gone"
        case _:
            if container.is_oom_killed:
                return "out of memory"
            return "killed" if container.exit_code == KILLED else "stopped"
