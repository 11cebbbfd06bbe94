"""Inspection as a step: a Prefect task for every shard, which a hand of the crew visits, then a look over the whole network."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter

from storage.records import Executor, ExecutorRecord, HostFacts, HostReport
from tasks.crew.opening import hands_for
from tasks.crew.orders import Visit
from tasks.epoch import EpochRun, Shard, shards
from tasks.inspection.checks import Claim, find_duplicates
from tasks.inspection.checks.bans import CODES, with_bans
from tasks.inspection.measuring import is_measured
from tasks.shadow import report_in_shadow
from tasks.stepping import step
from tasks.strangers import hurried

PHASE_DEADLINE_S = 240.0
"""For all visits together: however many machines are announced that only hang, the epoch goes on to its end."""


async def inspect(run: EpochRun, executors: Sequence[Executor]) -> tuple[HostReport, ...]:
    """Reports of all machines, in the order of `executors`; who has its verdict from a run that died is not asked again."""
    kept = {e.key: report for e in executors if (report := run.kept.report_of(e)) is not None}
    asked = [e for e in executors if e.key not in kept and e.key not in run.unheard]
    run.progress.begin("inspection", len(asked))
    if asked:
        await run.hands.hire(hands_for(len(asked), run.edges.most_hands))
    until = run.clock() + PHASE_DEADLINE_S
    strangers = hurried(asked, run.records, run.view.head.block_hash)
    parts = await asyncio.gather(
        *(
            inspect_shard(run, shard, until, strangers)
            for shard in shards(in_turns(asked, run.records, strangers), run.edges.executors_per_shard)
        )
    )
    unheard = {k: HostReport(k, HostFacts(), (), None, why, 0.0, 0.0) for k, why in run.unheard.items()}
    told = unheard | kept | {report.executor_key: report for part in parts for report in part}
    every = with_duplicates((told[e.key] for e in executors), executors, run.records)
    judged = with_bans(every, executors, run.records, run.bans, run.leased_keys)
    run.banned_codes = {b.report.executor_key: CODES[b.ban.kind] for b in judged if b.ban}
    looked_at = (report_in_shadow(b.report, run.policy.shadow) for b in judged)
    # What the dead run has said of a machine is said once; only what takes it out of the proof is new.
    reports = tuple(kept.get(r.executor_key, r) if r.may_be_proved else r for r in looked_at)
    if asked:
        await run.hands.keep((r.executor_key for r in reports if not r.may_be_proved), is_rest_closed=False)
    # A report that is saved again drops its verdict.
    changed = [report for report in reports if kept.get(report.executor_key) != report]
    await asyncio.to_thread(run.state.save_reports, run.epoch, changed)
    fit = sum(r.may_be_proved for r in reports)
    run.progress.end(f"{fit} of {len(reports)} machines may be proved")
    return reports


@step("inspect", run_name="inspect-shard-{shard.number}", deadline_s=600.0)
async def inspect_shard(
    run: EpochRun, shard: Shard, until: float, strangers: frozenset[str]
) -> tuple[HostReport, ...]:
    """Have the machines of one shard visited side by side, and keep what they told."""
    visits = [visit_of(run, executor, strangers) for executor in shard.executors]
    reports = await run.hands.visit(visits, max(0.0, until - run.clock()))
    await asyncio.to_thread(run.state.save_reports, run.epoch, reports)
    return reports


def visit_of(run: EpochRun, executor: Executor, strangers: frozenset[str]) -> Visit:
    """What a hand needs to know to visit this machine."""
    record = run.record_of(executor.key)
    measures = is_measured(record, run.view.head.block_hash)
    return Visit(executor, record, run.access_to(executor), measures, executor.key in strangers)


def in_turns(
    executors: Iterable[Executor],
    records: Mapping[str, ExecutorRecord],
    strangers: frozenset[str] = frozenset(),
) -> tuple[Executor, ...]:
    """The order of visits: who was not come to before, then machines on a run of passed epochs, then each miner's first,
    second, and so on.

    Connections are opened a few at a time, so that a miner that announces hundreds that hang would come before others.
    Strangers for whom nobody waits come first: they hold a place for three seconds, and are through while others are visited.
    """
    announced: Counter[str] = Counter()
    turns: list[tuple[int, bool, bool, int, Executor]] = []
    for executor in executors:
        record = records.get(executor.key)
        is_known = record is not None and record.passed_since is not None
        waited = 0 if record is None else record.carried_over
        is_late = not is_known and executor.key not in strangers
        turns.append((-waited, is_late, is_known, announced[executor.miner_hotkey], executor))
        announced[executor.miner_hotkey] += 1
    return tuple(turn[-1] for turn in sorted(turns, key=itemgetter(0, 1, 2, 3)))


def with_duplicates(
    reports: Iterable[HostReport], executors: Iterable[Executor], records: Mapping[str, ExecutorRecord]
) -> tuple[HostReport, ...]:
    """The reports, with a further reason where a card is listed by an older claim too.

    A machine that is away for an epoch keeps its claim as long as it keeps its run of passed epochs.
    """
    registered = {e.key: e.miner_registered_at_block for e in executors}
    kept = tuple(reports)
    listing = {r.executor_key for r in kept if r.facts.cards}
    away = (r for key, r in records.items() if key not in listing and r.passed_since is not None)
    found = find_duplicates(
        [
            *(_claim(r, registered[r.executor_key], records) for r in kept if r.facts.cards),
            *(Claim(r.executor_key, 0, r.first_seen, r.card_uuids) for r in away),
        ]
    )
    return tuple(
        replace(r, reasons=(*r.reasons, found[r.executor_key]))
        if r.executor_key in found and r.facts.cards
        else r
        for r in kept
    )


def _claim(report: HostReport, registered_at_block: int, records: Mapping[str, ExecutorRecord]) -> Claim:
    """Since when this machine has had these very cards; None when the history has others, or nothing."""
    uuids = tuple(sorted(card.uuid for card in report.facts.cards))
    record = records.get(report.executor_key)
    is_same = record is not None and tuple(sorted(record.card_uuids)) == uuids
    has_failed = any(reason.fails for reason in report.reasons)
    return Claim(
        report.executor_key,
        registered_at_block,
        record.first_seen if record and is_same else None,
        uuids,
        # Whoever has passed until now keeps the cards for the epoch in which it fails.
        is_sound=not has_failed or bool(record and is_same and record.passed_since),
    )
