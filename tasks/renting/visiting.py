"""Visiting machines round after round: a session is kept while it lives and is young, so that a look costs no new login.

    Lookout.look_at(machine, its leases)   what is found of each; notices are delivered, and now and then orphans swept

One object for a process. A visit that is late is left where it is: its session is closed, and the next round enters anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

import sqlalchemy as sa

from storage.health import Grain, grain_of
from storage.rental import Mode, Rental
from tasks.edges.runtime import Runtime
from tasks.errors import SubnetError
from tasks.policy import RentingPolicy
from tasks.renting.looking import Found, container_of, look
from tasks.renting.noticing import deliver, text_of
from tasks.renting.sweeping import Swept, sweep

_log = logging.getLogger("subnet.watch")
KEEP_S = 300.0
"""A session has a budget of messages and bytes for its life: after so long another is opened."""
SWEEP_EVERY_S = 600.0
SWEEP_LEAST_S = 3.0
"""Left of a visit; with less its sweep waits for the next round."""


class Site(Protocol):
    """A machine that was entered."""

    def engine(self, deadline: float) -> Runtime:
        """Its container engine."""

    def close(self) -> None:
        """End what is going on over there; from any thread, twice is harmless."""


@dataclass(slots=True)
class _Kept:
    site: Site
    entered_at: float
    lease_id: str
    """Under which it was entered."""


class Enters(Protocol):
    """`tasks.renting.market.Market.enter`, as far as it is needed here."""

    def __call__(self, executor_key: str, limit_s: float, *, lease_id: str) -> Awaitable[Site]:
        """A machine by its key, within so many seconds."""


class Lookout:
    """The machines that are watched."""

    def __init__(
        self,
        engine: sa.Engine,
        own_hotkey: str,
        policy: RentingPolicy,
        *,
        enter: Enters,
        call: Callable[[Callable[[], Mapping[str, Found]]], Awaitable[Mapping[str, Found]]],
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`call` runs what blocks in a thread."""
        self._engine, self._own_hotkey, self.policy = engine, own_hotkey, policy
        self._enter, self._call, self._now, self._monotonic = enter, call, now, monotonic
        self._kept: dict[str, _Kept] = {}
        self._swept: dict[str, float] = {}
        self._measured: dict[str, datetime] = {}

    async def look_at(
        self, executor_key: str, leases: tuple[Rental, ...], left_by: str = ""
    ) -> Mapping[str, Found]:
        """What is found of each lease by the look's deadline; raises what entering and the engine do.

        `left_by`: the lease that was here last, where none is any more: what it has left is swept in its name.
        """
        limit_s = self.policy.look_deadline_s
        deadline = self._monotonic() + limit_s
        kept = self._kept.pop(executor_key, None)
        names = [lease.lease_id for lease in leases] or [left_by]
        if kept is not None and (self._monotonic() - kept.entered_at > KEEP_S or kept.lease_id not in names):
            kept.site.close()
            kept = None
        if kept is None:
            site = await self._enter(executor_key, limit_s, lease_id=names[0])
            kept = _Kept(site, self._monotonic(), names[0])
        try:
            found = await self._call(partial(self._visit, kept.site, executor_key, leases, deadline))
        except BaseException:
            kept.site.close()
            raise
        self._kept[executor_key] = kept
        return found

    def leave_all_but(self, executor_keys: Iterable[str]) -> None:
        """Close the sessions to machines that are watched no more."""
        wanted = set(executor_keys)
        for key in [key for key in self._kept if key not in wanted]:
            self.leave(key)

    def leave(self, executor_key: str) -> None:
        """Close the session to one machine."""
        kept = self._kept.pop(executor_key, None)
        if kept is not None:
            kept.site.close()

    def swept(self, executor_key: str) -> None:
        """Sweep it no more for a while, whether it could be or not."""
        self._swept[executor_key] = self._monotonic()

    def is_sweep_due(self, executor_key: str) -> bool:
        """Whether it is time to sweep a machine again."""
        last = self._swept.get(executor_key)
        return last is None or self._monotonic() - last >= SWEEP_EVERY_S

    def _visit(
        self, site: Site, executor_key: str, leases: tuple[Rental, ...], deadline: float
    ) -> Mapping[str, Found]:
        runtime = site.engine(deadline)
        found = self._looked(runtime, executor_key, leases, deadline) if leases else {}
        for lease in leases:
            if lease.notice_until is not None and not found[lease.lease_id].dead:
                _tell(runtime, lease, deadline)
        if self.is_sweep_due(executor_key) and deadline - self._monotonic() > SWEEP_LEAST_S:
            self._sweep(runtime, executor_key, deadline)
        return found

    def _looked(
        self, runtime: Runtime, executor_key: str, leases: tuple[Rental, ...], deadline: float
    ) -> Mapping[str, Found]:
        """What containers use is asked for once a minute, since Docker takes two seconds for it: for the sample that is kept."""
        now = self._now()
        is_measured = grain_of(now, self._measured.get(executor_key)) is not Grain.FINE
        found = look(runtime, leases, deadline=deadline, is_measured=is_measured)
        if is_measured:
            self._measured[executor_key] = now
        return found

    def _sweep(self, runtime: Runtime, executor_key: str, deadline: float) -> None:
        """Trouble with it costs the look nothing."""
        self.swept(executor_key)
        try:
            swept = sweep(
                runtime, self._engine, self._own_hotkey, executor_key, now=self._now, deadline=deadline
            )
        except SubnetError as error:
            _log.warning("%s could not be swept: %s", executor_key, error)
        else:
            if swept != Swept():
                _log.info("%s swept: %s", executor_key, swept)


def _tell(runtime: Runtime, lease: Rental, deadline: float) -> None:
    """Deliver a lease's notice; what can't be delivered now is tried in the next round."""
    is_spot = lease.wish.mode is Mode.SPOT
    reason = "the spot lease gives way" if is_spot else "an operator stopped the renter"
    assert lease.notice_until is not None
    try:
        deliver(runtime, container_of(lease), text_of(lease.notice_until, reason), deadline=deadline)
    except SubnetError as error:
        _log.warning("%s could not be told of its notice: %s", lease.lease_id, error)
