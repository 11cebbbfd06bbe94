"""What renters ask of a lease that was handed over, step by step: each may be begun again by another run.

    stop, start, reboot, replace (another image), keys; copies of data are in `tasks/renting/copying.py`

A stop ends the paying when it begins, and a start begins it when the container can be logged in to; in between what
fails is undone in reverse, and the lease stands where it stood.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from storage.errors import CardsTaken, StorageError
from storage.rental import (
    Access,
    Happening,
    Mode,
    Operation,
    OperationKind,
    OperationState,
    Party,
    Pod,
    PodPort,
    Rental,
    RentalState,
)
from tasks.edges.engine import Image
from tasks.edges.toolbox import keys_file, keys_seed
from tasks.errors import EndAsked, LeaseMoved, MoveRefused, SpecRefused, StepFailed, UserError
from tasks.renting.asking import OF_RULE
from tasks.renting.copying import arguments_of, back_up, restore
from tasks.renting.jobs import Job
from tasks.renting.limits import is_short
from tasks.renting.making import secrets_of, site_of
from tasks.renting.moves import noted, paying_until, rehold, started, stopped, unhold
from tasks.renting.provisioning import (
    LONG_S,
    clear_away,
    come,
    create_now,
    probe,
    probe_key,
    pull_now,
)
from tasks.renting.reserving import funds_for
from tasks.renting.room import make_room
from tasks.stepping import step

_log = logging.getLogger("subnet.lease")
REPLACED = "REPLACED"
Done = dict[str, object]
"""What an operation came to, for its result."""


def next_of(waiting: Sequence[Operation]) -> Operation:
    """What was begun goes on; then comes what a rule asks for, which waits behind no wish; then the oldest."""
    return min(
        waiting,
        key=lambda one: (
            one.state is not OperationState.RUNNING,
            not one.idempotency_key.startswith(OF_RULE),
        ),
    )


@step("perform", deadline_s=LONG_S)
async def perform(job: Job, operation: Operation) -> None:
    """Do one operation, or say whose fault it is that it was not done."""
    running = await job.market.call(partial(_begin, job, operation))
    try:
        result = await _DOING[running.kind](job, running)
    except (EndAsked, LeaseMoved, StorageError):
        raise
    except (StepFailed, UserError) as error:
        await job.unwind()
        party = Party(error.party) if isinstance(error, StepFailed) else Party.RENTER
        over = replace(running, state=OperationState.FAILED, party=party, reason=str(error)[:2_000])
    except Exception as error:  # noqa: BLE001  done again it would break again, and all that waits with it
        _log.exception("operation %s", running.operation_id)
        await job.unwind()
        why = f"{running.kind.value}: a fault of the platform's own: {type(error).__name__}"
        over = replace(running, state=OperationState.FAILED, party=Party.PLATFORM, reason=why)
    else:
        job.undo.clear()
        over = replace(running, state=OperationState.DONE, result=json.dumps(result))
    await job.market.call(partial(_end, job, running, over))


def _begin(job: Job, operation: Operation) -> Operation:
    job.claim(0)
    if operation.state is not OperationState.ASKED:
        return operation
    running = replace(operation, state=OperationState.RUNNING, begun_at=job.market.now())
    if not job.market.operations.move(job.lease, operation, running):
        raise LeaseMoved(job.lease.lease_id, f"operation {operation.operation_id} is another run's")
    return running


def _end(job: Job, running: Operation, over: Operation) -> None:
    job.market.operations.move(job.lease, running, replace(over, ended_at=job.market.now(), sealed=b""))


# --- stop, start, reboot ---------------------------------------------------------------------------


async def stop(job: Job, operation: Operation) -> Done:
    """The container stands still, its data stay; nothing is paid from here on, and the cards are free."""
    if job.lease.state is RentalState.STOPPED:
        return {}
    _check(job, RentalState.ACTIVE, "stopped")
    await job.move(lambda one: _unpaid(job, one))
    job.undo.append(("pause", partial(_pay_again, job)))
    await come(job)
    await job.step("stop", job.market.policy.renting.stop_s, partial(_stop, job))
    job.undo.clear()  # from here on there is no way but on: the container stands still
    await job.move(lambda one: stopped(one, job.market.now(), operation.reason))
    return {}


def _unpaid(job: Job, one: Rental) -> Rental:
    if one.wish.mode is Mode.RESERVED or one.paid_from is None:
        return one
    return noted(one, job.market.now(), **paying_until(one, job.market.now()))


async def _pay_again(job: Job, _: float) -> None:
    now = job.market.now()
    await job.move(lambda one: one if one.paid_from else noted(one, now, paid_from=now))


def _stop(job: Job, deadline: float) -> None:
    grace_s = job.market.policy.renting.stop_grace_s
    site_of(job).engine(deadline).stop(access_of(job).container, grace_s, deadline=deadline)


async def start(job: Job, _: Operation) -> Done:
    """The same container on the same cards, if nobody else has leased them meanwhile."""
    if job.lease.state is RentalState.ACTIVE:
        return {}
    _check(job, RentalState.STOPPED, "started")
    await job.market.call(partial(_hold_again, job))
    job.undo.append(("hold", partial(_let_cards_go, job)))
    await come(job)
    job.undo.append(("start", partial(_stand_still, job)))
    await job.step("start", job.market.policy.renting.start_s, partial(_start, job))
    access = access_of(job)
    await probe(job, access)
    await job.move(lambda one: started(one, job.market.now(), access))
    return {}


def _hold_again(job: Job) -> None:
    market, lease = job.market, job.refresh()
    if is_short(lease, funds_for(market, lease), market.policy.renting):
        raise StepFailed("start", Party.RENTER, "the balance does not last for the least time at its price")
    try:
        job.advance(lambda one: rehold(one, market.now()))
    except CardsTaken:
        why = "its cards are leased to another: start it later, or move its volumes' backups elsewhere"
        raise StepFailed("start", Party.NOBODY, why) from None


async def _let_cards_go(job: Job, _: float) -> None:
    await job.move(lambda one: unhold(one, job.market.now()))


async def _stand_still(job: Job, deadline: float) -> None:
    await come(job)
    await job.market.call(lambda: _stop(job, deadline))


def _start(job: Job, deadline: float) -> None:
    make_room(job, deadline, keep=access_of(job).container)
    _let_ourselves_in(job, deadline)
    site_of(job).engine(deadline).start(access_of(job).container, deadline=deadline)


def _let_ourselves_in(job: Job, deadline: float) -> None:
    """Our key for the probe, beside the renter's."""
    _put_keys(job, job.lease.pod.public_keys, deadline, ours=probe_key(job).public_line)


def _put_keys(job: Job, keys: tuple[str, ...], deadline: float, ours: str = "") -> None:
    engine, name = site_of(job).engine(deadline), access_of(job).container
    engine.put_keys(name, keys_seed(keys, ours), keys_file(keys, ours), deadline=deadline)


async def reboot(job: Job, _: Operation) -> Done:
    """Stop and start at once: it is paid, and keeps its cards."""
    _check(job, RentalState.ACTIVE, "restarted")
    await come(job)
    await job.step("restart", job.market.policy.renting.start_s, partial(_restart, job))
    await probe(job, access_of(job))
    return {}


def _restart(job: Job, deadline: float) -> None:
    _let_ourselves_in(job, deadline)
    grace_s = job.market.policy.renting.stop_grace_s
    site_of(job).engine(deadline).restart(access_of(job).container, grace_s, deadline=deadline)


# --- another image ---------------------------------------------------------------------------------


async def replace_image(job: Job, operation: Operation) -> Done:
    """Another container with the same cards, volumes, host key and, as far as they are free, ports; else the old one goes on."""
    _check(job, RentalState.ACTIVE, "replaced")
    policy, old = job.market.policy.renting, access_of(job)
    if await job.market.call(partial(_is_replaced, job, operation)):
        return {"image": job.lease.pod.image, "image_digest": old.image_digest}
    meant = await job.market.call(partial(_meant, job, operation))
    values = job.market.sealer.open(meant.lease_id, meant.sealed)
    await come(job)
    await job.step("clean", policy.stop_s, partial(clear_away, job, keep=old.container))
    pull = partial(_pull, job, meant.pod.image, values)
    image = await job.step("pull", policy.pull_s, pull)
    job.undo.append(("replace", partial(_go_back, job, old)))
    await job.step("stop", policy.stop_s, partial(_stop, job))
    access = await job.step("create", policy.start_s, partial(create_now, job, image, meant))
    await probe(job, access)
    changes = {"pod": meant.pod, "sealed": meant.sealed, "attempt": meant.attempt, "access": access}
    told = Happening(REPLACED, meant.pod.image, json.dumps({"operation_id": operation.operation_id}))
    await job.move(lambda one: noted(one, job.market.now(), **changes), told)
    job.undo.clear()
    await job.step("clean", policy.stop_s, partial(clear_away, job, keep=access.container))
    return {"image": meant.pod.image, "image_digest": access.image_digest}


def _is_replaced(job: Job, operation: Operation) -> bool:
    """Whether a run that died has done all of it but saying so."""
    told = job.market.events.after(0, lease_id=job.lease.lease_id, kind=REPLACED, limit=100_000)
    return any(json.loads(e.facts).get("operation_id") == operation.operation_id for e in told)


def _pull(job: Job, reference: str, values: dict[str, object], deadline: float) -> Image:
    return pull_now(job, reference, deadline, values)


def _meant(job: Job, operation: Operation) -> Rental:
    """The lease as it would be: what is not named stays as it is; a new environment's values are added to the old ones."""
    lease, sealer = job.lease, job.market.sealer
    given = sealer.open(operation.operation_id, operation.sealed)
    values = secrets_of(job)
    old, new = values.get("environment"), given.get("environment")
    environment = {**(old if isinstance(old, dict) else {}), **(new if isinstance(new, dict) else {})}
    merged = {**values, **given, "environment": environment}
    pod = changed_pod(lease.pod, arguments_of(operation), tuple(sorted(map(str, environment))))
    return replace(lease, pod=pod, sealed=sealer.seal(lease.lease_id, merged), attempt=lease.attempt + 1)


def changed_pod(pod: Pod, arguments: Mapping[str, object], environment: tuple[str, ...]) -> Pod:
    """A pod with what the arguments of a replacement name, ports beside its own; SpecRefused for what is of another kind."""
    texts = {key: arguments[key] for key in ("image", "entrypoint", "template") if key in arguments}
    words = arguments.get("words", list(pod.words))
    strange = next((key for key, value in texts.items() if not isinstance(value, str)), None)
    if strange is not None or not isinstance(words, list) or not all(isinstance(w, str) for w in words):
        raise SpecRefused(strange or "words", "another kind", "texts")
    ports = tuple(dict.fromkeys((*pod.ports, *_ports(arguments))))
    return replace(pod, **texts, words=tuple(words), ports=ports, environment=environment)  # type: ignore[arg-type]


def _ports(arguments: Mapping[str, object]) -> Iterator[PodPort]:
    """The ports of the new image's template."""
    told = arguments.get("ports", [])
    for port in told if isinstance(told, list) else [told]:
        match port:
            case [int(inside), str(protocol)]:
                yield PodPort(inside, protocol)
            case _:
                raise SpecRefused("ports", "another kind", "pairs of a number and a protocol")


async def _go_back(job: Job, old: Access, deadline: float) -> None:
    """Remove the new container, and let the old one go on."""
    site = await come(job)

    def back() -> None:
        clear_away(job, deadline, keep=old.container)
        site.engine(deadline).start(old.container, deadline=deadline)

    await job.market.call(back)


# --- keys ------------------------------------------------------------------------------------------


async def change_keys(job: Job, operation: Operation) -> Done:
    """Who may log in from now on: in the container first, then in our books; done again it comes to the same."""
    _check_standing(job)
    arguments = arguments_of(operation)
    keys = changed_keys(job.lease.pod.public_keys, arguments)
    keys_file(keys)  # refused before anything is done
    await come(job)
    await job.step("keys", job.market.policy.renting.start_s, partial(_put_keys, job, keys))
    await job.move(
        lambda one: noted(one, job.market.now(), pod=replace(one.pod, public_keys=keys)),
        Happening("KEYS_CHANGED", f"{len(keys)} keys let in"),
    )
    return {"keys": len(keys)}


def changed_keys(keys: tuple[str, ...], arguments: Mapping[str, object]) -> tuple[str, ...]:
    """The lines that let in after a change: a key is what it is, whatever its comment."""
    add, remove = (_lines(arguments, name) for name in ("add", "remove"))
    gone = {_bare(line) for line in remove}
    kept = [line for line in keys if _bare(line) not in gone]
    known = {_bare(line) for line in kept}
    return (*kept, *(line for line in dict.fromkeys(add) if _bare(line) not in known))


def _lines(arguments: Mapping[str, object], name: str) -> tuple[str, ...]:
    lines = arguments.get(name, [])
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise SpecRefused(name, "another kind", "lines of public keys")
    return tuple(lines)


def _bare(line: str) -> str:
    return " ".join(line.split()[:2])


# --- what they share -------------------------------------------------------------------------------


def access_of(job: Job) -> Access:
    """How the lease's container is reached; it was handed over, so there is one."""
    if job.lease.access is None:
        raise MoveRefused(job.lease.lease_id, job.lease.state.value, "operated")
    return job.lease.access


def _check(job: Job, state: RentalState, wanted: str) -> None:
    if job.lease.state is not state:
        raise MoveRefused(job.lease.lease_id, job.lease.state.value, wanted)


def _check_standing(job: Job) -> None:
    if job.lease.state not in (RentalState.ACTIVE, RentalState.STOPPED):
        raise MoveRefused(job.lease.lease_id, job.lease.state.value, "operated")


_DOING: Mapping[OperationKind, Callable[[Job, Operation], Awaitable[Done]]] = MappingProxyType(
    {
        OperationKind.STOP: stop,
        OperationKind.START: start,
        OperationKind.REBOOT: reboot,
        OperationKind.REPLACE: replace_image,
        OperationKind.KEYS: change_keys,
        OperationKind.BACKUP: back_up,
        OperationKind.RESTORE: restore,
    }
)
