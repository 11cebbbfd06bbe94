"""Runs the life of a lease again and again, each time killed one step later, and then on to its end by fresh processes.

    python -m tests.flows.dying_leases FOLDER LIFE [EVERY]

A life is rent, operate or teardown: what is killed; before it everything went well. A step is a commit of the state,
or something that is about to be done or was just done on a machine: what is between two of them can't be told apart
afterwards. After the kill the request is sent again, what stands still is worked on again, and orphans are swept, as a
restarted API, worker and watch would. Prints a line of JSON for each try. Runs as a process of its own, because it forks.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import shutil
import signal
import sys
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from flows.operate import operate_lease
from flows.rent import rent_lease
from flows.teardown import end_lease
from storage.database import open_database
from storage.rental import Operation, OperationKind, OperationState, Party, Pod, PodMount, WorkKind
from tasks.renting.asking import ask_end, ask_operation
from tasks.renting.metering import cost_micro_usd
from tasks.renting.reconciling import reconcile
from tasks.renting.sweeping import sweep
from tests.databases import fresh
from tests.tasks.renting.leases import NOON
from tests.tasks.renting.sites import HOTKEY, KEY_LINE, Disk, Engine, Town, proved

ROUNDS = 8
FLOWS = {
    WorkKind.RENT: rent_lease,
    WorkKind.TEARDOWN: end_lease,
    WorkKind.OPERATE: operate_lease,
    WorkKind.COPY: operate_lease,
}
OPERATIONS = (OperationKind.STOP, OperationKind.START, OperationKind.REPLACE, OperationKind.KEYS)
AFTER = {"rent": 1, "operate": 2, "teardown": 3}
"""Hours from noon at which a life is killed; it goes on ten minutes later."""


class Killer:
    """Counts steps down to the kill."""

    left = 0

    @classmethod
    def step(cls, *_: object) -> None:
        """One step; the last one is the process's."""
        cls.left -= 1
        if cls.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class KeptDisk(Disk):
    """What is on a machine, in a file: it outlives the process, as a machine does."""

    folder: Path

    def __init__(self, executor):
        super().__init__(executor)
        self.path = self.folder / f"{executor.executor_id}.disk"
        self.contents = {}
        if self.path.exists():
            self.containers, self.volumes, self.images, self.keys, self.contents = pickle.loads(
                self.path.read_bytes()
            )

    def meet(self, what, *names):
        """A step before something is done."""
        super().meet(what, *names)
        Killer.step()

    def kept(self):
        """And one after it; a volume that is new has a content that no other has."""
        for name in self.volumes:
            self.contents.setdefault(name, os.urandom(4).hex())
        self.contents = {name: self.contents[name] for name in self.volumes}
        told = (self.containers, self.volumes, self.images, self.keys, self.contents)
        draft = self.path.with_suffix(".draft")
        draft.write_bytes(pickle.dumps(told))
        draft.rename(self.path)
        Killer.step()


class Stage:
    """One try: a state and machines of its own."""

    def __init__(self, folder: Path, like: Path) -> None:
        self.folder = folder
        shutil.copytree(like, folder)

    def run(self, work, hours: float, dies_at: int = 0) -> str:
        """Something in a child at this moment: done, killed or failed."""
        pid = os.fork()
        if pid == 0:
            os._exit(self._child(work, hours, dies_at))
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            return "killed"
        return "done" if os.WEXITSTATUS(status) == 0 else "failed"

    def _child(self, work, hours: float, dies_at: int) -> int:
        engine = open_database(f"sqlite:///{self.folder}/subnet.db")
        KeptDisk.folder = self.folder
        try:
            town = Town(self.folder, engine, now=lambda: NOON + timedelta(hours=hours), disk=KeptDisk)
            Killer.left = dies_at
            if dies_at:
                sa.event.listen(engine, "commit", Killer.step)
            asyncio.run(work(town))
        except BaseException as error:  # noqa: BLE001  a child tells by its exit code alone
            sys.stderr.write(f"{self.folder.name}: {type(error).__name__}: {error}\n")
            return 1
        return 0


async def begin(town: Town) -> None:
    """The renter asks, maybe again, and the worker works."""
    pod = Pod("ubuntu", public_keys=(KEY_LINE,), mounts=(PodMount("data", "/data"),))
    town.ask(pod=pod, key="k")
    await work(town)


async def operate(town: Town) -> None:
    """Stop, start, another image and another key, asked for one after the other, maybe again."""
    for number, kind in enumerate(OPERATIONS):
        arguments = {"image": "debian:12"} if kind is OperationKind.REPLACE else {"add": [KEY_LINE]}
        at = town.clock() + timedelta(seconds=number)
        operation = Operation(
            f"op-{number}", "l-1", f"k-{number}", kind, OperationState.ASKED, at, json.dumps(arguments)
        )
        ask_operation(town.market.operations, town.lease(), operation)
    await work(town)


async def finish(town: Town) -> None:
    """The renter has enough, and says so, maybe again."""
    ask_end(town.market.rentals, "l-1", town.clock(), Party.RENTER, "enough")
    await work(town)


LIVES = {"rent": begin, "operate": operate, "teardown": finish}


async def work(town: Town) -> None:
    """What the starter and the worker do: every work that waits."""
    while waiting := town.market.works.unstarted():
        for one in waiting:
            town.market.works.started(one.work_id, "run")
            await FLOWS[one.kind](town.market, one.subject)


async def go_on(town: Town) -> None:
    """What watch does: what stands still is worked on again, and orphans are swept."""
    for number in range(ROUNDS):
        asked = reconcile(town.engine, town.clock() + timedelta(hours=number))
        await work(town)
        if not asked:
            break
    for disk in town.disks.values():
        now = town.clock
        sweep(Engine(disk), town.engine, HOTKEY, disk.executor.key, now=now, deadline=0.0)


def told(stage: Stage) -> dict[str, object]:
    """What state and machines have in the end."""
    engine = open_database(f"sqlite:///{stage.folder}/subnet.db")
    KeptDisk.folder = stage.folder
    town = Town(stage.folder, engine, now=lambda: NOON + timedelta(hours=9), disk=KeptDisk)
    lease, market = town.lease(), town.market
    books = market.money.books()
    volumes = {n: c for disk in town.disks.values() for n, c in disk.contents.items()}
    result = {
        "state": lease.state.value if lease else "",
        "reason": lease.reason if lease else "",
        "container": lease.access.container if lease and lease.access else "",
        "containers": town.containers,
        "running": sorted(
            n for d in town.disks.values() for n, c in d.containers.items() if c.status == "running"
        ),
        "keys": sorted({k.decode() for d in town.disks.values() for k in d.keys.values() if b"\0" not in k}),
        "leases": len(market.rentals.of_renter("r-l-1")),
        "held": sorted(market.rentals.held().values()),
        "is_even": not books.uneven and books.micro_usd == 0,
        "charged": market.money.metered("l-1"),
        "cost": cost_micro_usd(lease, lease.ended_at) if lease and lease.ended_at else None,
        "paid_s": lease.paid_s if lease else None,
        "volumes": sorted(volumes.values()),
        "volume": [v.lease_id for v in market.volumes.of_renter("r-l-1")],
        "operations": [o.state.value for o in reversed(market.operations.of_lease("l-1"))],
        "claims": sorted(market.claims.held(NOON + timedelta(hours=9))),
        "gapless": [e.sequence for e in market.events.after(0, limit=10_000)]
        == list(range(1, market.events.last() + 1)),
    }
    town.market.close()
    engine.dispose()
    return result


def main(folder: Path, life: str, every: int) -> None:
    """All tries."""
    template = folder / "template"
    template.mkdir(parents=True)
    engine = fresh(template)
    proved(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    begun, order = Stage(folder / "begun", template), list(LIVES)
    for before in order[: order.index(life)]:
        assert begun.run(LIVES[before], AFTER[before]) == "done"
    volumes = told(begun)["volumes"]
    step, ended = every, "killed"
    while ended == "killed":
        stage = Stage(folder / f"{step}", begun.folder)
        ended = stage.run(LIVES[life], AFTER[life], dies_at=step)
        again = [stage.run(LIVES[life], AFTER[life] + 0.1), stage.run(go_on, AFTER[life] + 0.2)]
        say(step, ended, again, told(stage), volumes)
        step += every


def say(step: int, ended: str, again: list[str], stands: dict[str, object], before: object) -> None:
    """One line of JSON."""
    line = {"step": step, "ended": ended, "again": again, "volumes_before": before, **stands}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)
