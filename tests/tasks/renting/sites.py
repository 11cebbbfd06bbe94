"""A market whose machines are made of memory: what is done on each is noted, and any of it can be made to fail.

Everything else is real: the database, the moves, the claims, the money, the flows.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime

from storage.money import Money
from storage.rental import Pod
from storage.rentals import Rentals
from storage.sealing import Sealer
from tasks.edges.engine import Container, Image, Volume
from tasks.errors import ContainerRefused, HostAway
from tasks.policy import LOCALNET
from tasks.renting.asking import ask_for_lease
from tasks.renting.containers import Program, digest_of, name_of, volume_name
from tasks.renting.market import Market
from tasks.renting.money import granted
from tests.tasks.renting.epochs import MINER, finish, machine, proof
from tests.tasks.renting.leases import NOON, USD, rental

HOTKEY = "5Validator"
KEY_LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3Pb3Y8wq0o0Zq5bYxgQ2K1kz0w1XvFvYt6Wm8mQh9r renter"


class Disk:
    """What is on a machine: it outlives every session to it, and every process of ours."""

    def __init__(self, executor):
        self.executor = executor
        self.containers, self.volumes, self.images, self.keys = {}, {}, {"ubuntu"}, {}
        self.fails, self.done, self.files = {}, [], {}

    def meet(self, what, *names):
        """Note it, or fail as the test wants it: an error, or a function that gives one, or does something first."""
        self.done.append((what, *names))
        failure = self.fails.get(what)
        failure = failure() if callable(failure) else failure
        if failure is not None:
            raise failure

    def kept(self):
        """Something on it has changed."""


class Engine:
    """A container engine over such a disk."""

    def __init__(self, disk):
        self.disk = disk

    def image(self, reference, **_):
        return _image(reference) if reference in self.disk.images else None

    def pull(self, reference, login=None, **_):
        self.disk.meet("pull", reference, login.user if login else "")
        self.disk.images.add(reference)
        self.disk.kept()
        return _image(reference)

    def create(self, spec, image, *_, **__):
        self.disk.meet("create", name_of(spec.lease_id, spec.attempt))
        for mount in spec.mounts:
            name = volume_name(spec.renter_id, mount.volume, spec.executor_key)
            self.disk.volumes.setdefault(name, Volume(name, mount.volume, spec.renter_id, spec.executor_key))
        name = name_of(spec.lease_id, spec.attempt)
        if name in self.disk.containers and self.disk.containers[name].spec_digest != digest_of(spec):
            raise ContainerRefused("create", "NAME_TAKEN", name)
        labels = (spec.lease_id, spec.attempt, spec.renter_id, spec.validator_hotkey, spec.executor_key)
        times = ("created", 0, False, None, None, spec.ports)
        made = Container(name, "0" * 12, image.image_id, *labels, digest_of(spec), *times)
        self.disk.containers.setdefault(name, made)
        self.disk.kept()
        return self.disk.containers[name]

    def start(self, name, **_):
        self.disk.meet("start", name)
        self._set(name, "running")

    def stop(self, name, *_, **__):
        self.disk.meet("stop", name)
        self._set(name, "exited")

    def restart(self, name, *_, **__):
        self.disk.meet("restart", name)
        self._set(name, "running")

    def remove(self, name, **_):
        self.disk.meet("remove", name)
        self.disk.containers.pop(name, None)
        self.disk.kept()

    def inspect(self, name, **_):
        return self.disk.containers.get(name)

    def containers(self, **_):
        self.disk.meet("list")
        return tuple(self.disk.containers.values())

    def copy_in(self, name, archive, **_):
        self.disk.meet("copy", name)
        self.disk.keys[name] = archive
        self.disk.kept()

    def put_keys(self, name, _, keys, **__):
        self.disk.meet("keys", name)
        self.disk.keys[name] = keys
        self.disk.kept()

    def remove_volume(self, name, **_):
        self.disk.meet("remove volume", name)
        self.disk.volumes.pop(name, None)
        self.disk.kept()

    def backup(self, name, path, write, **_):
        self.disk.meet("backup", name, path)
        write(self.disk.files[path])
        return len(self.disk.files[path])

    def restore(self, name, path, pieces, **_):
        self.disk.meet("restore", name, path)
        self.disk.files[path] = b"".join(pieces)

    def _set(self, name, status):
        if name not in self.disk.containers:
            raise ContainerRefused(status, "NOT_THERE", name)
        self.disk.containers[name] = replace(self.disk.containers[name], status=status)
        self.disk.kept()


class Site:
    """A machine that was entered."""

    def __init__(self, disk):
        self.disk, self.executor, self.is_closed = disk, disk.executor, False

    def engine(self, _):
        if self.is_closed:
            raise HostAway("open", "we have left this machine")
        return Engine(self.disk)

    def toolbox(self, _):
        return "/opt/subnet"

    def expect_proof(self, kind, _):
        pass

    def prove(self, subject, kind, _):
        self.disk.meet(f"prove {kind.value}", *(card.uuid for card in subject.cards))
        told = proof(self.disk.executor, len(subject.cards))
        told = replace(
            told,
            cards=tuple(
                replace(c, card_uuid=card.uuid) for c, card in zip(told.cards, subject.cards, strict=True)
            ),
            transcript=b"{}",
        )
        return self.disk.verdict(told) if hasattr(self.disk, "verdict") else told

    def close(self):
        self.is_closed = True


class Edges:
    """The edges of a validator that only has its database."""

    def __init__(self, engine):
        self.engine, self.own_hotkey, self.is_embedded = engine, HOTKEY, True


class Town:
    """A market over machines of memory, with renters who have money."""

    def __init__(self, folder, engine, names=("a", "b"), now=None, disk=Disk, **policy):
        self.engine, self.folder = engine, folder
        self.clock = now or (lambda: datetime.now(UTC))
        machines = [machine(name) for name in names]
        self.disks = {one.key: disk(one) for one in machines}
        self.sites = []
        renting = replace(LOCALNET.renting, **policy)
        self.policy = replace(LOCALNET, renting=renting)
        self.market = self.open()

    def open(self):
        """A process that begins."""
        sealer = Sealer.of(self.folder / "key")
        return Market(
            Edges(self.engine),
            self.policy,
            sealer,
            self.folder / "backups",
            enter=self._enter,
            knock=self._knock,
            now=self.clock,
        )

    async def _enter(self, market, executor_key, *_, **__):
        disk = self.disks[executor_key]
        await market.call(lambda: disk.meet("enter"))
        self.sites.append(Site(disk))
        return self.sites[-1]

    def _knock(self, place, *_):
        disk, container = next(
            (disk, container)
            for disk in self.disks.values()
            for container in disk.containers.values()
            if container.status == "running" and any(p.outside == place.port for p in container.ports)
        )
        disk.meet("knock", container.name)
        lease = Rentals(self.engine).get(container.lease_id)
        return disk.seen if hasattr(disk, "seen") else lease.card_uuids

    def ask(self, name="l-1", usd=100, **changes):
        """A renter with so many dollars wants a lease."""
        asked = rental(name, renter=f"r-{name}", **{"pod": Pod("ubuntu", public_keys=(KEY_LINE,)), **changes})
        asked = replace(asked, requested_at=self.clock(), moved_at=self.clock())
        if usd:
            Money(self.engine).post(granted(asked.renter_id, round(usd * USD), f"grant-{name}", NOON, "test"))
        return ask_for_lease(self.market.rentals, asked)[0]

    def lease(self, name="l-1"):
        """How it stands."""
        return self.market.rentals.get(name)

    def steps(self, name="l-1"):
        """What was told of its steps: (name, state)."""
        return [(facts["name"], facts["state"]) for facts, _ in self._told(name)]

    def failures(self, name="l-1"):
        """Its steps that failed: (name, whose fault, why)."""
        told = self._told(name)
        return [(facts["name"], facts["party"], why) for facts, why in told if facts["state"] == "failed"]

    def _told(self, name):
        events = self.market.events.after(0, lease_id=name, limit=10_000)
        return [(json.loads(e.facts), e.message) for e in events if e.kind == "STEP"]

    @property
    def containers(self):
        """All containers, on all machines."""
        return sorted(name for disk in self.disks.values() for name in disk.containers)


def proved(engine, names=("a", "b"), **terms):
    """An epoch that proved these machines."""
    finish(engine, [machine(name) for name in names], **terms)


def _image(reference):
    return Image(reference, "sha256:" + "1" * 64, (), Program(), 1)


__all__ = ["HOTKEY", "KEY_LINE", "MINER", "Town", "proved"]
