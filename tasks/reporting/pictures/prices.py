"""What a machine asks for against what it has proved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tasks.reporting.drawing import INK, canvas, label, log_axis, number
from tasks.reporting.frames import Frames
from tasks.reporting.palette import Palette, palette_of
from tasks.reporting.picture import Missing, Picture, table
from tasks.reporting.stacks import beside

TITLE = "Price against proved performance"
MANY_POINTS = 2_000
"""From here on points are drawn as pixels: a vector for each would be most of the page."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Machines that name a price and have proved a bandwidth."""

    machines: pd.DataFrame
    """model, price_usd_per_hour, proved_gb_s, usd_per_tb_s (USD an hour for each 10^12 bytes a second)."""
    palette: Palette
    left_out: int
    """Machines without a price or without a proof."""

    @property
    def median(self) -> float:
        """USD an hour for each TB/s."""
        return float(self.machines["usd_per_tb_s"].median())

    def by_model(self) -> pd.DataFrame:
        """A row a model, the cheapest first: machines, low, median, high of usd_per_tb_s."""
        grouped = self.machines.groupby("model")["usd_per_tb_s"]
        columns = {
            "machines": grouped.count(),
            "low": grouped.min(),
            "median": grouped.median(),
            "high": grouped.max(),
        }
        return pd.DataFrame(columns).sort_values("median", kind="stable")


def prices(frames: Frames) -> Prices | None:
    """None when no machine has both."""
    every = frames.machines
    both = every[(every["price_usd_per_hour"] > 0) & (every["proved_gb_s"] > 0)]
    if both.empty:
        return None
    each = 1_000 * both["price_usd_per_hour"] / both["proved_gb_s"]
    machines = both[["model", "price_usd_per_hour", "proved_gb_s"]].assign(usd_per_tb_s=each)
    return Prices(machines, palette_of(frames), len(every) - len(both))


def picture(frames: Frames) -> Picture | Missing:
    """Points, one a machine."""
    found = prices(frames)
    if found is None:
        return Missing(TITLE, "No machine of these days has both a price and a proved bandwidth.")
    models = found.by_model()
    sentence = f"Half of the machines ask {number(found.median)} USD an hour or less for each TB/s of proved memory bandwidth"
    if len(models) > 1:
        sentence += f"; {models.index[0]} is the cheapest model by that, {models.index[-1]} the dearest"
    sentence += ". Above the dashed line a machine asks more than that."
    if (frames.epochs["memory_scale"] > 1).any():
        sentence += " Cards are simulated: their bandwidth is that of the CPU."
    columns = ("model", "machines", "lowest USD/h a TB/s", "median", "highest")
    rows = [
        (str(model), f"{int(row['machines']):,}", *(number(row[name]) for name in ("low", "median", "high")))
        for model, row in models.iterrows()
    ]
    alt = "Points on two logarithmic axes: each machine's price in USD an hour over its proved memory bandwidth, by model."
    return Picture(TITLE, sentence, alt, lambda: draw(found), table(columns, rows))


def draw(found: Prices) -> Figure:
    """Both axes are logarithmic: along a diagonal the price of a TB/s is the same."""
    figure = canvas(4.6)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_yscale("log")
    series = found.palette.series_of(found.machines["model"])
    is_pixels = len(found.machines) > MANY_POINTS
    handles = []
    for name in found.palette.names:
        points = found.machines[series == name]
        if points.empty:
            continue
        look: dict[str, Any] = {
            "marker": found.palette.mark(name),
            "color": found.palette.colour(name),
            "linestyle": "",
        }
        x, y = points["proved_gb_s"].to_numpy(), points["price_usd_per_hour"].to_numpy()
        axes.plot(x, y, **look, markersize=7, markeredgecolor=INK, markeredgewidth=0.4, rasterized=is_pixels)
        handles.append(Line2D([], [], **look, label=f"{label(name, 28)} ({len(points):,})"))
    axes.margins(0.08)
    (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    axes.plot(
        [low, high],
        [found.median * low / 1_000, found.median * high / 1_000],
        color=INK,
        linestyle=(0, (4, 2)),
        lw=1,
    )
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, top)
    log_axis(axes.xaxis)
    log_axis(axes.yaxis)
    axes.set_xlabel("proved memory bandwidth, all cards together, GB/s (10⁹ bytes a second)")
    axes.set_ylabel("price, USD an hour a machine")
    handles.append(
        Line2D(
            [],
            [],
            color=INK,
            linestyle=(0, (4, 2)),
            lw=1,
            label=f"median, {number(found.median)} USD/h a TB/s",
        )
    )
    beside(axes, handles)
    return figure
