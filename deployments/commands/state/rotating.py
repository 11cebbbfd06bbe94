"""`subnet state rotate-key`: renters' secrets under a new key."""

from __future__ import annotations

import click

from deployments.histories import own_settings
from deployments.operating import own_database
from storage.resealing import reseal


@click.command()
def command() -> None:
    """Seal everything that is secret in the database under a new key, which takes the old one's place.

    Marketplace and renting worker have to be stopped: they hold the old key. Killed at any moment, it is typed again. Copies of
    the state from before need the old key: keep it with them (`subnet state save` does).

    \b
    Example:
      subnet state rotate-key
    """
    with own_database() as engine:
        count = reseal(engine, own_settings().secrets_key)
    click.echo(f"{count} things are sealed under a new key; start marketplace and renting worker again.")
