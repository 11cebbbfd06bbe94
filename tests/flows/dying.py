"""Runs one epoch over a farm again and again, each time killed one step later, and then once more to its end.

    python -m tests.flows.dying FOLDER [EVERY]

A step is a commit of the state, a name that a file of the history gets, or an answer of the chain to an extrinsic:
what is between two of them can't be told apart afterwards. After the kill the next run begins in the same epoch, or
for every second step in the next one. Prints a line of JSON for the run that nobody killed, and one for each kill.
Runs as a process of its own, because it forks.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from deployments.localnet.chain.clock import ManualClock
from deployments.localnet.chain.ledger import Ledger
from deployments.localnet.chain.substrate import LocalSubstrate
from deployments.localnet.layout import Layout
from flows.edges import load_wallet, open_edges
from flows.settings import Settings
from flows.validate import validate_epoch
from storage.database import migrate, open_database
from storage.history import archived_epochs
from storage.records import BLOCKS_PER_EPOCH
from storage.state import State
from tasks.errors import EpochBusy
from tasks.policy import LOCALNET
from tests.bench.validator import FARM as SMALL

POLICY = replace(
    SMALL,
    name="deterministic",
    scoring=replace(
        LOCALNET.scoring,
        performance_window=(1.0, 1.0),
        unproven_performance=1.0,
        uptime_floor=1.0,
        bandwidth_floor=1.0,
    ),
    weights=replace(LOCALNET.weights, version_key=0),
)
"""Terms that depend on the clock are 1, so that every epoch of the same machines has the very same scores."""
BLOCK_S = 0.25
MACHINES = 3
RESTART, NEXT_EPOCH = 12, BLOCKS_PER_EPOCH + 12
"""Blocks after its begin."""


class Dying(LocalSubstrate):
    """A connection whose validator may die when the chain has taken an extrinsic."""

    step: Callable[[], None]

    async def submit(self, call, keypair, **options):
        """As the real one, with a step before and a step after."""
        type(self).step()
        answer = await super().submit(call, keypair, **options)
        type(self).step()
        return answer


class Stage:
    """One try: a chain, a state and a history of its own, over the farm that all tries share."""

    def __init__(self, folder: Path, layout: Layout, at_s: float) -> None:
        self.folder, self.at_s = folder, at_s
        folder.mkdir(parents=True)
        self.chain = folder / "chain.db"
        shutil.copy(layout.chain, self.chain)
        shutil.copy(layout.folder / "empty.sqlite", folder / "state.sqlite")
        self.settings: Settings = replace(
            layout.settings(os.environ),
            database_url=f"sqlite:///{folder}/state.sqlite",
            history=folder / "history",
            cache=folder / "cache",
            crew="threads",  # a process costs a second to start, and each try would start one
        )

    def run(self, blocks_later: int = 0, dies_at: int = 0) -> str:
        """An epoch in a child: done, killed, or busy, or what went wrong."""
        pid = os.fork()
        if pid == 0:
            os._exit(self._child(self.at_s + blocks_later * BLOCK_S, dies_at))
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            return "killed" if os.WTERMSIG(status) == signal.SIGKILL else f"signal {os.WTERMSIG(status)}"
        return {0: "done", 2: "busy"}.get(os.WEXITSTATUS(status), "failed")

    def _child(self, now_s: float, dies_at: int) -> int:
        try:
            asyncio.run(self._epoch(ManualClock(now_s), dies_at))
        except EpochBusy:
            return 2
        except BaseException as error:  # noqa: BLE001  a child tells by its exit code alone
            sys.stderr.write(f"{self.folder.name}: {type(error).__name__}: {error}\n")
            return 1
        return 0

    async def _epoch(self, clock: ManualClock, dies_at: int) -> None:
        left = dies_at

        def step(*_: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        Dying.step = step
        async with open_edges(
            self.settings, lambda: Dying(self.chain, now=clock.now, sleep=clock.sleep)
        ) as edges:
            if dies_at:
                sa.event.listen(edges.engine, "commit", step)
                sys.addaudithook(lambda name, _: step() if name == "os.rename" else None)
            outcome = await validate_epoch(edges, None, POLICY)
            for incident in outcome.incidents:
                raise RuntimeError(f"{incident.code}: {incident.got}")

    def told(self, hotkey: str) -> dict[str, object]:
        """What the chain, the state and the history have in the end."""
        end_s = self.at_s + 2 * BLOCKS_PER_EPOCH * BLOCK_S
        with closing(Ledger(self.chain, now=lambda: end_s)) as ledger:
            chain = ledger.state_at()
            uid = next(u for u, n in enumerate(chain.neurons) if n.hotkey == hotkey)
            account = chain.accounts.get(hotkey)
        engine = sa.create_engine(self.settings.database_url)
        try:
            state = State(engine)
            epochs = [s.header.epoch for s in state.latest_epochs(10)]
            sets = {epoch: state.meant_weights(epoch) for epoch in epochs}
        finally:
            engine.dispose()
        return {
            "row": {str(u): v for u, v in sorted(chain.neurons[uid].weights.items())},
            "sent": account.nonce if account else 0,
            "epochs": sorted(epochs),
            "archived": archived_epochs(self.settings.history),
            "paid_from": {
                str(epoch): vector.first_epoch for epoch, (vector, _) in sorted(sets.items()) if vector
            },
            "status": {str(epoch): o.status.value for epoch, (_, o) in sorted(sets.items()) if o},
        }


def main(folder: Path, every: int) -> None:
    """All tries, over one farm."""
    layout = Layout(folder)
    farm = subprocess.Popen(
        [
            *(sys.executable, "-m", "deployments.localnet.farm", "--folder", layout.subnet),
            *("--executors", str(MACHINES), "--miners", str(MACHINES)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert farm.stdout is not None
        assert farm.stdout.readline() == "ready\n"
        _empty_state(layout.folder / "empty.sqlite")
        at_s = time.time()
        hotkey = _hotkey(layout)
        whole = Stage(folder / "whole", layout, at_s)
        say(0, whole.run(), whole.told(hotkey))
        step, ended = every, "killed"
        while ended == "killed":
            stage = Stage(folder / f"{step}", layout, at_s)
            ended = stage.run(dies_at=step)
            # In the same epoch, after what the dead run may have sent was included; or in the next epoch.
            is_next = (step // every) % 2 == 1
            after = stage.run(NEXT_EPOCH if is_next else RESTART)
            if after == "busy":
                after = stage.run(NEXT_EPOCH)
            say(step, f"{ended}, {after}", stage.told(hotkey))
            step += every
    finally:
        farm.kill()
        farm.communicate()


def _empty_state(path: Path) -> None:
    """A state that is migrated: every try begins with a copy."""
    engine = open_database(f"sqlite:///{path}")
    migrate(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()


def say(step: int, ended: str, told: dict[str, object]) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps({"step": step, "ended": ended, **told}) + "\n")
    sys.stdout.flush()


def _hotkey(layout: Layout) -> str:
    return str(load_wallet(layout.settings(os.environ)).hotkey.ss58_address)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
