"""`subnet history verify`: the proofs of archived epochs, judged again by whoever wants to know."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from deployments.histories import epochs_of, own_history
from deployments.memory import memory_bounded
from deployments.view import cell, make_console
from storage.errors import HistoryDamaged, SchemaUnknown
from storage.places import Place
from tasks.errors import SettingError
from tasks.proof.audit import Audit, audit_epoch
from tasks.proof.evidence import Evidence, Standing

SHOWN_DIFFERENCES = 8
"""Of one machine: a single wrong secret makes every figure differ."""
_STYLES = {Standing.AGREES: "green", Standing.NOTHING: "yellow"}

Unread = tuple[int, str]
"""An epoch whose files can't be read, and why."""


@click.command()
@click.option(
    "--epoch", type=click.IntRange(min=0), help="The epoch's number; the newest when none is given."
)
@click.option("--from", "first", type=click.IntRange(min=0), help="All epochs from this one on.")
@click.option("--to", "last", type=click.IntRange(min=0), help="All epochs up to this one.")
@click.option("--all", "all_", is_flag=True, help="Every archived epoch.")
@click.option(
    "--executor", "executors", multiple=True, help="Only this machine: HOTKEY/NAME, or NAME. Repeatable."
)
@click.option("--miner", "miners", multiple=True, help="Only the machines of this hotkey. Repeatable.")
@click.option(
    "--history",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another folder of Parquet than the one that the settings name.",
)
@click.option("--threads", type=click.IntRange(1, 256), help="As many as there are cores when not given.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@memory_bounded
def command(
    *,
    epoch: int | None,
    first: int | None,
    last: int | None,
    all_: bool,
    executors: tuple[str, ...],
    miners: tuple[str, ...],
    history: Place | None,
    threads: int | None,
    as_json: bool,
) -> int:
    """Judge the proofs of an archived epoch again, and compare with what was archived.

    Everything is done again but the clock, which is the validator's word: openings against roots, walks and products
    from the seeds, what the seeds bind against the epoch's rows, sizes and bounds against its policy. Exit code 0:
    all agree. 1: something differs or is damaged. 2: there is no such epoch or machine.

    \b
    Examples:
      subnet history verify
      subnet history verify --epoch 31 --executor 5GnLMr.../basalt-1
      subnet history verify --from 20 --to 31 --miner 5GnLMr... --json
      subnet history verify --all --history /data/history
    """
    root = history or own_history()
    numbers = epochs_of(root, epoch, first, last, all_=all_)
    audits: list[Audit] = []
    unread: list[Unread] = []

    def wanted(key: str) -> bool:
        hotkey, _, name = key.partition("/")
        of_machine = not executors or key in executors or name in executors
        return of_machine and (not miners or hotkey in miners)

    console = make_console()
    with _progress(quiet=as_json) as progress:
        for number in numbers:
            task = progress.add_task(f"epoch {number}", total=None)
            try:
                audit = audit_epoch(
                    root,
                    number,
                    wanted,
                    threads or cores(),
                    lambda done, total, task=task: progress.update(task, completed=done, total=total),  # type: ignore[misc]
                )
            except (HistoryDamaged, SchemaUnknown) as error:
                unread.append((number, str(error)))
            else:
                audits.append(audit)
            progress.remove_task(task)
    if audits and not unread and not any(audit.listed for audit in audits):
        asked = ", ".join((*executors, *miners))
        raise SettingError(
            "--executor or --miner", asked, "a machine of these epochs; `subnet show` lists them"
        )
    if as_json:
        click.echo(json.dumps(as_document(audits, unread), indent=2))
    else:
        show(console, audits, unread)
    return 0 if not unread and all(audit.holds for audit in audits) else 1


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _progress(*, quiet: bool) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)


# --- how it looks ----------------------------------------------------------------------------------


def show(console: Console, audits: Iterable[Audit], unread: Iterable[Unread]) -> None:
    """A line an epoch, and below it every machine that does not hold."""
    for audit in audits:
        style = "green" if audit.holds else "red"
        console.print(Text.assemble((f"epoch {audit.epoch}", style), f"  {_sentence(audit)}"), soft_wrap=True)
        for one in audit.evidence:
            if one.differences:
                console.print(Padding(Text("\n").join(_lines(one)), (0, 0, 0, 2)))
    for number, why in unread:
        console.print(Text.assemble((f"epoch {number}", "red"), "  ", cell(why)))


def _sentence(audit: Audit) -> str:
    counts = [
        f"{audit.count(Standing.AGREES)} agree",
        f"{audit.count(Standing.DIFFERS)} differ",
        f"{audit.count(Standing.DAMAGED)} damaged",
        f"{audit.count(Standing.NOTHING)} broke off: nothing to verify",
    ]
    if audit.untried:
        counts.append(f"{audit.untried} without a verdict")
    if audit.leased:
        counts.append(f"{audit.leased} small proofs of leased machines")
    if not audit.is_policy_known:
        counts.append("its policy is unknown here: sizes and bounds not compared")
    cost = f"{audit.wall_s:.2f} s, {audit.cpu_ms_a_card:.1f} ms CPU a card"
    return f"{len(audit.evidence)} machines, {audit.cards} cards judged again in {cost}: " + ", ".join(counts)


def _lines(one: Evidence) -> Iterator[Text]:
    yield Text.assemble(cell(one.executor_key), " ", (one.standing, _STYLES.get(one.standing, "red")))
    for difference in one.differences[:SHOWN_DIFFERENCES]:
        yield Text.assemble(
            f"  {difference.code}: got ", cell(difference.got), "; wanted ", cell(difference.wanted)
        )
    hidden = len(one.differences) - SHOWN_DIFFERENCES
    if hidden > 0:
        yield Text(f"  and {hidden} more")


def as_document(audits: Iterable[Audit], unread: Iterable[Unread]) -> dict[str, object]:
    """The same for programs."""
    return {
        "epochs": [_document(audit) for audit in audits],
        "unread": [{"epoch": number, "why": why} for number, why in unread],
    }


def _document(audit: Audit) -> dict[str, object]:
    return {
        "epoch": audit.epoch,
        "holds": audit.holds,
        "machines": len(audit.evidence),
        "cards": audit.cards,
        **{standing.name.lower(): audit.count(standing) for standing in Standing},
        "untried": audit.untried,
        "leased": audit.leased,
        "is_policy_known": audit.is_policy_known,
        "wall_s": round(audit.wall_s, 3),
        "cpu_s": round(audit.cpu_s, 3),
        "cpu_ms_a_card": round(audit.cpu_ms_a_card, 3),
        "differences": [
            {
                "executor": one.executor_key,
                "standing": one.standing,
                "differences": [asdict(d) for d in one.differences],
            }
            for one in audit.evidence
            if one.differences
        ],
    }
