"""The option by which commands find the agent's file."""

from __future__ import annotations

from pathlib import Path

import click

config_option = click.option(
    "--config",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The agent's TOML file; its `folder` must be set.",
)
"""Required; the command takes it as `path`."""
