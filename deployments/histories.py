"""Which history a command works on: that of the settings, or another folder of Parquet that it is given."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from deployments.localnet.layout import Layout
from deployments.sites import folder_of, load_dotenv
from flows.settings import Settings, read_settings

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def own_settings() -> Settings:
    """The settings of the environment and `.env`; on the embedded chain, those of the local subnet."""
    load_dotenv()
    settings = read_settings(os.environ)
    return Layout(folder_of(os.environ)).settings(os.environ) if settings.is_embedded else settings


def own_history() -> Path:
    """The history that the settings name."""
    return own_settings().history


def history_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--history DIR`, given to the command as `history`."""
    about = "Another folder of Parquet than the one that the settings name."
    return click.option("--history", type=FOLDER, help=about)(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`, given to the command as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)
