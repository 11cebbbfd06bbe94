"""The page on the disk: the whole page or the old one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from storage.errors import StorageError
from storage.places import Place
from tasks.reporting.drawing import look
from tasks.reporting.frames import Frames
from tasks.reporting.headlines import Headline, headlines
from tasks.reporting.page import page_of
from tasks.reporting.period import Period
from tasks.reporting.pictures import pictures_of


@dataclass(frozen=True, slots=True)
class Report:
    """A report that is written."""

    period: Period
    path: Path
    size_bytes: int
    figures: tuple[Headline, ...]
    unread: int
    """Files of the archive that could not be read."""


def folder_of_reports(history: Place) -> Path:
    """Beside the history; of one that is on S3, in our own folder."""
    return history.parent / "reports" if isinstance(history, Path) else Path(".local/reports")


def write_page(frames: Frames, folder: Path) -> Report:
    """The page as `<folder>/<days>.html`. Raises StorageError when the disk does not take it."""
    with look():
        page = page_of(frames, pictures_of(frames))
    path = folder / f"{frames.period.name}.html"
    try:
        _write_whole(path, page)
    except OSError as error:
        raise StorageError(f"the report {path} cannot be written: {error.strerror or error}") from error
    return Report(frames.period, path, len(page), headlines(frames), len(frames.unread))


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with hidden.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)
