"""The orphan sweep: containers and volumes of leases that are over go, and nothing else does.

A container is removed only with a proof of no lease: it carries our label, our own hotkey and this machine's name, its
lease is in our state, and that lease is closed or was let go by this attempt. One whose lease we don't know stays, and is
told: the state may be an older copy. What other validators, miners and renters run is never even looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from storage.claims import Claims
from storage.rental import LeftVolume, Rental, RentalState, Volume
from storage.rentals import Rentals
from storage.volumes import Volumes
from tasks.edges.engine import Container
from tasks.edges.runtime import Runtime
from tasks.errors import ContainerRefused, VolumeRefused
from tasks.renting.containers import volume_name
from tasks.renting.moves import CLOSED

STOP_GRACE_S = 1
"""For a container that should not run: its visit is short."""


class Fate(StrEnum):
    """What becomes of a container that the sweep finds."""

    FOREIGN = "foreign"
    """Another validator's, or another machine's of the same engine."""
    IN_USE = "in use"
    """Its lease stands, or somebody is at work on it."""
    AWAKE = "awake"
    """Its lease is stopped, and nobody works on it: its cards may be another's, and yet it runs."""
    ORPHAN = "orphan"
    """Its lease is over, or goes on without it."""
    UNKNOWN = "unknown"
    """Our own by its labels, and yet of no lease that we know: nothing proves that nobody uses it."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did on one machine."""

    removed: tuple[str, ...] = ()
    """Names of containers."""
    wiped: tuple[str, ...] = ()
    """Volumes, as renter/volume."""
    unknown: tuple[str, ...] = ()
    """Names of containers that were left alone although no lease of theirs is known."""
    stopped: tuple[str, ...] = ()
    """Names of containers that ran although their leases are stopped."""
    refused: tuple[str, ...] = ()
    """What the engine would not remove, with its words: tried again at the next sweep."""


def fate_of(
    container: Container,
    lease_of: Callable[[str], Rental | None],
    at_work: Collection[str],
    own_hotkey: str,
    executor_key: str,
) -> Fate:
    """What is to become of a container; `at_work` are the leases that some run works on now."""
    if (container.validator_hotkey, container.executor_key) != (own_hotkey, executor_key):
        return Fate.FOREIGN
    rental = lease_of(container.lease_id)
    if rental is None:
        return Fate.UNKNOWN
    if container.lease_id in at_work:
        return Fate.IN_USE
    if rental.state is RentalState.STOPPED and container.is_running:
        return Fate.AWAKE
    # A lease that is over is so in every newer state, too: what it has left goes, of whichever attempt.
    if container.attempt > rental.attempt and rental.state not in CLOSED:
        return Fate.UNKNOWN
    is_let_go = not rental.executor_key or container.attempt < rental.attempt
    return Fate.ORPHAN if rental.state in CLOSED or is_let_go else Fate.IN_USE


def sweep(
    runtime: Runtime,
    engine: sa.Engine,
    own_hotkey: str,
    executor_key: str,
    *,
    now: Callable[[], datetime],
    deadline: float,
) -> Swept:
    """Remove one machine's orphans and wipe its doomed volumes; raises what the session raises.

    Who is at work is asked after the containers were listed: whoever is then may have made one of them.
    """
    found = runtime.containers(deadline=deadline)
    at_work, lease_of = Claims(engine).held(now()), Rentals(engine).get
    fates = {c.name: fate_of(c, lease_of, at_work, own_hotkey, executor_key) for c in found}
    removed, refused = _each(_named(fates, Fate.ORPHAN), lambda name: runtime.remove(name, deadline=deadline))
    stopped, going = _each(
        _named(fates, Fate.AWAKE), lambda name: runtime.stop(name, STOP_GRACE_S, deadline=deadline)
    )
    wiped, kept = _wipe_all(runtime, Volumes(engine), executor_key, deadline)
    return Swept(removed, wiped, _named(fates, Fate.UNKNOWN), stopped, refused + going + kept)


def _named(fates: dict[str, Fate], fate: Fate) -> tuple[str, ...]:
    return tuple(name for name, found in fates.items() if found is fate)


def _each(names: Iterable[str], do: Callable[[str], None]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that it was done to, and those that the engine refused it of, with its words."""
    done, refused = [], []
    for name in names:
        try:
            do(name)
        except ContainerRefused as error:
            refused.append(f"{name}: {error}")
        else:
            done.append(name)
    return tuple(done), tuple(refused)


def _wipe_all(
    runtime: Runtime, volumes: Volumes, executor_key: str, deadline: float
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Doomed volumes, and what is left of others."""
    doomed = (volume for volume in volumes.doomed() if volume.executor_key == executor_key)
    over: list[Volume | LeftVolume] = [*doomed, *volumes.left_on(executor_key)]
    wiped, refused = [], []
    for volume in over:
        name = f"{volume.renter_id}/{volume.name}"
        try:
            on_machine = volume_name(volume.renter_id, volume.name, executor_key)
            runtime.remove_volume(on_machine, deadline=deadline)
        except VolumeRefused as error:
            refused.append(f"{name}: {error}")
            continue
        if isinstance(volume, LeftVolume):
            volumes.gone(volume)
        else:
            volumes.wiped(volume.renter_id, volume.name)
        wiped.append(name)
    return tuple(wiped), tuple(refused)
