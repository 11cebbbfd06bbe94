"""The same machines, honest and not, validated by one engine after the other; each is chosen by SUBNET_CREW alone.

`python -m tests.flows.engines FOLDER ENGINE ...` prints one line of JSON: engine -> machine -> what was found, and its score.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from prefect import flow

from deployments.localnet.chain.ledger import Ledger
from deployments.localnet.chain.substrate import LocalSubstrate
from deployments.localnet.layout import Layout
from flows.edges import open_edges
from flows.settings import Settings
from flows.validate import validate_epoch
from storage.database import open_database
from storage.records import BLOCKS_PER_EPOCH, EpochOutcome
from storage.state import State
from tasks.policy import FLEET

MACHINES = 70
"""Enough for two hands."""
POLICY = replace(
    FLEET,
    inspection=replace(FLEET.inspection, session_deadline_s=14.0, min_mbit_s=0.001),
    proof=replace(FLEET.proof, fill_deadline_s=6.0, round_deadline_s=6.0),
    # Nothing that a clock or a line measures is in the score, so that equal findings give equal scores.
    scoring=replace(
        FLEET.scoring,
        performance_window=(1.0, 1.0),
        unproven_performance=1.0,
        full_bandwidth_mbit_s=1.0,
        bandwidth_floor=1.0,
        uptime_floor=1.0,
    ),
)
"""A machine that hangs is given up soon, but after who is only slow to log us in."""


def validate_once(settings: Settings, substrate: Callable[[], LocalSubstrate]) -> None:
    """The epoch in which the chain is that is connected to so."""

    @flow(name="validate", persist_result=False)
    async def validate() -> None:
        async with open_edges(settings, substrate) as edges:
            await validate_epoch(edges, None, POLICY)

    asyncio.run(validate())


def validated(layout: Layout, engine: str) -> EpochOutcome:
    """The next epoch, by this engine, with a state and a history of its own."""
    with closing(Ledger(layout.chain)) as ledger:
        ledger.advance(BLOCKS_PER_EPOCH)
    folder = layout.folder / engine
    folder.mkdir()
    settings = replace(
        layout.settings({}),
        crew=engine,
        hands=2,
        database_url=f"sqlite:///{folder}/state.sqlite",
        history=folder / "history",
    )
    validate_once(settings, lambda: LocalSubstrate(layout.chain))
    return newest_outcome(settings)


def newest_outcome(settings: Settings) -> EpochOutcome:
    """Of the state that these settings name."""
    database = open_database(settings.database_url)
    try:
        state = State(database)
        outcome = state.load_outcome(state.latest_epochs(1)[0].header.epoch)
    finally:
        database.dispose()
    assert outcome is not None
    return outcome


def found(outcome: EpochOutcome) -> dict[str, object]:
    """By machine: the codes that inspection and proof gave, and the score."""
    proved = {v.executor_key: v.code for v in outcome.verdicts}
    scores = {s.executor_key: s.score for s in outcome.scores}
    return {
        r.executor_key: [
            sorted(reason.code for reason in r.reasons if reason.decides),
            proved.get(r.executor_key),
            scores.get(r.executor_key),
        ]
        for r in outcome.reports
    }


@contextmanager
def farmed(
    layout: Layout, machines: int = MACHINES, miners: int | None = None, seed: int = 4
) -> Iterator[None]:
    """So many machines, three in ten of them broken or hostile, while the block lasts."""
    command = [sys.executable, "-m", "deployments.localnet.farm", "--folder", str(layout.subnet)]
    command += [
        "--executors",
        str(machines),
        "--seed",
        str(seed),
        "--faults",
        "0.3",
        "--rtt-ms",
        "2",
        "--wait",
        "0-0",
    ]
    command += [] if miners is None else ["--miners", str(miners)]
    farm = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert farm.stdout is not None
    try:
        assert farm.stdout.readline().strip() == "ready"
        yield
    finally:
        farm.kill()
        farm.communicate()


def main(folder: str, *engines: str) -> None:
    """See above."""
    layout = Layout(Path(folder))
    from prefect.testing.utilities import prefect_test_harness  # it imports all of the server

    with farmed(layout), prefect_test_harness(server_startup_timeout=120):
        told = {engine: found(validated(layout, engine)) for engine in engines}
    sys.stdout.write("\n" + json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
