"""The steps from held cards to a hand-over, each with what undoes it (flows/rent.py puts them in order).

    enter -> prove -> pull -> create -> probe -> hand over

What one attempt makes on a machine has the attempt in its name: a run that was taken over, and goes on all the same,
makes a container of another name, which its own failing moves undo, or the sweep.
"""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from storage.errors import StorageError
from storage.lease_events import LOGGED_IN
from storage.rental import Access, Happening, Party, Rental, RentalState, VolumeState
from tasks.edges.bounded import Bounds
from tasks.edges.engine import Image
from tasks.edges.knocking import Place
from tasks.edges.shell import HOST_KEY_PREFIX, EpochKey
from tasks.edges.toolbox import HostKey, keys_file, keys_seed, seed
from tasks.errors import ContainerRefused, LeaseMoved, ProofRefused, StepFailed, SubnetError
from tasks.proof.challenge import ProofKind
from tasks.renting.blocking import repository_of
from tasks.renting.containers import ContainerSpec, name_of
from tasks.renting.jobs import CREATE, Job, failure_of
from tasks.renting.limits import is_short
from tasks.renting.making import (
    access_of,
    check_blocked,
    choose_ports,
    digest_of,
    host_key_of,
    login_of,
    may_be_private,
    mount_volumes,
    remove_volumes,
    secrets_of,
    site_of,
    spec_of,
)
from tasks.renting.moves import handed_over, let_go, moved, noted
from tasks.renting.proving import Subject, certificate_of
from tasks.renting.readying import Ready, Readying
from tasks.renting.reserving import funds_for, give_up
from tasks.renting.room import make_room
from tasks.renting.settling import commit
from tasks.renting.site import Site
from tasks.stepping import step

HAND_OVER, IN_USE, RETURN = "hand-over", "in-use", "return"
PORT_TRIES = 8
LONG_S = 7_200.0
"""No limit of the policy is longer: each step ends by its own, and Prefect's is for what hangs all the same."""


# --- begin, and let go -----------------------------------------------------------------------------


async def take_over(job: Job) -> None:
    """Go on with a lease that a run which is gone has begun: under another attempt, so that what it may still do fails."""
    if job.lease.state in (RentalState.RESERVED, RentalState.PROVISIONING):
        job.lease = await job.market.call(partial(_taken, job))


def _taken(job: Job) -> Rental:
    job.claim(0)
    before = job.refresh()
    after = noted(before, job.market.now(), attempt=before.attempt + 1)
    if not job.market.rentals.move(before, after, [Happening("TAKEN_OVER")]):
        raise LeaseMoved(before.lease_id, "somebody else moves it")
    return after


async def let_go_of(job: Job, failure: StepFailed) -> None:
    """Undo what was begun on this machine; then the next one, or the end where no machine could do better."""
    await job.unwind()
    await job.leave()
    await job.market.call(partial(_let_volumes_go, job))
    if failure.party == Party.RENTER:
        await job.market.call(lambda: give_up(job, Party.RENTER, str(failure)))
    else:
        why = f"{failure.step} ({failure.party}): {failure.why}"
        await job.move(lambda one: let_go(one, job.market.now(), why))


def _let_volumes_go(job: Job) -> None:
    """Whatever could not be undone on a machine: its volumes are free for the next one, and for other leases."""
    job.claim(0)
    job.market.volumes.leave(job.lease.lease_id)


# --- enter -----------------------------------------------------------------------------------------


@step("enter", deadline_s=LONG_S)
async def enter(job: Job) -> None:
    """Come to the machine, and remove what earlier attempts of this lease, and others that had its cards, have left there."""
    await job.market.call(lambda: job.claim(job.market.policy.renting.enter_s))
    if job.lease.state is RentalState.RESERVED:
        await job.move(lambda one: moved(one, RentalState.PROVISIONING, job.market.now()))
    await come(job)
    job.undo.append(("volumes", partial(_give_volumes_back, job)))
    await job.step("clean", job.market.policy.renting.stop_s, partial(make_room, job))


async def come(job: Job, bounds: Bounds | None = None) -> Site:
    """The lease's machine, entered; StepFailed when it does not let us in."""
    if job.site is None:
        job.is_at_machine = True
        try:
            job.site = await job.market.enter(
                job.lease.executor_key, None, bounds, lease_id=job.lease.lease_id
            )
        except (SubnetError, StorageError) as error:
            failure = failure_of("enter", error)
            await job.tell("enter", "failed", None, failure.why, failure.party)
            raise failure from error
        job.is_at_machine = False
    return job.site


def clear_away(job: Job, deadline: float, keep: str = "") -> None:
    """Remove the containers of this lease, of all its attempts; but not the one that is named."""
    engine = site_of(job).engine(deadline)
    for container in engine.containers(deadline=deadline):
        is_ours = container.validator_hotkey == job.market.edges.own_hotkey
        is_here = container.executor_key == job.lease.executor_key
        if container.lease_id == job.lease.lease_id and is_ours and is_here and container.name != keep:
            engine.remove(container.name, deadline=deadline)


# --- prove -----------------------------------------------------------------------------------------


@step("prove", deadline_s=LONG_S)
async def prove(job: Job) -> None:
    """The full proof of the lease's cards, by themselves: its certificate is kept, whatever it says.

    Beside it the container is made, where nothing has to be fetched for it; it is not started.
    """
    policy = job.market.policy.renting
    await _keep_host_key(job)
    job.undo.append((CREATE, partial(_remove_container, job, job.lease.attempt)))
    await job.step("prove", policy.prove_s, partial(_prove_and_make_ready, job, job.lease))


def _prove_and_make_ready(job: Job, lease: Rental, deadline: float) -> None:
    job.ready = Readying(partial(_make_ready, job, lease, deadline))
    prove_now(job, ProofKind.FULL, HAND_OVER, deadline)


def _make_ready(job: Job, lease: Rental, deadline: float) -> Ready | None:
    image = image_at_hand(job, lease.pod.image, secrets_of(job), deadline)
    if image is None:
        return None
    mount_volumes(job, lease)
    spec = make(job, image, lease, deadline)
    site_of(job).expect_proof(ProofKind.LEASED, deadline)
    return Ready(image, spec)


def prove_now(job: Job, kind: ProofKind, occasion: str, deadline: float) -> None:
    """Prove the lease's cards, and keep the certificate; ProofRefused when they are not proved."""
    market, lease = job.market, job.lease
    verdict = site_of(job).prove(subject_of(job), kind, deadline)
    market.certificates.save(certificate_of(lease, occasion, verdict, market.now()))
    if not verdict.proved:
        why = next((r.got for r in verdict.reasons if r.code == verdict.code), "")
        raise ProofRefused(verdict.code, why)


def subject_of(job: Job) -> Subject:
    """The lease's cards as the proof names them."""
    market, lease = job.market, job.lease
    snapshot = market.snapshots.newest()
    listed = {card.uuid: card for card in market.snapshots.facts_of(lease.executor_key).cards}
    if snapshot is None or not set(lease.card_uuids) <= set(listed):
        raise ProofRefused("CARD_NOT_FOUND", "no inspection has listed these cards")
    cards = sorted((listed[uuid] for uuid in lease.card_uuids), key=lambda card: card.index)
    return Subject(
        executor=site_of(job).executor,
        cards=tuple(cards),
        netuid=snapshot.netuid,
        block=snapshot.block,
        block_hash=snapshot.block_hash,
        attempt=lease.attempt,
    )


# --- pull ------------------------------------------------------------------------------------------


@step("pull", deadline_s=LONG_S)
async def pull(job: Job) -> Image:
    """The image on the machine, unless an operator has blocked it under any of its names."""
    policy = job.market.policy.renting
    return await job.step("pull", policy.pull_s, partial(_pull_when_ready, job, job.lease.pod.image))


def _pull_when_ready(job: Job, reference: str, deadline: float) -> Image:
    if job.ready is not None:
        job.ready.wait(deadline)
        if (image := job.ready.image) is not None:
            check_blocked(reference, _blocked(job), digest_of(image))
            return image
    return pull_now(job, reference, deadline)


def pull_now(job: Job, reference: str, deadline: float, sealed: dict[str, object] | None = None) -> Image:
    """Have an image; one that is there already is not asked for again."""
    values = sealed or secrets_of(job)
    image = image_at_hand(job, reference, values, deadline)
    if image is not None:
        return image
    login = login_of(values)
    if login is not None:
        job.note(Happening(LOGGED_IN, repository_of(reference)))
    image = site_of(job).engine(deadline).pull(reference, login, deadline=deadline)
    check_blocked(reference, _blocked(job), digest_of(image))
    return image


def image_at_hand(job: Job, reference: str, values: dict[str, object], deadline: float) -> Image | None:
    """The image that is on the machine; None: a registry has to be asked, since it is not there or may be another's.

    ImageRefused when an operator has blocked it, under any of its names.
    """
    check_blocked(reference, _blocked(job))
    if login_of(values) is not None:
        return None
    image = site_of(job).engine(deadline).image(reference, deadline=deadline)
    if image is None or may_be_private(job, reference):
        return None
    check_blocked(reference, _blocked(job), digest_of(image))
    return image


def _blocked(job: Job) -> list[str]:
    return [blocked.pattern for blocked in job.market.blocked.all()]


# --- create and start ------------------------------------------------------------------------------


@step("create", deadline_s=LONG_S)
async def create(job: Job, image: Image) -> Access:
    """The container, running, with its SSH server, the renter's keys and one of ours to probe it."""
    policy = job.market.policy.renting
    return await job.step("create", policy.start_s, partial(create_now, job, image, job.lease))


async def _keep_host_key(job: Job) -> None:
    """The container's host key is made once for a lease, and sealed with its secrets: its renter knows it again."""
    if "host_key" in secrets_of(job):
        return
    private = HostKey.generate().private.hex()

    def rule(one: Rental) -> Rental:
        values = job.market.sealer.open(one.lease_id, one.sealed)
        sealed = job.market.sealer.seal(one.lease_id, {"host_key": private} | values)
        return noted(one, job.market.now(), sealed=sealed)

    await job.move(rule)


def create_now(job: Job, image: Image, lease: Rental, deadline: float) -> Access:
    """Make and start the container of this lease; ports that others have taken meanwhile are chosen anew."""
    values = job.market.sealer.open(lease.lease_id, lease.sealed)
    mount_volumes(job, lease)
    site = site_of(job)
    site.expect_proof(ProofKind.LEASED, deadline)
    engine, ready = site.engine(deadline), _taken_ready(job, image, deadline)
    name = name_of(lease.lease_id, lease.attempt)
    for attempt in range(1, PORT_TRIES + 1):
        spec = ready or make(job, image, lease, deadline, is_fresh=attempt > 1)
        ready = None
        try:
            engine.start(name, deadline=deadline)
        except ContainerRefused as refused:
            engine.remove(name, deadline=deadline)
            if refused.code != "PORT_TAKEN" or attempt == PORT_TRIES:
                raise
        else:
            return access_of(site, spec, values, image)
    raise AssertionError("unreachable: the last attempt returns or raises")


def make(job: Job, image: Image, lease: Rental, deadline: float, *, is_fresh: bool = False) -> ContainerSpec:
    """Make the container, with its host key and the keys that let in; not started. `is_fresh`: none of the ports it had."""
    site, values = site_of(job), job.market.sealer.open(lease.lease_id, lease.sealed)
    engine = site.engine(deadline)
    spec = spec_of(job, lease, image, choose_ports(job, lease, is_fresh=is_fresh))
    engine.create(spec, image, site.toolbox(deadline), deadline=deadline)
    archive = seed(host_key_of(values), lease.pod.public_keys, ours=probe_key(job).public_line)
    engine.copy_in(name_of(lease.lease_id, lease.attempt), archive, deadline=deadline)
    return spec


def _taken_ready(job: Job, image: Image, deadline: float) -> ContainerSpec | None:
    """What was made beside the proof; what came half-way, or is of another image, is removed."""
    ready, job.ready = job.ready, None
    if ready is None:
        return None
    ready.wait(deadline)
    spec = ready.take(image)
    if spec is None:
        name = name_of(job.lease.lease_id, job.lease.attempt)
        site_of(job).engine(deadline).remove(name, deadline=deadline)
    return spec


async def _remove_container(job: Job, attempt: int, deadline: float) -> None:
    site = await come(job)
    name = name_of(job.lease.lease_id, attempt)
    await job.market.call(lambda: _removed(job, site, name, deadline))


def _removed(job: Job, site: Site, name: str, deadline: float) -> None:
    ready, job.ready = job.ready, None
    if ready is not None:
        ready.wait(deadline)
    site.engine(deadline).remove(name, deadline=deadline)


async def _give_volumes_back(job: Job, deadline: float) -> None:
    """Remove what this lease would have been the first to write to, and let go of all its volumes."""
    market, lease = job.market, job.lease
    fresh = [v for v in market.volumes.of_lease(lease.lease_id) if v.state is VolumeState.NEW]
    if fresh:
        site = await come(job)
        await market.call(lambda: remove_volumes(site.engine(deadline), fresh, deadline))
    await market.call(lambda: market.volumes.detach(lease.lease_id))


# --- probe and hand over ---------------------------------------------------------------------------


@step("probe", deadline_s=LONG_S)
async def probe(job: Job, access: Access) -> None:
    """Go the renter's own way in, and prove the cards while the container has them; then our key is taken out again."""
    await job.step("probe", job.market.policy.renting.probe_s, partial(probe_now, job, access))


def probe_now(job: Job, access: Access, deadline: float) -> None:
    """The renter's way in, and a kernel on each card, side by side."""
    with ThreadPoolExecutor(1, thread_name_prefix="knock") as pool:
        gone_in = pool.submit(_go_in, job, access, deadline)
        prove_now(job, ProofKind.LEASED, IN_USE, deadline)
        gone_in.result()


def _go_in(job: Job, access: Access, deadline: float) -> None:
    """SSH banner, host key, login, `nvidia-smi` with the lease's cards and no others; then our key lets in no more."""
    seen = job.market.knock(place_of(access), probe_key(job), deadline)
    if sorted(seen) != sorted(job.lease.card_uuids):
        raise ProofRefused("CARDS_DIFFER", f"nvidia-smi lists {len(seen)} cards that are not the lease's")
    lock_up(job, access, deadline)


def place_of(access: Access) -> Place:
    """Where the renter would knock, and which host key it would find."""
    blob = base64.b64decode(access.host_key.split()[1])
    if len(blob) != len(HOST_KEY_PREFIX) + 32:
        raise ValueError("a host key is 51 bytes")
    return Place(access.address, access.ssh_port, blob)


def probe_key(job: Job) -> EpochKey:
    """The key that this run probes with: in memory only, and in the container until the hand-over."""
    if job.key is None:
        job.key = EpochKey.generate()
    return job.key


def lock_up(job: Job, access: Access, deadline: float) -> None:
    """Take our key out of the container: from now on its renter's keys alone let in."""
    keys = job.lease.pod.public_keys
    site_of(job).engine(deadline).put_keys(
        access.container, keys_seed(keys), keys_file(keys), deadline=deadline
    )


@step("hand over", deadline_s=LONG_S)
async def hand_over(job: Job, access: Access) -> None:
    """Usable: from this moment it is paid, if the renter's balance lasts for the least time."""
    await job.market.call(partial(_hand_over, job, access))
    job.undo.clear()


def _hand_over(job: Job, access: Access) -> None:
    market, lease, now = job.market, job.refresh(), job.market.now()
    policy = market.policy.renting
    if is_short(lease, funds_for(market, lease), policy):
        raise StepFailed("hand over", "renter", f"the balance does not last for {policy.min_balance_s} s")
    market.volumes.keep(lease.lease_id)
    try:
        commit(market.money, handed_over(lease, now, access), now)
    except StorageError as error:
        raise failure_of("hand over", error) from error
    seconds = round(time.monotonic() - job.began, 3)
    told = Happening("HANDED_OVER", facts=json.dumps({"seconds": seconds, "attempt": lease.attempt}))
    job.advance(lambda one: handed_over(one, now, access), told)
