"""`subnet state save`: a copy of the state, of one moment, while everything works."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from deployments.histories import own_settings
from storage.dumps import dump

KEY = "secrets.key"


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--no-key",
    is_flag=True,
    help="Leave the key of renters' secrets out: the copy alone opens none of them then.",
)
def command(*, folder: Path, no_key: bool) -> None:
    """Copy the state into FOLDER, with the key of renters' secrets beside it; nothing has to be stopped.

    The history is files that never change: copy them as they are (`rsync -a`). Wallets are not in it.

    \b
    Examples:
      subnet state save /var/backups/subnet/2026-11-27
      subnet state save /mnt/elsewhere/2026-11-27 --no-key
    """
    settings = own_settings()
    file = dump(settings.database_url, folder)
    said = ""
    if not no_key and settings.secrets_key.is_file():
        shutil.copyfile(settings.secrets_key, folder / KEY)
        (folder / KEY).chmod(0o600)
        said = f", and the key of its secrets as {folder / KEY}"
    click.echo(f"The state is copied: {file} ({file.stat().st_size:,} bytes){said}.")
