"""Which history a command works on: that of the settings, or another folder of Parquet that it is given."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from deployments.localnet.layout import Layout
from deployments.sites import folder_of, load_dotenv
from flows.settings import Settings, read_settings
from storage.errors import StorageError
from storage.history import archived_epochs
from storage.places import Place
from storage.s3 import SCHEME, s3_path
from tasks.errors import SettingError, UserError


class Folder(click.Path):
    """A folder of this machine, or one on S3."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A Path, or an S3Path when it begins so; then the state of the settings keeps writers apart."""
        if not str(value).startswith(SCHEME):
            return super().convert(value, param, ctx)
        load_dotenv()
        try:
            return s3_path(str(value), os.environ, own_settings().database_url)
        except StorageError as error:
            self.fail(f"expected {error}", param, ctx)


FOLDER = Folder(exists=True, file_okay=False, path_type=Path)


def own_settings() -> Settings:
    """The settings of the environment and `.env`; on the embedded chain, those of the local subnet."""
    load_dotenv()
    settings = read_settings(os.environ)
    return Layout(folder_of(os.environ)).settings(os.environ) if settings.is_embedded else settings


def own_history() -> Place:
    """The history that the settings name."""
    return own_settings().history


def history_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--history DIR`, or an s3:// address, given to the command as `history`."""
    about = "Another folder of Parquet, or s3://bucket/folder, than the one that the settings name."
    return click.option("--history", type=FOLDER, help=about)(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`, given to the command as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)


def epochs_of(
    root: Place, epoch: int | None, first: int | None, last: int | None, *, all_: bool
) -> Sequence[int]:
    """The archived epochs that were asked for, ascending."""
    is_range = first is not None or last is not None
    if (epoch is not None) + is_range + all_ > 1:
        raise UserError("--epoch, --from with --to, and --all exclude each other")
    known = archived_epochs(root)
    if epoch is not None:
        found = [number for number in known if number == epoch]
    elif is_range or all_:
        found = [n for n in known if (first or 0) <= n and (last is None or n <= last)]
    else:
        found = known[-1:]
    if not found:
        asked = str(epoch) if epoch is not None else f"{first or 0}..{last}" if is_range else "newest"
        has = f"epochs {known[0]} to {known[-1]}" if known else "none; `subnet epoch` runs one"
        raise SettingError("--epoch", asked, f"an archived epoch: {root} has {has}")
    return found


def span_of(text: str | None) -> tuple[int | None, int | None]:
    """First and last of a range `A-B`; None and None when none is given."""
    if text is None:
        return None, None
    found = re.fullmatch(r"([0-9]{1,18})-([0-9]{1,18})", text)
    if found is None or int(found[1]) > int(found[2]):
        raise SettingError("--epochs", text, "A-B, the first and the last epoch of a range")
    return int(found[1]), int(found[2])
