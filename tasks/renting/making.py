"""What a lease's container is made of on a machine: its image, ports, volumes and secrets, as the lease asks for them."""

from __future__ import annotations

import random
from collections.abc import Iterable

from storage.rental import Access, PodPort, Published, Rental, Volume
from tasks.edges.engine import Image, RegistryLogin
from tasks.edges.runtime import Runtime
from tasks.edges.toolbox import HostKey
from tasks.errors import ContainerRefused, HostAway, ImageRefused
from tasks.renting.blame import BLOCKED
from tasks.renting.blocking import image_blocked, repository_of
from tasks.renting.containers import SSH_PORT, ContainerSpec, Mount, Port, name_of, volume_name
from tasks.renting.jobs import Job
from tasks.renting.site import Site

HOUSE_SHARE = 0.95
"""Of a machine's memory that its leases may have together: the rest is the machine's own."""


def site_of(job: Job) -> Site:
    """The machine that the job is at."""
    if job.site is None:
        raise HostAway("talk", "we have left this machine")
    return job.site


def check_blocked(reference: str, patterns: Iterable[str], digest: str = "") -> None:
    """ImageRefused when an operator has blocked it, under any of its names."""
    pattern = image_blocked(reference, patterns, digest)
    if pattern is not None:
        raise ImageRefused("pull", BLOCKED, f"an operator has blocked {pattern}")


def may_be_private(job: Job, reference: str) -> bool:
    """Whether another renter ever pulled of this repository with a login: only the registry can say who may have it.

    Images stay on machines when leases are over: what is there is everybody's only if it was never anybody's.
    """
    repository = repository_of(reference)
    return job.market.events.is_login_of_others(repository, job.lease.renter_id)


def digest_of(image: Image) -> str:
    """The digest by which registries know an image, else its own id."""
    named = next((one.partition("@")[2] for one in image.digests if "@" in one), "")
    return named or image.image_id


def secrets_of(job: Job) -> dict[str, object]:
    """The lease's secret values."""
    return job.market.sealer.open(job.lease.lease_id, job.lease.sealed)


def login_of(values: dict[str, object]) -> RegistryLogin | None:
    """The registry's login among secret values, where there is one."""
    told = values.get("registry")
    if not isinstance(told, dict) or not told.get("user"):
        return None
    server = str(told.get("server") or "https://index.docker.io/v1/")
    return RegistryLogin(server, str(told["user"]), str(told.get("password", "")))


def host_key_of(values: dict[str, object]) -> HostKey:
    """The lease's host key among its secret values."""
    return HostKey(bytes.fromhex(str(values["host_key"])))


def access_of(site: Site, spec: ContainerSpec, values: dict[str, object], image: Image) -> Access:
    """How a container is reached that was made like this."""
    ports = tuple(Published(p.inside, p.outside, p.protocol) for p in spec.ports)
    ssh = next(p.outside for p in ports if (p.inside, p.protocol) == (SSH_PORT, "tcp"))
    return Access(
        address=site.executor.address,
        ssh_port=ssh,
        ports=ports,
        host_key=host_key_of(values).known_hosts_line,
        image_digest=digest_of(image),
        container=name_of(spec.lease_id, spec.attempt),
    )


def spec_of(job: Job, lease: Rental, image: Image, ports: tuple[Port, ...]) -> ContainerSpec:
    """Everything of the container."""
    pod, market = lease.pod, job.market
    values = market.sealer.open(lease.lease_id, lease.sealed)
    environment = values.get("environment")
    memory_bytes, cpus = share_of(job, lease)
    return ContainerSpec(
        lease_id=lease.lease_id,
        renter_id=lease.renter_id,
        image=image.reference,
        card_uuids=lease.card_uuids,
        entrypoint=pod.entrypoint,
        words=pod.words,
        environment={str(k): str(v) for k, v in environment.items()} if isinstance(environment, dict) else {},
        ports=ports,
        mounts=tuple(Mount(mount.volume, mount.at) for mount in pod.mounts),
        shm_bytes=pod.shm_bytes,
        memory_bytes=pod.memory_bytes or memory_bytes,
        cpus=pod.cpus or cpus,
        runtime=pod.runtime,
        attempt=lease.attempt,
        validator_hotkey=market.edges.own_hotkey,
        executor_key=lease.executor_key,
        # The machines of the local subnet share one network: each has an address of its own in it.
        publish_address=site_of(job).executor.address if market.edges.is_embedded else "",
    )


def share_of(job: Job, lease: Rental) -> tuple[int, float]:
    """Memory and processors for some of a machine's cards; (0, 0), no limit, for all of them."""
    facts = job.market.snapshots.facts_of(lease.executor_key)
    share = len(lease.card_uuids) / max(1, len(facts.cards))
    if share >= 1 or facts.ram_bytes is None or facts.cpu_count is None:
        return 0, 0.0
    return int(facts.ram_bytes * HOUSE_SHARE * share), round(max(0.5, facts.cpu_count * share), 2)


def choose_ports(job: Job, lease: Rental, *, is_fresh: bool = True) -> tuple[Port, ...]:
    """A port of the machine for each of the container's: none that another lease there has, running or stopped.

    Those that the lease has already are kept, unless `is_fresh`.
    """
    policy = job.market.policy.renting
    others = (one for one in job.market.rentals.of_machine(lease.executor_key) if one.access is not None)
    taken = {port.outside for one in others for port in one.access.ports if one.lease_id != lease.lease_id}  # type: ignore[union-attr]
    free = [n for n in range(policy.first_port, policy.last_port + 1) if n not in taken]
    wanted = [PodPort(SSH_PORT), *(p for p in lease.pod.ports if (p.inside, p.protocol) != (SSH_PORT, "tcp"))]
    if len(free) < len(wanted):
        raise ContainerRefused("create", "PORT_TAKEN", "no port of the machine is left")
    own = lease.access.ports if lease.access is not None and not is_fresh else ()
    kept = {(p.inside, p.protocol): p.outside for p in own}
    chosen = random.sample([n for n in free if n not in kept.values()], len(wanted))  # no secret: only free
    return tuple(
        Port(p.inside, kept.get((p.inside, p.protocol), outside), p.protocol)
        for p, outside in zip(wanted, chosen, strict=True)
    )


def mount_volumes(job: Job, lease: Rental) -> None:
    """Take the lease's volumes, each for it alone; one that nobody has made yet is kept as a new one."""
    volumes = job.market.volumes
    for mount in lease.pod.mounts:
        fresh = Volume(lease.renter_id, mount.volume, "", job.market.now(), is_kept=mount.is_kept)
        volumes.make(fresh)
        volumes.attach(lease.renter_id, mount.volume, lease.lease_id, lease.executor_key)


def remove_volumes(engine: Runtime, volumes: Iterable[Volume], deadline: float) -> None:
    """Remove these from the machine that they are on, with all that is in them."""
    for volume in volumes:
        name = volume_name(volume.renter_id, volume.name, volume.executor_key)
        engine.remove_volume(name, deadline=deadline)
