"""The steps from a lease's end to free cards (flows/teardown.py): each may be done again, and again by another run.

    ending -> settle -> stop and remove -> wipe -> prove again -> settle -> ended

What it costs is settled first: a machine that is away costs its renter nothing more. It is tried again until it answers
or is given up; then what it still has is removed by the sweep when it comes back.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

from storage.rental import Happening, OperationState, Party, RentalState, VolumeState
from tasks.errors import EngineRefused, StepFailed
from tasks.proof.challenge import ProofKind
from tasks.renting.jobs import Job
from tasks.renting.making import remove_volumes, site_of
from tasks.renting.moves import ended, ending
from tasks.renting.provisioning import LONG_S, RETURN, clear_away, come, prove_now
from tasks.renting.reconciling import try_waiting
from tasks.renting.settling import settle
from tasks.stepping import step

NOTHING_BEGUN = frozenset({RentalState.REQUESTED, RentalState.RESERVED})
RETURN_FAILED, GIVEN_UP, STILL_AWAY = "RETURN_PROOF_FAILED", "GIVEN_UP", "STILL_AWAY"


async def begin_end(job: Job) -> None:
    """No way back from here: it is paid until its end was asked for, and the money is settled whatever the machine does."""
    if job.lease.state in NOTHING_BEGUN:
        await job.move(lambda one: ended(one, job.market.now(), party=one.end_party, reason=one.end_reason))
        await job.market.call(partial(_let_others_try, job))
    elif job.lease.state is not RentalState.ENDING:
        await job.move(lambda one: ending(one, job.market.now()))
    await job.market.call(partial(settle_now, job))
    await job.market.call(partial(drop_operations, job))


def drop_operations(job: Job) -> None:
    """What was asked of a lease that ends is not done any more."""
    market = job.market
    for operation in market.operations.open(job.lease.lease_id):
        over = replace(
            operation,
            state=OperationState.FAILED,
            ended_at=market.now(),
            reason="the lease has ended",
            sealed=b"",
        )
        market.operations.move(job.lease, operation, over)


def settle_now(job: Job) -> None:
    """Close the lease's account: it may be done again."""
    market = job.market
    settle(market.money, market.health, job.lease, market.now(), market.policy.renting)


@step("clear", deadline_s=LONG_S)
async def clear(job: Job) -> None:
    """Stop the container, give its program a moment, and remove it."""
    await come(job)
    await job.step("stop", job.market.policy.renting.stop_s, partial(_stop, job))


def _stop(job: Job, deadline: float) -> None:
    access = job.lease.access
    if access is not None:
        engine = site_of(job).engine(deadline)
        found = engine.inspect(access.container, deadline=deadline)
        if found is not None and found.is_running:
            engine.stop(access.container, job.market.policy.renting.stop_grace_s, deadline=deadline)
    clear_away(job, deadline)


@step("wipe", deadline_s=LONG_S)
async def wipe(job: Job) -> None:
    """Remove the volumes that were this lease's alone, with all that is in them, and let go of those that outlive it."""
    await job.step("wipe", job.market.policy.renting.stop_s, partial(_wipe, job))


def _wipe(job: Job, deadline: float) -> None:
    volumes, lease = job.market.volumes, job.lease
    passing = [v for v in volumes.of_lease(lease.lease_id) if not v.is_kept or v.state is VolumeState.NEW]
    if passing:
        remove_volumes(site_of(job).engine(deadline), passing, deadline)
    for volume in passing:
        volumes.wiped(volume.renter_id, volume.name)
    volumes.detach(lease.lease_id)


@step("prove return", deadline_s=LONG_S)
async def prove_return(job: Job) -> None:
    """The light proof of the cards that come back: what fails is told, and is the machine's; the lease ends all the same."""
    if job.lease.active_at is None or not job.lease.is_holding:
        return
    policy = job.market.policy.renting
    try:
        await job.step("return", policy.prove_s, partial(prove_now, job, ProofKind.LEASED, RETURN))
    except StepFailed as failure:
        if isinstance(failure.__cause__, EngineRefused):
            raise
        told = Happening(
            RETURN_FAILED, f"{job.lease.executor_key}: {failure.why}", f'{{"party": "{failure.party}"}}'
        )
        await job.market.call(lambda: job.note(told))


async def free(job: Job, reason: str = "") -> None:
    """Nothing of it is left: its cards are anybody's again."""
    await job.market.call(partial(settle_now, job))
    said = {"reason": "; ".join(filter(None, [job.lease.reason, reason]))} if reason else {}
    await job.move(lambda one: ended(one, job.market.now(), **said))
    await job.market.call(partial(_let_others_try, job))


def _let_others_try(job: Job) -> None:
    """Whoever waits for cards may find some now; killed before this, reconciling lets them try a minute later."""
    try_waiting(job.market.edges.engine, job.market.now())


async def wait_or_give_up(job: Job, failure: StepFailed) -> None:
    """The machine does not do what it should: it is tried again later, but not for ever."""
    since = job.lease.ended_at or job.market.now()
    left = since + timedelta(seconds=job.market.policy.renting.give_up_s) - job.market.now()
    if left > timedelta(0):
        await job.market.call(lambda: job.note(Happening(STILL_AWAY, str(failure))))
        return
    why = f"given up: {failure}; what is left there is removed when the machine is back"
    await job.market.call(lambda: job.note(Happening(GIVEN_UP, why, f'{{"party": "{Party.MACHINE.value}"}}')))
    await job.market.call(partial(_leave_volumes, job))
    await free(job, why)


def _leave_volumes(job: Job) -> None:
    """Let go of the lease's volumes; those that were its alone are wiped by the sweep when the machine is back."""
    volumes = job.market.volumes
    passing = [v for v in volumes.of_lease(job.lease.lease_id) if not v.is_kept]
    volumes.leave(job.lease.lease_id)
    for volume in passing:
        if volume.state is VolumeState.NEW:
            volumes.wiped(volume.renter_id, volume.name)
        else:
            volumes.doom(volume.renter_id, volume.name)
