"""`subnet history shadow`: whom the checks and terms that run in shadow would have changed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click
from rich.console import Console

from deployments.histories import epochs_of, history_option, json_option, own_history
from deployments.memory import memory_bounded
from deployments.view import cell, make_console
from storage.history import archived_since, read_arrow, read_epoch, read_scores
from storage.places import Place
from tasks.errors import PolicyRefused, SettingError, UserError
from tasks.policy import ShadowPolicy, policy_of
from tasks.scoring.shadowed import POOLED, Change, changes, enforced_alone

SHOWN = 40
"""Lines of one check or term; the JSON has all."""


@click.command()
@click.option("--epoch", type=click.IntRange(min=0), help="The epoch's number; the newest if not given.")
@click.option("--days", type=click.IntRange(1, 3_650), help="All epochs of the last so many days (UTC).")
@history_option
@json_option
@memory_bounded
def command(*, epoch: int | None, days: int | None, history: Place | None, as_json: bool) -> None:
    """Show whom each check and term in shadow would have changed: machine, score now, score then, and why.

    What runs in shadow is named by the policy that each epoch is archived with (shadow.checks, shadow.terms): it is
    computed and archived, without effect. `then` is with this one alone enforced, `all` with everything in shadow.

    \b
    Examples:
      subnet history shadow
      subnet history shadow --epoch 31
      subnet history shadow --days 7 --json
    """
    root = history or own_history()
    numbers = _numbers(root, epoch, days)
    policies = dict(_shadows(root, numbers))
    found = [change for number, shadow in policies.items() for change in _changes(root, number, shadow)]
    if as_json:
        click.echo(json.dumps(_document(numbers, policies, found), indent=2))
    else:
        _show(make_console(), numbers, policies, found)


def _numbers(root: Place, epoch: int | None, days: int | None) -> Sequence[int]:
    if days is None:
        return epochs_of(root, epoch, None, None, all_=False)
    if epoch is not None:
        raise UserError("--epoch and --days exclude each other")
    since = f"{datetime.now(UTC) - timedelta(days=days - 1):%Y-%m-%d}"
    found = sorted(one.epoch for one in archived_since(root, since))
    if not found:
        raise SettingError("--days", str(days), f"days with an archived epoch: {root} has none since {since}")
    return found


def _shadows(root: Place, numbers: Sequence[int]) -> Iterator[tuple[int, ShadowPolicy]]:
    """What each epoch had in shadow; epochs without scores, or of a policy that this code does not know, are left out."""
    for number in numbers:
        (values,) = read_arrow(root, "epochs", epoch=number, columns=["policy_values"])[
            "policy_values"
        ].to_pylist()
        try:
            shadow = policy_of(values).shadow if values else ShadowPolicy()
        except PolicyRefused as error:
            click.echo(f"epoch {number}: {error}", err=True)
            continue
        if shadow.checks or shadow.terms:
            yield number, shadow


def _changes(root: Place, number: int, shadow: ShadowPolicy) -> tuple[Change, ...]:
    scores = read_scores(root, number)
    if shadow.terms and any(score.formula in POOLED for score in scores):
        epoch = read_epoch(root, number, transcripts=False)
        return changes(number, scores, shadow, enforced_alone(epoch, shadow) if epoch else {})
    return changes(number, scores, shadow)


def _document(
    numbers: Sequence[int], policies: dict[int, ShadowPolicy], found: Sequence[Change]
) -> dict[str, object]:
    return {
        "epochs": len(numbers),
        "epochs_with_shadow": len(policies),
        "checks": sorted({code for shadow in policies.values() for code in shadow.checks}),
        "terms": sorted({term for shadow in policies.values() for term in shadow.terms}),
        "changes": [asdict(change) for change in found],
    }


def _show(
    console: Console, numbers: Sequence[int], policies: dict[int, ShadowPolicy], found: Sequence[Change]
) -> None:
    """For each check and term: how many machines it would have changed, and those."""
    if not policies:
        click.echo(
            f"{len(numbers)} epochs: their policies have nothing in shadow (shadow.checks, shadow.terms)"
        )
        return
    by_name: dict[str, list[Change]] = defaultdict(list)
    for shadow in policies.values():
        for name in (*shadow.checks, *shadow.terms):
            by_name[name]
    for change in found:
        by_name[change.name].append(change)
    for name, changed in sorted(by_name.items()):
        machines = len({change.executor_key for change in changed})
        console.print(cell(f"{name}: {machines} machines changed in {len(policies)} epochs"))
        for change in changed[:SHOWN]:
            line = f"  epoch {change.epoch}  {change.executor_key}  now {change.score:.6f}  then {change.then:.6f}"
            console.print(cell(f"{line}  all {change.enforced:.6f}  {change.why}"), soft_wrap=True)
        if len(changed) > SHOWN:
            console.print(f"  and {len(changed) - SHOWN} more")
