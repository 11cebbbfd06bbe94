"""The charts' HTML of an archive on standard output: a process of its own, so that no page waits and no memory stays.

python -m deployments.marketplace.pages.charting HISTORY LAST_DAY DAYS
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from datetime import date

import flows.caches  # noqa: F401  before matplotlib
from deployments.marketplace.pages import charts
from deployments.marketplace.pages.frame import text_of
from storage.errors import StorageError
from storage.history import archived_since
from storage.places import Place, place_of
from tasks.reporting.headlines import headlines
from tasks.reporting.period import Period
from tasks.reporting.reading import read_frames

NICE = 10
ENDS_S = 600
"""It ends by itself then: whoever began it may have been killed."""
MOST_BYTES = 6 << 30
"""Of address space, most of it libraries."""


def html_of(history: Place, period: Period) -> str:
    """The archive's days as charts, from the first one that has any epoch."""
    archived = [date.fromisoformat(one.day) for one in archived_since(history, period.first.isoformat())]
    days = [day for day in archived if day <= period.last]
    if not days:
        return text_of("charts.html", period=period, epochs=0)
    frames = read_frames(history, Period(period.last, (period.last - min(days)).days + 1))
    return text_of(
        "charts.html",
        period=frames.period,
        epochs=len(frames.epochs),
        headlines=headlines(frames),
        sections=charts.charts_of(frames),
        size=charts,
    )


def main(arguments: list[str]) -> int:
    """Write it; the exit code."""
    os.nice(NICE)
    signal.alarm(ENDS_S)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    history, last, days = arguments
    try:
        text = html_of(place_of(history, os.environ), Period(date.fromisoformat(last), int(days)))
    except StorageError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
