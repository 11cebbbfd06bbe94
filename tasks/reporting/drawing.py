"""How all pictures look: a canvas without global state, colours that colour-blind readers tell apart, time in UTC.

Foreign text is drawn as it is (no formulas are read in it), cut, and with what the font lacks replaced. The same
figure gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.dates as mdates
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

WIDTH_IN = 10.0
SERIES = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#6A3D9A")
"""Okabe and Ito's, and one violet; in this order neighbours differ in lightness as well."""
REST = "#999999"
INK = "#222222"
GOOD, UNSURE, BAD = "#0072B2", "#E69F00", "#D55E00"
_LOOK: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "svg.fonttype": "path",
    "svg.hashsalt": "subnet",
    "path.simplify": True,
}


@contextmanager
def look() -> Iterator[None]:
    """Everything drawn and written in the block looks like ours."""
    with mpl.rc_context(_LOOK):
        yield


def canvas(height_in: float) -> Figure:
    """An empty figure that keeps its labels and legends inside."""
    return Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def as_svg(figure: Figure) -> bytes:
    """For the page."""
    sink = io.BytesIO()
    figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    return sink.getvalue()


def as_png(figure: Figure, dpi: int = 100) -> bytes:
    """For viewers that show no SVG."""
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=dpi, metadata={"Software": None})
    return sink.getvalue()


def label(text: str, length: int = 26) -> str:
    """Foreign text for a picture: printable ASCII, its middle left out when it is too long."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    if len(plain) <= length:
        return plain
    head = (length - 2) * 2 // 3
    return f"{plain[:head]}..{plain[len(plain) - (length - 2 - head) :]}"


def hotkey(text: str) -> str:
    """A hotkey as everywhere else in our output: 5FxvFN..Haan."""
    return text if len(text) <= 12 else f"{text[:6]}..{text[-4:]}"


def number(value: float) -> str:
    """Three digits, thousands apart: 0.0123, 4.56, 1,234."""
    if not np.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def percent(share: float) -> str:
    """A share of 1 as text; neither 0 nor 100 unless it is exactly that."""
    if not np.isfinite(share):
        return "-"
    shown = f"{100 * share:.1f}"
    if shown == "100.0" and share < 1:
        return "99.9+ %"
    if shown == "0.0" and share > 0:
        return "< 0.1 %"
    return f"{share:.0%}".replace("%", " %") if share in (0, 1) else f"{shown} %"


def log_axis(axis: Axis) -> None:
    """Powers of ten written out; few decades get ticks between."""
    axis.set_major_locator(LogLocator(base=10, subs=(1.0,), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())
    low, high = sorted(axis.get_view_interval())
    if high / max(low, 1e-300) < 300:
        axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=12))


def whole_numbers(axis: Axis) -> None:
    """For counts."""
    axis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def time_axis(axes: Axes, begin: pd.Timestamp, end: pd.Timestamp) -> None:
    """The x axis from begin to end, in UTC."""
    if end - begin > pd.Timedelta(hours=2):
        begin, end = begin.floor("min"), end.ceil("min")  # a tick at the full hour is not lost to seconds
    axes.set_xlim(*days_of(pd.Series([begin, end])))
    locator = mdates.AutoDateLocator(tz="UTC", minticks=3, maxticks=9)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    span = end - begin
    is_short = span <= pd.Timedelta(days=2)
    pattern = "%H:%M" if is_short else "%m-%d\n%H:%M" if span <= pd.Timedelta(days=7) else "%Y-%m-%d"
    axes.xaxis.set_major_formatter(mdates.DateFormatter(pattern, tz="UTC"))  # type: ignore[no-untyped-call]
    axes.set_xlabel(f"time, UTC ({begin:%Y-%m-%d})" if is_short else "time, UTC")


def days_of(times: pd.Series[pd.Timestamp]) -> npt.NDArray[np.float64]:
    """Times (UTC) as matplotlib counts them."""
    naive = times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    return np.asarray(mdates.date2num(naive))  # type: ignore[no-untyped-call]
