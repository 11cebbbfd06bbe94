"""How an epoch looks in a terminal: tables of machines and weights, and a live line per phase."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deployments.hygiene import printable
from storage.records import (
    EpochOutcome,
    Executor,
    HostReport,
    Phase,
    Reason,
    Score,
    SubnetView,
    Verdict,
    WeightTarget,
)
from tasks.scoring.reading import terms_of

GIB = 1 << 30
MIB = 1 << 20
TABLE_WIDTH = 116


def make_console(*, stderr: bool = False) -> Console:
    """A console that is wide enough for our tables: a narrower terminal wraps their lines, which beats cut cells."""
    found = Console(stderr=stderr)
    return found if found.width >= TABLE_WIDTH else Console(stderr=stderr, width=TABLE_WIDTH)


def show_epoch(console: Console, outcome: EpochOutcome) -> None:
    """Machines, what all of them are warned of, the reasons, and what went wrong on our side."""
    console.print(machine_table(outcome))
    shared = warnings_shared_by_all(outcome.reports)
    if shared:
        told = ", ".join(f"{r.code} ({r.got.splitlines()[0][:60]})" for r in shared)
        console.print(Text.assemble(("All machines are warned: ", "yellow"), cell(told)))
    show_reasons(console, outcome)
    for incident in outcome.incidents:
        console.print(cell(f"{incident.code}: {incident.got}. {incident.mend}"), style="red")


def machine_table(outcome: EpochOutcome) -> Table:
    """A row per executor: what it says it is, what was proved, the verdict with its code, the score."""
    table = _table(f"Epoch {outcome.epoch}")
    table.add_column("miner", justify="right")
    for heading in ("executor", "model x count"):
        table.add_column(heading, no_wrap=True)
    for heading in ("VRAM", "proved", "Gop/s", "GB/s", "Mbit/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    reports = {r.executor_key: r for r in outcome.reports}
    verdicts = {v.executor_key: v for v in outcome.verdicts}
    scores = {s.executor_key: s for s in outcome.scores}
    for executor in sorted(outcome.executors, key=lambda e: (e.miner_uid, e.executor_id)):
        key = executor.key
        table.add_row(*_machine_row(executor, reports.get(key), verdicts.get(key), scores.get(key)))
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))


def _machine_row(
    executor: Executor, report: HostReport | None, verdict: Verdict | None, score: Score | None
) -> list[Text]:
    cards = report.facts.cards if report else ()
    proofs = verdict.cards if verdict else ()
    mbit = report.bandwidth if report else None
    cells = [
        str(executor.miner_uid),
        executor.executor_id,
        f"{cards[0].model.removeprefix('NVIDIA ').removeprefix('GeForce ')} x {len(cards)}" if cards else "-",
        size(sum(c.vram_mib for c in cards) * MIB) if cards else "-",
        size(sum(p.memory_bytes for p in proofs if p.passed)) if proofs else "-",
        f"{1000 * sum(p.operations_tera_s for p in proofs):.3g}" if proofs else "-",
        f"{sum(p.bandwidth_gb_s for p in proofs):.3g}" if proofs else "-",
        f"{min(mbit.up_mbit_s, mbit.down_mbit_s):.0f}" if mbit else "-",
    ]
    code, style = verdict_of(report, verdict)
    return [*map(cell, cells), Text(code, style), Text(_score(score.score) if score else "-")]


def _score(value: float) -> str:
    """Four decimals, or four digits of what is smaller: a share of the emission."""
    return f"{value:.4f}" if value == 0.0 or value >= 0.01 else f"{value:.3e}"


def size(count_bytes: int) -> str:
    """Bytes in the unit that gives a short number."""
    if count_bytes >= GIB:
        return f"{count_bytes / GIB:.0f} GiB"
    return f"{count_bytes / MIB:.1f} MiB" if count_bytes else "0"


def verdict_of(report: HostReport | None, verdict: Verdict | None) -> tuple[str, str]:
    """The code that decided, with the number of further ones, and its colour."""
    reasons = deciding((*(report.reasons if report else ()), *(verdict.reasons if verdict else ())))
    if reasons:
        further = f" (+{len(reasons) - 1})" if len(reasons) > 1 else ""
        return reasons[0].code + further, "red" if reasons[0].fails else "yellow"
    if verdict is None:
        return "NOT_TRIED", "yellow"
    return verdict.code, "green" if verdict.proved else "red"


def deciding(reasons: Iterable[Reason]) -> list[Reason]:
    """Those that keep a machine from being paid, failures first."""
    return sorted((r for r in reasons if r.decides), key=lambda r: not r.fails)


def show_reasons(console: Console, outcome: EpochOutcome) -> None:
    """Why each unpaid machine is not paid: what was got, what was wanted, and the mend."""
    reports = {r.executor_key: r for r in outcome.reports}
    verdicts = {v.executor_key: v for v in outcome.verdicts}
    scores = {s.executor_key: s for s in outcome.scores}
    told = [(f"miner {reply.uid}", reason) for reply in outcome.replies for reason in reply.reasons]
    for executor in outcome.executors:
        report, verdict, score = (by_key.get(executor.key) for by_key in (reports, verdicts, scores))
        heard = (*(report.reasons if report else ()), *(verdict.reasons if verdict else ()))
        found = score.reasons if score else heard
        told += [(executor.executor_id, reason) for reason in deciding(found)]
    for who, reason in told:
        style = "red" if reason.fails else "yellow"
        console.print(Text.assemble(cell(who), " ", (reason.code, style)))
        console.print(Padding(cell(f"got {reason.got}; wanted {reason.wanted}"), (0, 0, 0, 2)))
        console.print(Padding(cell(reason.mend), (0, 0, 0, 2)))


def weight_table(
    before: Sequence[WeightTarget],
    meant: Sequence[WeightTarget],
    landed: Sequence[WeightTarget],
    view: SubnetView | None,
) -> Table:
    """The weight vector: as it was, as meant, as the chain has it, and the incentive that followed."""
    table = _table("Weights")
    table.add_column("uid", justify="right")
    table.add_column("hotkey")
    for heading in ("before", "meant", "on the chain", "incentive"):
        table.add_column(heading, justify="right")
    rows = [{t.uid: t.weight for t in targets} for targets in (before, meant, landed)]
    hotkeys = {t.uid: t.hotkey for targets in (before, meant, landed) for t in targets}
    for uid in sorted(hotkeys):
        neuron = view.by_uid(uid) if view else None
        owner = " (owner: burned)" if view and hotkeys[uid] == view.owner_hotkey else ""
        table.add_row(
            str(uid),
            short(hotkeys[uid]) + owner,
            *(f"{row[uid]:.4f}" if uid in row else "-" for row in rows),
            f"{neuron.incentive:.4f}" if neuron else "-",
        )
    return table


def warnings_shared_by_all(reports: Sequence[HostReport]) -> list[Reason]:
    """Warnings with the same code on every reachable machine, once each."""
    heard = [r for r in reports if r.facts.cards]
    counts: dict[str, list[Reason]] = {}
    for report in heard:
        for reason in {r.code: r for r in report.reasons if not r.decides}.values():
            counts.setdefault(reason.code, []).append(reason)
    return [found[0] for found in counts.values() if len(found) == len(heard)]


class PhaseLines:
    """A live line per phase: rewritten while it runs on a terminal, printed once when it ends elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._ended: set[str] = set()
        self._width = 0

    def show(self, phases: Iterable[Phase], now: datetime) -> None:
        """Bring the lines up to date."""
        for phase in phases:
            if phase.name in self._ended:
                continue
            line = phase_line(phase, now)
            if phase.finished_at is not None:
                self._ended.add(phase.name)
                self._write(line, "\n")
            elif self._console.is_terminal:
                self._write(line, "\r")

    def _write(self, line: str, end: str) -> None:
        padding = " " * max(0, self._width - len(line))
        self._width = len(line) if end == "\r" else 0
        self._console.file.write(line + padding + end)
        self._console.file.flush()


def phase_line(phase: Phase, now: datetime) -> str:
    """One phase in one line: name, how far, how long, and a note."""
    seconds = ((phase.finished_at or now) - phase.started_at).total_seconds()
    count = f"{phase.done}/{phase.total}" if phase.total else ""
    return f"  {phase.name:<11}{count:>9} {seconds:7.1f} s  {phase.note}".rstrip()


def cell(text: str) -> Text:
    """Foreign text made harmless for a terminal: printable characters only, and not too many."""
    return Text(printable(text))


def short(hotkey: str) -> str:
    """A hotkey that fits a table: its first six and last four characters."""
    return hotkey if len(hotkey) <= 12 else f"{hotkey[:6]}..{hotkey[-4:]}"


def as_json(outcome: EpochOutcome, extra: Mapping[str, object]) -> dict[str, object]:
    """The same for programs: one object per executor and the weights; the transcripts stay in the archive."""
    reports = {r.executor_key: r for r in outcome.reports}
    verdicts = {v.executor_key: v for v in outcome.verdicts}
    scores = {s.executor_key: s for s in outcome.scores}
    landed = outcome.weight_outcome.landed if outcome.weight_outcome else ()
    return {
        "epoch": outcome.epoch,
        "block": outcome.block,
        "state": outcome.state,
        "policy": {"name": outcome.policy, "digest": outcome.policy_digest},
        "executors": [
            _executor_json(e, reports.get(e.key), verdicts.get(e.key), scores.get(e.key))
            for e in outcome.executors
        ],
        "weights": {
            "status": outcome.weight_outcome.status if outcome.weight_outcome else None,
            "code": outcome.weight_outcome.code if outcome.weight_outcome else "",
            "landed": {t.uid: t.weight for t in landed},
        },
        "incidents": [_reason_json(r) for r in outcome.incidents],
        **extra,
    }


def _executor_json(
    executor: Executor, report: HostReport | None, verdict: Verdict | None, score: Score | None
) -> dict[str, object]:
    found = (*(report.reasons if report else ()), *(verdict.reasons if verdict else ()))
    return {
        "miner_uid": executor.miner_uid,
        "miner_hotkey": executor.miner_hotkey,
        "executor": executor.executor_id,
        "model": report.facts.cards[0].model if report and report.facts.cards else None,
        "cards": len(report.facts.cards) if report else 0,
        "vram_mib": sum(c.vram_mib for c in report.facts.cards) if report else 0,
        "proved_bytes": sum(p.memory_bytes for p in verdict.cards if p.passed) if verdict else 0,
        "operations_tera_s": sum(p.operations_tera_s for p in verdict.cards) if verdict else 0.0,
        "bandwidth_gb_s": sum(p.bandwidth_gb_s for p in verdict.cards) if verdict else 0.0,
        "verdict": verdict_of(report, verdict)[0].partition(" ")[0],
        "score": score.score if score else 0.0,
        "terms": terms_of(score) if score else {},
        "reasons": [_reason_json(r) for r in (score.reasons if score else found)],
    }


def _reason_json(reason: Reason) -> dict[str, str | bool]:
    return {
        "code": reason.code,
        "severity": reason.severity,
        "got": reason.got,
        "wanted": reason.wanted,
        "mend": reason.mend,
        "is_shadow": reason.is_shadow,
    }
