"""The network report: the archive's days as one page with pictures.

    history (Parquet) -> rows added up -> figures -> pictures -> reports/<days>.html, and an artifact

It reads nothing but the archive, so it can be made again for any day, anywhere the Parquet files are.
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path

from prefect import flow

import flows.caches  # noqa: F401  before matplotlib
from flows.settings import read_settings
from storage.places import Place
from tasks.reporting.period import Period, yesterday
from tasks.reporting.step import read, show, write
from tasks.reporting.writing import Report, folder_of_reports


@flow(name="report", flow_run_name="report", persist_result=False)
async def report(day: date | None = None, days: int = 1) -> None:
    """Report on `days` days (UTC) up to `day`: without it the last day that is over, as the schedule wants it."""
    settings = read_settings(os.environ)
    await make_report(settings.history, Period(day or yesterday(datetime.now(UTC)), days))


async def make_report(history: Place, period: Period, folder: Path | None = None) -> Report:
    """The report itself, of any archive; the page lies beside it unless `folder` says otherwise."""
    frames = await read(history, period)
    written = await write(frames, folder or folder_of_reports(history))
    await show(frames, written)
    return written
