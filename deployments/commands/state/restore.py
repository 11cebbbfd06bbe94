"""`subnet state restore`: the state of a copy, where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from deployments.commands.state.save import KEY
from deployments.histories import FOLDER, own_settings
from storage.database import migrate, open_database
from storage.dumps import put_back
from storage.sealing import key_of
from tasks.errors import UserError


@click.command()
@click.argument("folder", type=FOLDER)
def command(*, folder: Path) -> None:
    """Make the state of the copy in FOLDER, and bring its schema up to date; everything has to be stopped.

    Nothing is written over: put the old state aside first. Where the copy has the key of renters' secrets it is put back, too,
    unless one is there; another one is a mistake, since none of the copy's secrets opens with it.

    \b
    Example:
      subnet state restore /var/backups/subnet/2026-11-27
    """
    settings, key = own_settings(), folder / KEY
    ours = settings.secrets_key
    if key.is_file() and ours.is_file() and key_of(ours) != key_of(key):
        raise UserError(f"{ours} is another key than that of the copy: put it aside first")
    put_back(folder, settings.database_url)
    if key.is_file() and not ours.is_file():
        ours.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(key, ours)
        ours.chmod(0o600)
    engine = open_database(settings.database_url)
    try:
        migrate(engine)
    finally:
        engine.dispose()
    click.echo("The state is that of the copy; start everything again.")
