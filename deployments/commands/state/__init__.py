"""`subnet state`: copies of the validator's state, and the key of the secrets in it. A module here for each of its commands."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import click

from deployments.lazy import lazy_group

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "save": "Copy the state while everything works.",
        "restore": "Make the state of a copy.",
        "rotate-key": "Seal renters' secrets under a new key.",
    }
)
"""Name and one line of help."""
PLACES: Mapping[str, str] = MappingProxyType({"rotate-key": "rotating:command"})


@click.group(cls=lazy_group(__name__, COMMANDS, PLACES))
def command() -> None:
    """Copy the validator's state, put a copy back, change the key of its secrets; deployments/README.md is the runbook.

    \b
    Examples:
      subnet state save /var/backups/subnet/2026-11-27
      subnet state restore /var/backups/subnet/2026-11-27
    """
