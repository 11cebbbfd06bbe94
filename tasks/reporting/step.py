"""The report as steps: read the archive, draw the page and write it, show it in the Prefect UI."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prefect.artifacts import acreate_markdown_artifact

from storage.places import Place
from tasks.reporting.drawing import look
from tasks.reporting.frames import Frames
from tasks.reporting.period import Period
from tasks.reporting.pictures import pictures_of
from tasks.reporting.reading import read_frames
from tasks.reporting.summary import summary
from tasks.reporting.writing import Report, write_page
from tasks.stepping import is_in_flow_run, step


@step("read history", deadline_s=600.0)
async def read(history: Place, period: Period) -> Frames:
    """The archive's rows of these days, added up."""
    return await asyncio.to_thread(read_frames, history, period)


@step("draw and write", deadline_s=300.0)
async def write(frames: Frames, folder: Path) -> Report:
    """The page, in a thread of its own."""
    return await asyncio.to_thread(write_page, frames, folder)


@step("show", deadline_s=120.0)
async def show(frames: Frames, report: Report) -> None:
    """Key figures and some pictures as an artifact; nothing outside of a flow run."""
    if is_in_flow_run():
        text = await asyncio.to_thread(summarise, frames, report)
        title = f"The network, {report.period}"
        await acreate_markdown_artifact(text, key="network-report", description=title)


def summarise(frames: Frames, report: Report) -> str:
    """The artifact's text."""
    with look():
        return summary(frames, pictures_of(frames), report.path)
