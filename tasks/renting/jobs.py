"""Work on one lease: claimed, moved by compare-and-set, told step by step, and left at once when it is another's.

    async with work_on(market, lease_id) as job:      None: another works on it, or there is none
        await job.step("pull", limit_s, lambda deadline: ...)      in a thread, told, stopped when the end is asked for
        job.advance(lambda lease: ..., Happening(...))             moves the lease as far as it is still ours

A run that is cancelled, or killed, undoes nothing: what it has left is found by the next run, and by the sweep.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TypeVar

from storage.errors import StorageError
from storage.rental import Happening, Party, Rental, RentalState
from tasks.edges.shell import EpochKey
from tasks.errors import EndAsked, HostAway, LeaseMoved, StepFailed, SubnetError
from tasks.renting.blame import party_of
from tasks.renting.market import Market
from tasks.renting.moves import CLOSED
from tasks.renting.readying import Readying
from tasks.renting.site import Site

_log = logging.getLogger("subnet.lease")
CLAIM_MARGIN_S = 30
"""A claim outlives the step that it was renewed for by so much."""
LOOK_S = 0.5
"""Between two looks whether the end of the lease was asked for."""
CREATE = "create"
"""The step whose container has this run's own attempt in its name."""
OVERRUN_S = 5.0
"""What a step may take beyond its limit before its machine is left: it bounds itself by its deadline."""
T = TypeVar("T")
Rule = Callable[[Rental], Rental]


class Job:
    """One run's work on one lease. A plain class, since Prefect walks through every field of a dataclass."""

    def __init__(self, market: Market, lease: Rental, holder: str, *, may_end: bool = False) -> None:
        self.market, self.lease, self.holder = market, lease, holder
        self.began = time.monotonic()
        self.doing = "enter"
        """The step that was begun last."""
        self.is_at_machine = False
        """Whether it is the machine that we wait for, or that we waited for when this was broken off; else it is us."""
        self.may_end = may_end
        """Whether this work goes on when the lease's end is asked for: it is what ends it."""
        self.site: Site | None = None
        self.key: EpochKey | None = None
        """What this run goes the renter's way in with."""
        self.ready: Readying | None = None
        """The container that is made beside the proof."""
        self.undo: list[tuple[str, Callable[[float], Awaitable[None]]]] = []
        """What has to be undone when a step fails, in the order in which it was done."""

    def advance(self, rule: Rule, *happened: Happening) -> Rental:
        """Move the lease by a rule, whatever else is noted on it meanwhile.

        LeaseMoved when it stands elsewhere than where we left it, EndAsked when it is to be ended. CardsTaken as
        `Rentals.move`.
        """
        while True:
            before = self.refresh()
            after = rule(before)
            if after is before or self.market.rentals.move(before, after, happened):
                self.lease = after
                return after

    def refresh(self) -> Rental:
        """The lease as it stands now, if it is still ours to work on."""
        now = self.market.rentals.get(self.lease.lease_id)
        if now is None or now.state is not self.lease.state or now.attempt != self.lease.attempt:
            stands = "gone" if now is None else f"{now.state.value}, attempt {now.attempt}"
            raise LeaseMoved(self.lease.lease_id, f"it is {stands}")
        if now.end_asked_at is not None and not self.may_end:
            raise EndAsked(now.lease_id)
        self.lease = now
        return now

    def note(self, *happened: Happening) -> None:
        """Tell what is no move."""
        self.market.events.note(self.lease, self.market.now(), *happened)

    def claim(self, for_s: float) -> None:
        """Keep the lease for so long; LeaseMoved when another has taken it over."""
        until = self.market.now() + timedelta(seconds=for_s + CLAIM_MARGIN_S)
        if not self.market.claims.renew(self.lease.lease_id, self.holder, until):
            raise LeaseMoved(self.lease.lease_id, "another run has taken it over")

    async def step(self, name: str, limit_s: float, work: Callable[[float], T]) -> T:
        """Do one step in a thread, by a deadline that it is given; StepFailed with its party when it does not succeed."""
        await self.market.call(lambda: self._begin(name, limit_s))
        begin = time.monotonic()
        try:
            result = await self._watched(name, limit_s, work)
        except (EndAsked, LeaseMoved):
            await self.tell(name, "cancelled", time.monotonic() - begin)
            raise
        except (SubnetError, StorageError) as error:
            failure = failure_of(name, error)
            await self.tell(name, "failed", time.monotonic() - begin, failure.why, failure.party)
            raise failure from error
        await self.tell(name, "done", time.monotonic() - begin)
        return result

    def _begin(self, name: str, limit_s: float) -> None:
        self.is_at_machine = False
        self.claim(limit_s)
        self.refresh()
        self.doing = name
        self._tell(name, "running")

    async def move(self, rule: Rule, *happened: Happening) -> Rental:
        """`advance`, for whoever must not block."""
        return await self.market.call(lambda: self.advance(rule, *happened))

    async def unwind(self) -> None:
        """Undo what was done, the last first; what can't be undone now is left to the sweep, and told."""
        while self.undo:
            name, undo = self.undo.pop()
            begin = time.monotonic()
            try:
                with suppress(LeaseMoved):
                    await self.market.call(lambda: self.claim(self.market.policy.renting.stop_s))
                await undo(begin + self.market.policy.renting.stop_s)
            except (SubnetError, StorageError) as error:
                await self.tell(f"undo {name}", "failed", time.monotonic() - begin, str(error))
            else:
                await self.tell(f"undo {name}", "done", time.monotonic() - begin)

    async def leave(self) -> None:
        """Leave the machine."""
        site, self.site = self.site, None
        if site is not None:
            await self.market.call(site.close)

    async def _watched(self, name: str, limit_s: float, work: Callable[[float], T]) -> T:
        """The work's result; left half-way when it overruns its limit, or the end of the lease is asked for."""
        deadline = time.monotonic() + limit_s
        running = asyncio.ensure_future(self.market.call(lambda: self._at_machine(work, deadline)))
        try:
            while True:
                done, _ = await asyncio.wait([running], timeout=LOOK_S)
                if done:
                    return running.result()
                await self.market.call(self.refresh)
                if time.monotonic() > deadline + OVERRUN_S:
                    raise HostAway(name, f"no end within {limit_s:.0f} s")
        finally:
            self.is_at_machine = self.is_at_machine and not running.done()
            if not running.done():
                await self._break_off(running)

    def _at_machine(self, work: Callable[[float], T], deadline: float) -> T:
        """In a thread, which a step may have waited for."""
        self.is_at_machine = True
        return work(deadline)

    async def _break_off(self, running: asyncio.Future[T]) -> None:
        """End what a thread does on the machine, and wait until it has seen that."""
        site = self.site
        if site is not None:
            site.close()
            self.site = None
        with suppress(SubnetError, StorageError, asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(running), OVERRUN_S)

    async def tell(
        self, name: str, state: str, seconds: float | None = None, why: str = "", party: str = ""
    ) -> None:
        """Tell how a step stands; of one that failed, why, and whose fault it is."""
        await self.market.call(lambda: self._tell(name, state, seconds, why, party))

    def _tell(
        self, name: str, state: str, seconds: float | None = None, why: str = "", party: str = ""
    ) -> None:
        facts: dict[str, object] = {
            "name": name,
            "state": state,
            "attempt": self.lease.attempt,
            "executor_key": self.lease.executor_key,
        }
        if seconds is not None:
            facts["seconds"] = round(seconds, 3)
        if party:
            facts["party"] = party
        self.note(Happening("STEP", why[:500], json.dumps(facts)))


def failure_of(step: str, error: SubnetError | StorageError) -> StepFailed:
    """A step's failure with its party: what our own books refuse is the platform's, a volume that is not free the renter's."""
    if isinstance(error, StepFailed):
        return error
    party = party_of(error) if isinstance(error, SubnetError) else Party.PLATFORM
    if type(error).__name__ in ("VolumeBusy", "ShortOfFunds"):
        party = Party.RENTER
    return StepFailed(step, party.value, str(error))


@asynccontextmanager
async def work_on(market: Market, lease_id: str, *, may_end: bool = False) -> AsyncIterator[Job | None]:
    """A lease that nobody else works on; None when somebody does, or when it is over or unknown.

    It is given back at the end of the block, whatever happened in it, and its machine is left.
    """
    lease = market.rentals.get(lease_id)
    holder, now = market.new_holder(), market.now()
    if lease is None or lease.state in CLOSED:
        yield None
        return
    if not market.claims.take(lease_id, holder, now + timedelta(seconds=CLAIM_MARGIN_S), now):
        _log.info("lease %s is being worked on by another run", lease_id)
        yield None
        return
    lease = market.rentals.get(lease_id)  # whoever had it before may have moved it
    assert lease is not None
    job = Job(market, lease, holder, may_end=may_end)
    try:
        yield None if lease.state in CLOSED else job
    except LeaseMoved as moved:
        _log.info("%s", moved)
        job.undo = [(name, undo) for name, undo in job.undo if name == CREATE]  # the rest is another's by now
        await job.unwind()
    finally:
        if job.site is not None:
            job.site.close()
        if job.lease.state in CLOSED:
            market.doors.end(lease_id)
        market.claims.release(lease_id, holder)


STANDING = frozenset({RentalState.ACTIVE, RentalState.STOPPED})
"""States in which a lease was handed over and is not being ended."""
