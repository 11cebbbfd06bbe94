"""What is leased, and what for."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from tasks.reporting.drawing import GOOD, SERIES, canvas, days_of, number, percent, time_axis
from tasks.reporting.frames import Frames
from tasks.reporting.picture import Missing, Picture, table
from tasks.reporting.slots import Slots, outline, slots

TITLE = "Leases and what they pay"


@dataclass(frozen=True, slots=True)
class Leases:
    """As epochs began."""

    slots: Slots
    share: pd.Series[float]
    """Leased cards of the listed ones, by slot."""
    usd_per_hour: pd.Series[float]
    """Prices of all leases together, by slot."""
    latest: pd.Series[float]
    """Of the newest epoch: leases, leased_cards, listed_cards, usd_per_hour."""
    usd: float
    """Prices times the time until the next epoch, over all epochs."""


def leases(frames: Frames) -> Leases | None:
    """None when nothing was leased."""
    rows = frames.leases
    if rows.empty or not rows["leases"].sum():
        return None
    blocks = slots(frames.epochs)
    sums = {
        name: blocks.mean(rows.assign(all="all"), "all", name)["all"]
        for name in ("leased_cards", "listed_cards", "usd_per_hour")
    }
    listed = sums["listed_cards"]
    hours = (blocks.end - blocks.begin).dt.total_seconds() / 3600
    return Leases(
        slots=blocks,
        share=(sums["leased_cards"] / listed.where(listed > 0)).fillna(0.0),
        usd_per_hour=sums["usd_per_hour"],
        latest=rows.sort_values("epoch").iloc[-1],
        usd=float((sums["usd_per_hour"] * hours).sum()),
    )


def picture(frames: Frames) -> Picture | Missing:
    """Two panels over one time."""
    found = leases(frames)
    if found is None:
        return Missing(TITLE, "Nothing was leased as the archived epochs of these days began.")
    latest = found.latest
    sentence = (
        f"As the newest epoch began {int(latest['leases']):,} leases had {int(latest['leased_cards']):,} of {int(latest['listed_cards']):,} listed "
        f"cards for {number(latest['usd_per_hour'])} USD an hour together. Over these days prices add up to {number(found.usd)} USD; "
        "what was charged is in the ledger of whoever rents out, not in the archive."
    )
    columns = ("epoch", "leases", "leased cards", "of listed", "USD an hour")
    rows = [
        (
            *(f"{int(row['epoch'])}", f"{int(row['leases']):,}", f"{int(row['leased_cards']):,}"),
            *(percent(row["leased_cards"] / max(1.0, row["listed_cards"])), number(row["usd_per_hour"])),
        )
        for _, row in frames.leases.sort_values("epoch", ascending=False).iterrows()
    ]
    alt = (
        "Two panels over time: per cent of the listed cards that are leased, and what all leases pay an hour."
    )
    return Picture(TITLE, sentence, alt, lambda: draw(found), table(columns, rows))


def draw(found: Leases) -> Figure:
    """One picture."""
    figure = canvas(4.4)
    upper, lower = figure.subplots(2, sharex=True)
    begin, end = days_of(found.slots.begin), days_of(found.slots.end)
    panels = (
        (upper, 100 * found.share, GOOD, "per cent of cards leased"),
        (lower, found.usd_per_hour, SERIES[2], "USD an hour"),
    )
    for axes, heights, colour, name in panels:
        x, y = outline(begin, end, heights.to_numpy(dtype="float64"))
        axes.fill_between(x, 0.0, y, color=colour, linewidth=0.0)
        axes.set_ylim(0, max(1e-3, 1.1 * float(heights.max())))
        axes.set_ylabel(name)
    time_axis(lower, *found.slots.span)
    return figure
