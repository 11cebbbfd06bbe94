"""Flows for the tests of the worker; what they do is seen in a file."""

import asyncio
import os
from pathlib import Path

from prefect import flow


def _add(file: Path, text: str) -> None:
    with file.open("a") as opened:
        opened.write(text)


@flow(name="write", persist_result=False)
async def write(path: str, text: str) -> None:
    """Add a line."""
    await asyncio.to_thread(_add, Path(path), f"{text} in {os.getpid()}\n")


@flow(name="tell", persist_result=False)
async def tell(path: str, variable: str) -> None:
    """Write what the environment has under this name."""
    await asyncio.to_thread(_add, Path(path), os.environ.get(variable, ""))


@flow(name="fail", persist_result=False)
async def fail() -> None:
    """Can't."""
    raise ValueError("no such machine")


@flow(name="wait", persist_result=False)
async def wait(path: str) -> None:
    """Never end, and undo what was begun when cancelled."""
    _add(Path(path), "begun")
    try:
        await asyncio.sleep(3_600)
    finally:
        Path(path).unlink()  # noqa: ASYNC240  a cancelled flow does it at once
        _add(Path(path), "undone")
