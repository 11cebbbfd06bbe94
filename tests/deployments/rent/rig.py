"""`subnet rent` at a desk of its own: the real app, a clock by hand, a worker that moves on while the command waits."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import click
import httpx
from click.testing import CliRunner

from deployments.cli import subnet
from deployments.renting.desk import Desk
from storage.certificates import Certificates
from storage.rental import (
    Access,
    Backup,
    Certificate,
    Happening,
    OperationKind,
    OperationState,
    Party,
    Published,
    RentalState,
)
from tasks.errors import SubnetError
from tasks.renting.moves import ended, ending, failed, handed_over, let_go, moved, reserved, started, stopped

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
STEPS = ("prove", "pull", "create", "probe")
R = RentalState


class Bridge(httpx.BaseTransport):
    """HTTP without a socket: each request runs the app to the end of its answer."""

    def __init__(self, app, lost=()):
        self._app, self.asked = app, []
        self.lost = list(lost)
        """Methods whose next answer is lost on the way, after the app has done what was asked."""

    def handle_request(self, request):
        """The app's whole answer."""
        self.asked.append(request)
        body = request.read()

        async def once():
            inner = httpx.ASGITransport(self._app, client=("192.0.2.1", 1234))
            sent = httpx.Request(request.method, request.url, headers=request.headers, content=body)
            response = await inner.handle_async_request(sent)
            return response.status_code, response.headers, await response.aread()

        status, headers, content = asyncio.run(once())
        if request.method in self.lost:
            self.lost.remove(request.method)
            raise httpx.ReadTimeout("the answer was lost")
        return httpx.Response(status, headers=headers, content=content)


@dataclass
class Hand:
    """Does what is asked of leases, a step each time when somebody waits."""

    world: object
    broken: set = field(default_factory=set)
    """Machines whose pull fails."""
    is_idle: bool = False
    """Nothing is done: the worker is away."""

    def wait(self, seconds):
        """The time passes, and something is done."""
        self.world.clock.passes(seconds)
        if not self.is_idle:
            self.work()

    def work(self):
        """One step of every lease and of every operation."""
        for work in self.world.stores.works.unstarted():
            self.world.stores.works.started(work.work_id, "run")
        for lease in self.world.stores.rentals.open():
            self._lease(lease)
        for operation in self.world.stores.operations.open():
            self._operation(operation)

    @property
    def now(self):
        """The world's."""
        return self.world.clock.at

    def _lease(self, lease):
        if lease.end_asked_at is not None or lease.state is R.ENDING:
            self._move(
                lease,
                ended(lease, self.now) if lease.state in {R.ENDING, R.REQUESTED} else self._ending(lease),
            )
        elif lease.state is R.REQUESTED:
            self._reserve(lease)
        elif lease.state is R.RESERVED:
            self._move(lease, moved(lease, R.PROVISIONING, self.now), _step(lease, "prove", "running"))
        elif lease.state is R.PROVISIONING:
            self._provision(lease)

    def _ending(self, lease):
        return (
            ending(lease, self.now)
            if lease.state in {R.ACTIVE, R.STOPPED, R.PROVISIONING}
            else ended(lease, self.now)
        )

    def _reserve(self, lease):
        held = self.world.stores.rentals.held()
        free = [
            one
            for one in self.world.machines
            if one.executor_key not in lease.tried
            and lease.wish.executor_key in {"", one.executor_key}
            and not set(one.card_uuids) & set(held)
        ]
        if not free:
            self._move(
                lease, failed(lease, self.now, Party.MACHINE, "no machine is left: pull failed on all")
            )
            return
        cards = free[0].card_uuids[: lease.wish.card_count or None]
        self._move(lease, reserved(lease, free[0], cards, self.now))

    def _provision(self, lease):
        told = self.world.stores.events.steps([lease.lease_id]).get(lease.lease_id, [])
        facts = [json.loads(event.facts) for event in told]
        done = [f["name"] for f in facts if f["state"] == "done" and f["attempt"] == lease.attempt]
        name = STEPS[len(done)]
        if name == "pull" and lease.executor_key in self.broken:
            self._move(lease, let_go(lease, self.now, "pull: no space"), _step(lease, "pull", "failed", 1.5))
            return
        events = [_step(lease, name, "done", 1.25)]
        if name != STEPS[-1]:
            following = STEPS[STEPS.index(name) + 1]
            self.world.stores.events.note(lease, self.now, *events, _step(lease, following, "running"))
            return
        self._move(lease, handed_over(lease, self.now, self._access(lease)), *events)
        self._certify(lease)

    def _access(self, lease):
        ports = (
            Published(22, 30_022),
            *(Published(p.inside, 31_000 + i) for i, p in enumerate(lease.pod.ports)),
        )
        name = f"subnet-{lease.lease_id}-{lease.attempt}"
        return Access("203.0.113.7", 30_022, ports, HOST_KEY, "sha256:0", name)

    def _certify(self, lease):
        verdict = json.dumps({"code": "PROVED"})
        made = Certificate(
            lease.lease_id,
            lease.attempt,
            "hand-over",
            self.now,
            lease.executor_key,
            "PROVED",
            lease.card_uuids,
            verdict,
            b"{}",
        )
        Certificates(self.world.market.engine).save(made)

    def _operation(self, operation):
        stores = self.world.stores
        lease = stores.rentals.get(operation.lease_id)
        if operation.state is OperationState.ASKED:
            running = replace(operation, state=OperationState.RUNNING, begun_at=self.now)
            stores.operations.move(lease, operation, running)
            return
        result = {}
        if operation.kind is OperationKind.STOP:
            self._move(lease, stopped(lease, self.now))
        elif operation.kind is OperationKind.START:
            self._move(lease, started(lease, self.now, self._access(lease)))
        elif operation.kind is OperationKind.BACKUP:
            result = self._backup(lease, operation)
        elif operation.kind is OperationKind.RESTORE:
            failure = replace(
                operation,
                state=OperationState.FAILED,
                ended_at=self.now,
                party=Party.MACHINE,
                reason="restore: no \x1b[2Jspace",
            )
            stores.operations.move(lease, operation, failure)
            return
        done = replace(operation, state=OperationState.DONE, ended_at=self.now, result=json.dumps(result))
        stores.operations.move(stores.rentals.get(lease.lease_id), operation, done)

    def _backup(self, lease, operation):
        content = b"tar " * 100
        source = json.loads(operation.arguments)["source"]
        digest = blake2b(content, digest_size=32).hexdigest()
        made = Backup("b-1", lease.lease_id, lease.renter_id, source, self.now, len(content), digest, "kept")
        (self.world.market.backups / "b-1.tar").write_bytes(content)
        self.world.stores.backups.save(made)
        return {"backup_id": "b-1"}

    def _move(self, before, after, *happened):
        assert self.world.stores.rentals.move(before, after, happened)


def _step(lease, name, state, seconds=None):
    facts = {"attempt": lease.attempt, "name": name, "state": state}
    return Happening("STEP", name, json.dumps(facts | ({} if seconds is None else {"seconds": seconds})))


@dataclass
class Told:
    """What a command came to."""

    code: int
    out: str
    err: str
    error: str

    @property
    def json(self):
        """The one document on standard output."""
        return json.loads(self.out)

    @property
    def flat(self):
        """Standard output without what tables put between words."""
        return " ".join(self.out.split())


@dataclass
class Terminal:
    """Where a renter types."""

    world: object
    home: object
    token: str
    hand: Hand = None
    bridge: Bridge = None
    launched: list = field(default_factory=list)

    def __post_init__(self):
        self.hand = Hand(self.world)
        self.bridge = Bridge(self.world.app)

    @property
    def environment(self):
        """Of the renter's shell."""
        return {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": "",
            "SUBNET_API": "https://market.example",
            "SUBNET_API_KEY_FILE": "",
            "SUBNET_FOLDER": str(self.home / "local"),
        }

    def desk(self):
        """The commands' outside."""
        return Desk(
            environment={k: v for k, v in self.environment.items() if v},
            transport=self.bridge,
            now=self.world.clock.now,
            sleep=self.hand.wait,
            monotonic=self.world.clock.monotonic,
            run=self.launch,
            become=self.launch,
        )

    def launch(self, argv):
        """Instead of another program: what would have been started."""
        self.launched.append(tuple(argv))
        return 7

    def login(self):
        """Keep the key, as a renter does."""
        told = self.rent("login", stdin=self.token + "\n")
        assert told.code == 0, told
        return self

    def rent(self, *words, stdin=None):
        """Type `subnet rent ...`."""
        done = CliRunner().invoke(
            subnet, ["rent", *map(str, words)], obj=self.desk(), input=stdin, standalone_mode=False
        )
        return Told(code_of(done), done.stdout, done.stderr, str(done.exception or ""))

    def up(self, *words):
        """A lease that is ready: its document."""
        told = self.rent("up", "--yes", "--json", *words)
        assert told.code == 0, told
        return told.json


def code_of(done):
    """The exit code that `deployments.cli.main` makes of it."""
    error = done.exception
    if error is None:
        return done.return_value if isinstance(done.return_value, int) else 0
    if isinstance(error, click.exceptions.Abort):
        return 130
    if isinstance(error, click.ClickException | SubnetError):
        return error.exit_code
    raise error
