"""What scoring a large network costs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pandas as pd

from tasks.scoring.machines import machines_frame
from tasks.scoring.scoring import score_epoch
from tests.bench.measure import race
from tests.bench.rows import Group, Row, cpu_row
from tests.tasks.scoring.worlds import ASKING, MODELS, PAR, executor, grounds, record, report, verdict, view

EXECUTORS = 10_000
MINERS = 256
POLICY = ASKING
"""Collateral is asked for, so that every term has work; every tenth miner has not locked it."""
COVERED_RAO = 1_000_000_000_000


def _score() -> Iterator[Row]:
    rng = random.Random(0)
    hotkeys = [f"5Miner{number:03}" for number in range(MINERS)]
    machines = [
        executor(hotkeys[number % MINERS], f"m-{number:05}", number % MINERS + 1)
        for number in range(EXECUTORS)
    ]
    reports = [
        report(m, model=rng.choice(list(MODELS)), cards=rng.randint(1, 8), mbit_s=rng.uniform(100, 2_000))
        for m in machines
    ]
    verdicts = [
        verdict(m, *(rng.uniform(500, 5_000) for _ in r.facts.cards))
        for m, r in zip(machines, reports, strict=True)
    ]
    records = {
        m.key: record(m, passed_for=timedelta(hours=rng.uniform(0, 240)), up=500.0, down=500.0)
        for m in machines
    }
    subnet = view(*hotkeys, locked={h: 0 if at % 10 == 0 else COVERED_RAO for at, h in enumerate(hotkeys)})
    given = grounds(subnet, records.values(), quotes=PAR, policy=POLICY)
    frame = machines_frame(machines, reports, verdicts, given, POLICY)

    def ours() -> None:
        scores = score_epoch(machines, reports, verdicts, given, POLICY)
        assert len(scores) == EXECUTORS
        assert sum(s.score > 0 for s in scores) > EXECUTORS * 0.9

    raced = race(ours, partial(_group, frame), runs=9)
    note = f"{EXECUTORS:,} executors of {MINERS} miners, records in and records out; floor: one pandas group-by of them"
    yield cpu_row("score_10000", raced, note)


def _group(frame: pd.DataFrame) -> None:
    frame.groupby("miner_hotkey")["rate_usd_per_hour"].sum()


GROUPS = (Group(("score_10000",), _score),)
