"""Who gets the emission, and how concentrated it is: the chain's incentive beside the weights that we meant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.reporting.concentration import gini, lorenz, top_share
from tasks.reporting.drawing import GOOD, REST, UNSURE, canvas, hotkey, label, number, percent
from tasks.reporting.frames import Frames
from tasks.reporting.picture import Missing, Picture, table

TITLE = "Emission and its concentration"
KINDS = ("incentive", "weight")
NAMES = {"incentive": "incentive on the chain", "weight": "our weights"}
COLOURS = {"incentive": GOOD, "weight": UNSURE}
SHOWN = 12
TOPS = (1, 3, 10)


@dataclass(frozen=True, slots=True)
class Emission:
    """Shares of the miners, means of the period; what the owner gets is burned and stands apart."""

    miners: pd.DataFrame
    """hotkey, uid, incentive, weight, the largest first; shares of all, so without the burned they sum to less than 1."""
    burned: dict[str, float]
    kinds: tuple[str, ...]
    """Those that the archive has."""

    def gini(self, kind: str) -> float:
        """Among the miners."""
        return gini(self.miners[kind])

    def top(self, kind: str, count: int) -> float:
        """What the largest have of what the miners get."""
        return top_share(self.miners[kind], count)


def emission(frames: Frames) -> Emission | None:
    """The miners are all that were scored or get anything; None when nobody gets anything."""
    shares = frames.shares.fillna(dict.fromkeys(KINDS, 0.0))
    kinds = tuple(kind for kind in KINDS if shares[kind].sum() > 0)
    if not kinds:
        return None
    is_owner = shares["hotkey"].isin(frames.epochs["owner_hotkey"].dropna().unique())
    scored = frames.miners.groupby("miner_hotkey")["miner_uid"].last()
    is_miner = (shares[list(KINDS)].sum(axis=1) > 0) | shares["hotkey"].isin(scored.index)
    missing = scored[~scored.index.isin(shares["hotkey"])]
    unpaid = pd.DataFrame(
        {"hotkey": missing.index, "uid": missing.to_numpy(), "incentive": 0.0, "weight": 0.0}
    )
    paid = shares.loc[is_miner & ~is_owner, ["hotkey", "uid", *KINDS]]
    miners = pd.concat([paid, unpaid], ignore_index=True) if len(unpaid) else paid
    ordered = miners.sort_values([kinds[0], "hotkey"], ascending=[False, True], ignore_index=True)
    return Emission(ordered, {kind: float(shares.loc[is_owner, kind].sum()) for kind in KINDS}, kinds)


def picture(frames: Frames) -> Picture | Missing:
    """Lorenz curves, and the largest miners."""
    found = emission(frames)
    if found is None or found.miners.empty:
        return Missing(TITLE, "These days' archive has neither incentive nor weights of a miner.")
    kind, count = found.kinds[0], len(found.miners)
    sentence = (
        f"Of what {_miners(count)} get, the largest has {percent(found.top(kind, 1))} and the largest three have "
        f"{percent(found.top(kind, 3))} ({NAMES[kind]}); the Gini coefficient is {number(found.gini(kind))}, where 0 means all "
        f"alike and {number((count - 1) / count)} that one has everything. {percent(found.burned[kind])} is burned."
    )
    if "incentive" not in found.kinds:
        sentence += (
            " The chain paid no incentive in the snapshots of these epochs, so these are our weights alone."
        )
    columns = ("miner", "hotkey", *(NAMES[kind] for kind in found.kinds))
    kinds = found.kinds
    rows = [
        (f"Gini of {_miners(count)}", "", *(number(found.gini(kind)) for kind in kinds)),
        *((f"largest {top}", "", *(percent(found.top(kind, top)) for kind in kinds)) for top in TOPS),
        ("burned", "", *(percent(found.burned[kind]) for kind in kinds)),
    ]
    rows += [
        (f"uid {row['uid']}", str(row["hotkey"]), *(percent(row[kind]) for kind in found.kinds))
        for _, row in found.miners.iterrows()
    ]
    alt = "Left: Lorenz curves of the miners' shares. Right: bars of the largest miners' shares of the emission."
    return Picture(TITLE, sentence, alt, lambda: draw(found), table(columns, rows))


def _miners(count: int) -> str:
    return "1 miner" if count == 1 else f"{count} miners"


def draw(found: Emission) -> Figure:
    """Two panels."""
    shown = found.miners.head(SHOWN)
    figure = canvas(max(3.9, 1.4 + 0.3 * (len(shown) + 2)))
    left, right = figure.subplots(1, 2, width_ratios=[1.0, 1.15])
    _curves(left, found)
    _bars(right, found, shown)
    return figure


def _curves(axes: Axes, found: Emission) -> None:
    axes.plot([0, 100], [0, 100], color=REST, linewidth=1.0, linestyle=(0, (4, 2)), label="all alike")
    for kind, style in zip(found.kinds, ("-", (0, (1, 1))), strict=False):
        x, y = lorenz(found.miners[kind])
        name = f"{NAMES[kind]}, Gini {number(found.gini(kind))}"
        axes.plot(100 * x, 100 * y, color=COLOURS[kind], linewidth=2.0, linestyle=style, label=name)
    axes.set_title("Lorenz curve")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("poorest miners, % of all miners")
    axes.set_ylabel("have % of the miners' share")
    axes.legend(loc="upper left")


def _bars(axes: Axes, found: Emission, shown: pd.DataFrame) -> None:
    rest = found.miners.iloc[len(shown) :]
    names = [f"uid {row['uid']}  {label(hotkey(row['hotkey']), 14)}" for _, row in shown.iterrows()]
    if len(rest):
        names.append(f"{len(rest)} others together")
    names.append("burned")
    y = np.arange(len(names))
    height = 0.76 / len(found.kinds)
    for number_, kind in enumerate(found.kinds):
        values = [*shown[kind], *([rest[kind].sum()] if len(rest) else []), found.burned[kind]]
        offset = (number_ - (len(found.kinds) - 1) / 2) * height
        axes.barh(y + offset, 100 * np.asarray(values), height, color=COLOURS[kind], label=NAMES[kind])
    axes.set_yticks(y, names, fontsize=9)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(y=0.02)
    axes.set_xlabel("share of the emission, %")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, borderaxespad=0.2)
