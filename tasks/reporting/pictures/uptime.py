"""How steadily each miner's machines pass, over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from tasks.reporting.drawing import canvas, days_of, hotkey, label, percent, time_axis
from tasks.reporting.frames import Frames
from tasks.reporting.picture import Missing, Picture, table
from tasks.reporting.slots import Slots, slots

TITLE = "Uptime by miner"
MAX_MINERS = 40
MAX_COLUMNS = 144
SHADES = LinearSegmentedColormap.from_list("uptime", ["#7F2704", "#D55E00", "#FDD49E", "#DCEAF4", "#0072B2"])
"""From nothing passed to all passed; dark at both ends, and different in lightness where most values are."""


@dataclass(frozen=True, slots=True)
class Uptime:
    """Passed machine-epochs of those listed."""

    miners: pd.DataFrame
    """A row a miner, the one with most machines first: miner_hotkey, miner_uid, machines (mean), passed, failed, unknown
    (shares of its machine-epochs)."""
    shares: pd.DataFrame
    """A row a miner in the same order, a column a slot: share passed; NaN where it listed nothing."""
    slots: Slots


def uptime(frames: Frames) -> Uptime | None:
    """None when no machine was scored."""
    rows = frames.miners
    if rows.empty:
        return None
    blocks = slots(frames.epochs, MAX_COLUMNS)
    sums = rows.groupby("miner_hotkey").agg(
        miner_uid=("miner_uid", "last"),
        listed=("machines", "sum"),
        passed=("passed", "sum"),
        failed=("failed", "sum"),
    )
    ordered = sums.sort_values("listed", ascending=False, kind="stable")
    passed, failed = ordered["passed"] / ordered["listed"], ordered["failed"] / ordered["listed"]
    miners = ordered[["miner_uid"]].assign(
        machines=ordered["listed"] / len(frames.epochs),
        passed=passed,
        failed=failed,
        unknown=1 - passed - failed,
    )
    slotted = rows.assign(slot=rows["epoch"].map(blocks.of_epoch))
    passed_in, listed_in = (
        slotted.pivot_table(index="miner_hotkey", columns="slot", values=name, aggfunc="sum")
        for name in ("passed", "machines")
    )
    whole = (passed_in / listed_in).reindex(index=miners.index, columns=range(len(blocks.begin)))
    return Uptime(miners.reset_index(), whole, blocks)


def picture(frames: Frames) -> Picture | Missing:
    """A band a miner."""
    found = uptime(frames)
    if found is None:
        return Missing(TITLE, "No machine was scored in the archived epochs of these days.")
    miners = found.miners
    perfect = int((miners["passed"] >= 1).sum())
    worst = miners.sort_values(["passed", "machines"], ascending=[True, False]).iloc[0]
    sentence = f"The machines of {perfect} of {len(miners)} miners passed in every epoch that listed them"
    if worst["passed"] < 1:
        sentence += f"; uid {worst['miner_uid']} has the least, {percent(worst['passed'])}"
    sentence += ". A vertical stripe through all bands is trouble of the validator rather than of the miners."
    if len(miners) > MAX_MINERS:
        sentence += f" Drawn are the {MAX_MINERS} miners with most machines."
    columns = ("miner", "hotkey", "machines", "passed", "failed", "no verdict")
    rows = [
        (
            *(f"uid {row['miner_uid']}", str(row["miner_hotkey"]), number_of(row["machines"])),
            *(percent(max(0.0, row[name])) for name in ("passed", "failed", "unknown")),
        )
        for _, row in miners.iterrows()
    ]
    alt = "A band for each miner over time, coloured by the share of its machines that passed."
    return Picture(TITLE, sentence, alt, lambda: draw(found), table(columns, rows))


def number_of(machines: float) -> str:
    """A mean number of machines."""
    return f"{machines:,.1f}".removesuffix(".0")


def draw(found: Uptime) -> Figure:
    """The miners with most machines."""
    miners = found.miners.head(MAX_MINERS)
    shares = found.shares.head(MAX_MINERS).to_numpy(dtype="float64")
    figure = canvas(1.6 + 0.24 * len(miners))
    axes = figure.add_subplot()
    axes.set_facecolor("#ececec")
    begin, end = days_of(found.slots.begin), days_of(found.slots.end)
    for column in range(len(begin)):
        edges = np.arange(len(miners) + 1) - 0.5
        mesh = axes.pcolormesh(
            [begin[column], end[column]],
            edges,
            100 * shares[:, [column]],
            cmap=SHADES,
            vmin=0,
            vmax=100,
            rasterized=True,
        )
    names = [
        f"uid {row['miner_uid']}  {label(hotkey(row['miner_hotkey']), 14)}" for _, row in miners.iterrows()
    ]
    y = np.arange(len(miners))
    axes.set_yticks(y, names, fontsize=9)
    axes.set_ylim(len(miners) - 0.5, -0.5)
    axes.hlines(y[:-1] + 0.5, begin[0], end[-1], color="white", linewidth=1.5)
    axes.grid(visible=False)
    time_axis(axes, *found.slots.span)
    totals = axes.secondary_yaxis("right")
    totals.set_yticks(y, [percent(share) for share in miners["passed"]], fontsize=9)
    totals.tick_params(length=0)
    totals.spines["right"].set_visible(False)
    bar = figure.colorbar(mesh, ax=axes, location="top", aspect=60, shrink=0.6, pad=0.01)
    bar.set_label("machines that passed, % (grey: none listed, or no epoch); at the right: over all")
    bar.outline.set_visible(False)
    return figure
