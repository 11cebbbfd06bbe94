"""`subnet report`: the network's days as one page with pictures, made of the archive alone."""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

import flows.caches  # noqa: F401  before matplotlib
from deployments.histories import history_option, json_option, own_history
from deployments.view import make_console
from storage.history import archived_since
from storage.places import Place
from tasks.errors import SettingError
from tasks.reporting.period import FIRST_YEAR, LAST_YEAR, MAX_DAYS, Period
from tasks.reporting.reading import read_frames
from tasks.reporting.writing import Report, folder_of_reports, write_page


@click.command()
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day (UTC), or the last of several; the newest archived one when none is given.",
)
@click.option(
    "--days",
    type=click.IntRange(1, MAX_DAYS),
    default=1,
    show_default=True,
    help="So many days in one report.",
)
@history_option
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the page goes; `reports` beside the history when none is given.",
)
@click.option("--open", "is_opened", is_flag=True, help="Open the page in a browser.")
@json_option
def command(
    *,
    day: datetime | None,
    days: int,
    history: Place | None,
    folder: Path | None,
    is_opened: bool,
    as_json: bool,
) -> None:
    """Report on a day of the network: size, emission, pass rates, scores, prices, durations, uptime.

    The page is one HTML file that opens without a network. Exit code 2: nothing is archived on these days.

    \b
    Examples:
      subnet report
      subnet report --day 2026-08-01 --open
      subnet report --days 7 --json
      subnet report --history /data/history --folder /tmp
    """
    root = history or own_history()
    period = _period(root, day.date() if day else None, days)
    report = write_page(read_frames(root, period), folder or folder_of_reports(root))
    if as_json:
        click.echo(json.dumps(as_document(report), indent=2))
    else:
        _show(report)
    if is_opened:
        webbrowser.open(report.path.absolute().as_uri())


def _period(root: Place, day: date | None, days: int) -> Period:
    """The days asked for, of which at least one has an archived epoch."""
    known = sorted({archived.day for archived in archived_since(root, "")})
    if not known:
        raise SettingError(
            "--day", str(day or "newest"), f"an archived day: {root} has none; `subnet epoch` runs an epoch"
        )
    last = day or date.fromisoformat(known[-1])
    period = Period(last, days) if FIRST_YEAR <= last.year <= LAST_YEAR else None
    if period is None or not any(f"{period.first}" <= one <= f"{period.last}" for one in known):
        raise SettingError("--day", str(period or last), f"an archived day (UTC): {root} has {_some(known)}")
    return period


def _some(days: Sequence[str]) -> str:
    return days[0] if len(days) == 1 else f"{len(days)} from {days[0]} to {days[-1]}"


def as_document(report: Report) -> dict[str, object]:
    """The report for programs."""
    return {
        "path": str(report.path),
        "size_bytes": report.size_bytes,
        "first_day": f"{report.period.first}",
        "last_day": f"{report.period.last}",
        "unread_files": report.unread,
        "figures": {line.key: line.value for line in report.figures},
    }


def _show(report: Report) -> None:
    table = Table(box=SIMPLE_HEAD, show_header=False, title=f"Network, {report.period}", title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    for line in report.figures:
        table.add_row(line.name, line.shown)
    console = make_console()
    console.print(table)
    if report.unread:
        console.print(f"{report.unread} files of the archive can't be read; the page names them", style="red")
    console.print(f"report    {report.path}", soft_wrap=True, markup=False, highlight=False)
