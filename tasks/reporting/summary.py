"""The Prefect artifact of a report: key figures and a few small pictures, as Markdown."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

from tasks.explaining import plain
from tasks.reporting.drawing import as_png
from tasks.reporting.frames import Frames
from tasks.reporting.headlines import headlines
from tasks.reporting.page import about
from tasks.reporting.picture import Missing, Picture

DPI = 55
"""550 pixels wide: a picture takes about 20 kB of Prefect's database."""
SHOWN = frozenset({"Size of the network", "Emission and its concentration", "Uptime by miner"})
"""Pictures that are in the artifact; all are in the page."""


def summary(frames: Frames, pictures: Iterable[Picture | Missing], path: Path) -> str:
    """Nothing foreign in it is read as Markdown or HTML."""
    lines = [f"# Network report, {frames.period}", "", *(f"{plain(text)}\n" for text in about(frames))]
    lines += [f"The whole page: `{path}`", "", "| | |", "|---|---|"]
    lines += [f"| {plain(line.name)} | {plain(line.shown)} |" for line in headlines(frames)]
    for picture in pictures:
        lines += ["", f"## {picture.title}", ""]
        if isinstance(picture, Missing):
            lines.append(plain(picture.why))
            continue
        lines.append(plain(picture.sentence))
        if picture.title in SHOWN:
            source = base64.b64encode(as_png(picture.draw(), DPI)).decode()
            lines += ["", f"![{picture.alt}](data:image/png;base64,{source})"]
    return "\n".join(lines)
