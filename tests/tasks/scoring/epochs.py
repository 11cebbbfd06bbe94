"""Generated epochs in quick succession: machines of many miners, some failed, slow, leased or silent, scored and paid."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache

from storage.records import (
    PORTION,
    RATE,
    TOKEN,
    EpochOutcome,
    ExecutorRecord,
    Grounds,
    HostReport,
    Lease,
    MinerReply,
    Quote,
    Reason,
    Severity,
    Standing,
    Verdict,
)
from tasks.policy import Policy
from tasks.scoring.scoring import score_epoch
from tasks.scoring.shares import Ground, weight_vector
from tests.storage.outcomes import small_outcome
from tests.tasks.scoring.worlds import ASKING, MODELS, NOW, executor, record, report, verdict, view

COVERED_RAO = 1_000_000_000_000
BUSY = Reason("GPU_BUSY", Severity.FAIL, "97 %", "at most 5 %", "Stop what runs on it.")


class World:
    """Machines that stay the same over the epochs, and what each epoch finds of them."""

    def __init__(self, machines: int, miners: int, seed: int = 0, policy: Policy = ASKING) -> None:
        self.rng, self.policy = random.Random(seed), policy
        hotkeys = [f"5Miner{number:03}" for number in range(miners)]
        locked = {h: 0 if at % 10 == 0 else COVERED_RAO for at, h in enumerate(hotkeys)}
        self.view = view(*hotkeys, locked=locked)
        self.machines = tuple(
            sorted(
                (executor(hotkeys[n % miners], f"m-{n:04}", n % miners + 1) for n in range(machines)),
                key=lambda machine: machine.key,
            )
        )
        self.models = [self.rng.choice(list(MODELS)) for _ in self.machines]
        self.cards = [self.rng.choice((1, 1, 1, 2, 4, 8)) for _ in self.machines]
        self.records = [
            record(m, passed_for=timedelta(hours=self.rng.uniform(0, 240))) for m in self.machines
        ]

    def epoch(self, number: int, earned=(), first_epoch=None) -> EpochOutcome:
        """One epoch, with weights of its scores and of those that earlier ones earned."""
        reports = tuple(map(self._report, range(len(self.machines))))
        verdicts = tuple(map(self._verdict, range(len(self.machines))))
        now = NOW + timedelta(minutes=10 * number)
        given = self._grounds(now)
        scores = score_epoch(self.machines, reports, verdicts, given, self.policy)
        ground = Ground.of(self.view)
        vector = weight_vector(number, [*earned, *scores], ground, self.policy.weights, first_epoch)
        return replace(
            small_outcome(number, day=now, machines=0),
            block_hash=self.view.head.block_hash,
            policy=self.policy.name,
            policy_digest=self.policy.digest(),
            replies=tuple(MinerReply(n.hotkey, n.uid, (), ()) for n in self.view.neurons[1:]),
            executors=self.machines,
            reports=reports,
            verdicts=verdicts,
            scores=scores,
            weights=vector,
            weight_outcome=None,
            grounds=given,
        )

    def _report(self, at: int) -> HostReport:
        reasons = (BUSY,) if self.rng.random() < 0.03 else ()
        mbit_s = self.rng.uniform(90, 2_000)
        return report(
            self.machines[at], model=self.models[at], cards=self.cards[at], mbit_s=mbit_s, reasons=reasons
        )

    def _verdict(self, at: int) -> Verdict:
        severity = Severity.FAIL if self.rng.random() < 0.03 else None
        gb_s = [self.rng.uniform(200, 5_000) for _ in range(self.cards[at])]
        return verdict(self.machines[at], *gb_s, severity=severity)

    def _grounds(self, now) -> Grounds:
        standings = tuple(
            Standing(m.key, self._record(r), is_leased=self.rng.random() < 0.2, deposited_rao=0)
            for m, r in zip(self.machines, self.records, strict=True)
        )
        leases = tuple(
            Lease(f"lease-{s.executor_key}", s.executor_key, self._rented(s.executor_key), 0.7, NOW)
            for s in standings
            if s.is_leased
        )
        chain = (self.view.owner_hotkey, self.view.neurons)
        return Grounds(now, self.policy.to_json(), *chain, standings, tuple(self._quotes(now)), leases)

    def _quotes(self, now) -> Iterator[Quote]:
        for model in ("H200", "L4"):
            yield Quote(RATE, model, self.rng.uniform(0.1, 3.0), "table", now)
            yield Quote(PORTION, model, self.rng.uniform(0.01, 0.3), "rents", now)
        yield Quote(TOKEN, "tao_usd", self.rng.uniform(200, 500), "kraken, coinbase", now)
        yield Quote(TOKEN, "alpha_tao", self.rng.uniform(0.01, 0.1), "chain", now)

    def _rented(self, key: str) -> tuple[str, ...]:
        """One card of the machine, or all of it."""
        return (f"GPU-{key}-0",) if self.rng.random() < 0.5 else ()

    def _record(self, known: ExecutorRecord) -> ExecutorRecord:
        up, down = self.rng.uniform(50, 2_000), self.rng.uniform(50, 2_000)
        return replace(known, up_mbit_s=up, down_mbit_s=down)


@cache
def world(machines: int = 20, miners: int = 5) -> World:
    """A small one for those who need only an epoch or two."""
    return World(machines, miners)
