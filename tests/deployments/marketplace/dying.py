"""A renter's requests again and again, each time the marketplace is killed one step later, and then begun anew.

    python -m tests.deployments.marketplace.dying FOLDER [EVERY]

A step is a commit of the state, or a flow run that was just made. After the kill another process has the same state,
and the renter sends the same requests again. Prints a line of JSON for each try. A process of its own, because it forks.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path

import sqlalchemy as sa

from deployments.marketplace.starter import Starting
from tests.deployments.marketplace.world import SSH_KEY, World, ask, world

POD = {
    "image": "ubuntu:24.04",
    "public_keys": [SSH_KEY],
    "mounts": [{"volume": "data", "at": "/data"}],
    "environment": {"TOKEN": "hunter2"},
}


class Killer:
    """Counts steps down to the kill."""

    left = 0

    @classmethod
    def step(cls, *_: object) -> None:
        """One step; the last one is the process's."""
        cls.left -= 1
        if cls.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Prefect:
    """Makes one run for a work, whoever asks how often; what it has outlives the marketplace."""

    def __init__(self, file: Path) -> None:
        self.file = file

    async def start(self, work):
        """Its run."""
        if work.work_id not in self.runs:
            with self.file.open("a") as file:
                file.write(f"{work.work_id} {work.kind.value}\n")
        Killer.step()
        return f"run-{work.work_id}"

    @property
    def runs(self) -> dict[str, str]:
        """The kind of each work that has a run."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return dict(line.split(" ") for line in lines)


def requests(made: World, folder: Path) -> None:
    """A lease is asked for, and ended; what follows is started after each."""
    client, prefect = made.client(), Prefect(folder / "runs")
    lease = ask(client, pod=POD).json()
    asyncio.run(Starting().start_waiting(made.desk, prefect))
    client.delete(f"/v1/leases/{lease['lease_id']}")
    asyncio.run(Starting().start_waiting(made.desk, prefect))


def run(folder: Path, dies_at: int = 0) -> str:
    """All of it in a child: done, killed or failed."""
    pid = os.fork()
    if pid == 0:
        os._exit(_child(folder, dies_at))
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    return "done" if os.WEXITSTATUS(status) == 0 else "failed"


def _child(folder: Path, dies_at: int) -> int:
    try:
        with world(folder) as made:
            Killer.left = dies_at
            if dies_at:
                sa.event.listen(made.market.engine, "commit", Killer.step)
            requests(made, folder)
    except BaseException as error:  # noqa: BLE001  a child tells by its exit code alone
        sys.stderr.write(f"{folder.name}: {type(error).__name__}: {error}\n")
        return 1
    return 0


def told(folder: Path) -> dict[str, object]:
    """What the state and the orchestrator have in the end."""
    with world(folder) as made:
        leases = made.stores.rentals.of_renter("alice")
        events = made.stores.events.after(0, renter_id="alice", limit=100)
        return {
            "leases": [bool(lease.end_asked_at) for lease in leases],
            "secrets": [made.market.sealer.open(one.lease_id, one.sealed) for one in leases],
            "events": [event.kind for event in events],
            "volumes": [volume.name for volume in made.stores.volumes.of_renter("alice")],
            "waiting": len(made.stores.works.unstarted()),
            "runs": Counter(Prefect(folder / "runs").runs.values()),
        }


def main(folder: Path, every: int) -> None:
    """All tries, one for so many steps."""
    template = folder / "template"
    template.mkdir(parents=True)
    with world(template) as made, made.market.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    step, ended = every, "killed"
    while ended == "killed":
        place = folder / f"{step}"
        shutil.copytree(template, place)
        ended = run(place, dies_at=step)
        line = {"step": step, "ended": ended, "again": run(place), **told(place)}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        step += every


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
