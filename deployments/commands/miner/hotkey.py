"""`subnet miner hotkey`: the miner's signing key, made here or brought from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import click

from deployments.histories import json_option
from deployments.miner.wallet_options import secret_of, wallet_options, wallet_place


@click.group()
def command() -> None:
    """Make or import the hotkey that a miner signs with; no secret is ever shown, nor taken as an argument.

    \b
    Examples:
      subnet miner hotkey new --wallet miner --hotkey rack1
      subnet miner hotkey import --wallet miner --hotkey rack1
      subnet miner hotkey import --secret-file /run/secrets/words
    """


@command.command()
@wallet_options
@json_option
def new(*, wallet_path: Path | None, wallet: str | None, hotkey: str | None, as_json: bool) -> None:
    """Make a hotkey; one that is there is kept. Its file is the only copy: back it up.

    \b
    Examples:
      subnet miner hotkey new --wallet miner --hotkey rack1
    """
    _ensure(wallet_path, wallet, hotkey, None, as_json=as_json)


@command.command(name="import")
@wallet_options
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with the words or the seed; if not given: standard input, or typed without being shown.",
)
@json_option
def import_(
    *,
    wallet_path: Path | None,
    wallet: str | None,
    hotkey: str | None,
    secret_file: Path | None,
    as_json: bool,
) -> None:
    """Bring a hotkey from its twelve to twenty-four words or its 0x seed; another key that is there is never overwritten.

    \b
    Examples:
      subnet miner hotkey import --wallet miner --hotkey rack1
      pass show rack1 | subnet miner hotkey import --wallet miner --hotkey rack1
    """
    secret = secret_of(secret_file, "Words or seed (not shown)", "--secret-file")
    _ensure(wallet_path, wallet, hotkey, secret, as_json=as_json)


def _ensure(
    wallet_path: Path | None, wallet: str | None, hotkey: str | None, secret: str | None, *, as_json: bool
) -> None:
    from tasks.edges.wallets import ensure_hotkey  # noqa: PLC0415  the SDK is half a second of import

    place = wallet_place(wallet_path, wallet, hotkey)
    made = ensure_hotkey(place.path, place.name, place.hotkey, secret)
    if as_json:
        told = {"address": made.address, "file": str(made.file), "is_new": made.is_new}
        click.echo(json.dumps(told, indent=2))
        return
    what = "its file is the only copy, back it up" if made.is_new else "it was there already"
    click.echo(f"hotkey {made.address} in {made.file}: {what}")
