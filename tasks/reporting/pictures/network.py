"""How large the network is: cards by model over time."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tasks.reporting.drawing import INK, canvas, days_of, whole_numbers
from tasks.reporting.frames import Frames
from tasks.reporting.palette import Palette, palette_of
from tasks.reporting.picture import Missing, Picture, table
from tasks.reporting.slots import Slots, outline, slots
from tasks.reporting.stacks import beside, stack

TITLE = "Size of the network"


@dataclass(frozen=True, slots=True)
class Network:
    """Cards over time."""

    slots: Slots
    passed: pd.DataFrame
    """A row a slot, a column a series: cards of the machines that passed, the mean of the slot's epochs."""
    listed: pd.Series[float]
    """Cards of all machines, by slot."""
    palette: Palette
    latest: pd.DataFrame
    """A row a model of the newest epoch with machines, the largest first: machines, passed_machines, cards, passed_cards."""


def network(frames: Frames) -> Network | None:
    """None when no epoch has a machine."""
    models = frames.models
    if models.empty:
        return None
    palette, blocks = palette_of(frames), slots(frames.epochs)
    rows = models.assign(series=palette.series_of(models["model"]))
    passed = blocks.mean(rows, "series", "passed_cards").reindex(columns=list(palette.names), fill_value=0.0)
    latest = models[models["epoch"] == models["epoch"].max()].set_index("model")
    return Network(
        slots=blocks,
        passed=passed,
        listed=blocks.mean(rows.assign(all="all"), "all", "cards")["all"],
        palette=palette,
        latest=latest.sort_values(["cards", "machines"], ascending=False, kind="stable"),
    )


def picture(frames: Frames) -> Picture | Missing:
    """Stacked cards by model, and a line for all that are listed."""
    found = network(frames)
    if found is None:
        return Missing(TITLE, "No epoch of these days has scored a machine.")
    latest = found.latest
    cards, passed = int(latest["cards"].sum()), int(latest["passed_cards"].sum())
    first = str(latest.index[0])
    share = latest["cards"].iloc[0] / max(1, cards)
    sentence = (
        f"In the newest epoch {passed:,} of {cards:,} listed cards passed inspection and proof; {100 * share:.0f} % of the "
        f"listed cards are {first}."
    )
    columns = ("model", "machines", "of them passed", "cards", "of them passed")
    rows = [
        (
            str(model),
            *(f"{int(row[name]):,}" for name in ("machines", "passed_machines", "cards", "passed_cards")),
        )
        for model, row in latest.iterrows()
    ]
    alt = "Stacked areas over time: cards of passed machines by model, with a line for all listed cards."
    return Picture(TITLE, sentence, alt, lambda: draw(found), table(columns, rows))


def draw(found: Network) -> Figure:
    """One picture."""
    figure = canvas(4.0)
    axes = figure.add_subplot()
    names = found.passed.columns
    handles = stack(axes, found.slots, found.passed, {name: found.palette.colour(name) for name in names})
    listed = found.listed.to_numpy(dtype="float64")
    x, y = outline(days_of(found.slots.begin), days_of(found.slots.end), listed)
    axes.plot(x, y, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.set_ylim(0, max(1.0, 1.08 * listed.max()))
    axes.set_ylabel("cards")
    whole_numbers(axes.yaxis)
    line = Line2D([], [], color=INK, linewidth=1.2, linestyle=(0, (4, 2)), label="all listed cards")
    beside(axes, [line, *handles])
    return figure
