"""What our own side may have cost: machines that were zeroed for one epoch between two in which they passed."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from tasks.reporting.drawing import REST, SERIES, canvas, percent
from tasks.reporting.false_zeros import FALSE_ZERO, FORGIVEN
from tasks.reporting.frames import Frames
from tasks.reporting.picture import Missing, Picture, table
from tasks.reporting.slots import Slots, slots
from tasks.reporting.stacks import beside, stack

TITLE = "False zeros"
MAX_CODES = 6
OTHERS = "other codes"


@dataclass(frozen=True, slots=True)
class FalseZeros:
    """Machine-epochs between two in which the machine passed, unchanged."""

    judged: int
    zeros: int
    forgiven: int
    codes: pd.DataFrame
    """A row a code and effect, the most frequent first, forgiven ones last: code, effect, machines."""
    slots: Slots
    rates: pd.DataFrame
    """A row a slot, a column a code: false zeros in 100 judged."""

    @property
    def rate(self) -> float:
        """False zeros of the judged."""
        return self.zeros / self.judged


def zeros(frames: Frames) -> FalseZeros | None:
    """None when no epoch could be judged."""
    judged, found = frames.zeros.judged, frames.zeros.found
    epochs = frames.epochs[frames.epochs["epoch"].isin(judged["epoch"])]
    if epochs.empty:
        return None
    blocks = slots(epochs)
    codes = found.groupby(["effect", "code"])["machines"].sum().reset_index()
    codes = codes.sort_values(
        ["effect", "machines", "code"], ascending=[True, False, True], ignore_index=True
    )
    false = codes[codes["effect"] == FALSE_ZERO]
    largest = false["code"].head(MAX_CODES)
    is_zero = found["effect"] == FALSE_ZERO
    series = found.loc[is_zero, "code"].where(found["code"].isin(largest), OTHERS)
    drawn = blocks.mean(found[is_zero].assign(series=series), "series", "machines")
    tried = blocks.mean(judged.assign(all="all"), "all", "judged")["all"]
    names = [name for name in (*largest, OTHERS) if name in drawn.columns]
    return FalseZeros(
        judged=int(judged["judged"].sum()),
        zeros=int(false["machines"].sum()),
        forgiven=int(codes.loc[codes["effect"] == FORGIVEN, "machines"].sum()),
        codes=codes,
        slots=blocks,
        rates=100 * drawn[names].div(tried, axis=0),
    )


def picture(frames: Frames) -> Picture | Missing:
    """Stacked areas, one a code."""
    found = zeros(frames)
    if found is None:
        return Missing(TITLE, "No machine passed in two epochs with one between, so none could be judged.")
    what = f"Of {found.judged:,} machine-epochs between two in which the machine passed unchanged, "
    kept = (
        f" Beside these, {found.forgiven:,} without a verdict kept the last score." if found.forgiven else ""
    )
    if not found.zeros:
        return Missing(TITLE, f"{what}none was not paid.{kept}")
    worst = found.codes.iloc[0]
    sentence = (
        f"{what}{found.zeros:,} were not paid ({percent(found.rate)}), most of them for {worst['code']} "
        f"({int(worst['machines']):,}).{kept} Most likely the machine was honest, and the validator or the way to it at fault; what was "
        "broken and mended within an epoch counts as well, so this is the most that it can be."
    )
    rows = [
        (str(code), str(effect), f"{int(machines):,}", percent(machines / found.judged))
        for effect, code, machines in found.codes[["effect", "code", "machines"]].itertuples(index=False)
    ]
    alt = "Stacked areas over time: per cent of the judged machines that were not paid between two epochs in which they passed, by code."
    columns = ("code", "effect", "machine-epochs", "of the judged")
    return Picture(TITLE, sentence, alt, lambda: draw(found), table(columns, rows))


def draw(found: FalseZeros) -> Figure:
    """One picture."""
    figure = canvas(3.2)
    axes = figure.add_subplot()
    colours = dict(zip(found.rates.columns, SERIES, strict=False)) | {OTHERS: REST}
    handles = stack(axes, found.slots, found.rates, colours)
    axes.set_ylim(0, max(1e-3, 1.15 * found.rates.sum(axis=1).max()))
    axes.set_ylabel("per cent of the judged")
    beside(axes, handles)
    return figure
