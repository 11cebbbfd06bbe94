"""`subnet miner coldkey`: the key that owns what a miner earns and pays for its places, made here or brought from elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from deployments.histories import json_option
from deployments.miner.wallet_options import secret_of, wallet_options, wallet_place
from tasks.errors import SettingError

FILE = click.Path(path_type=Path, dir_okay=False)
password_option = click.option(
    "--password-file", type=FILE, help="A file with the password to encrypt it with; typed if not given."
)
plain_option = click.option(
    "--no-password", is_flag=True, help="Do not encrypt it: for a key that holds next to nothing."
)


@click.group()
def command() -> None:
    """Make or import the coldkey of a wallet; no secret is ever shown, nor taken as an argument.

    Better it lies elsewhere: only registration needs it, and a wallet folder with `coldkeypub.txt` alone does for everything else.

    \b
    Examples:
      subnet miner coldkey new --wallet miner
      subnet miner coldkey import --wallet miner --secret-file /run/secrets/words
    """


@command.command()
@wallet_options
@password_option
@plain_option
@json_option
def new(*, password_file: Path | None, no_password: bool, as_json: bool, **wallet: Path | str | None) -> None:
    """Make a coldkey; one that is known here is kept. Its file is the only copy: back it up.

    \b
    Examples:
      subnet miner coldkey new --wallet miner
    """
    _ensure(wallet, _password(password_file, is_plain=no_password), None, as_json=as_json)


@command.command(name="import")
@wallet_options
@click.option(
    "--secret-file",
    type=FILE,
    help="A file with the words or the seed; typed without being shown if not given.",
)
@password_option
@plain_option
@json_option
def import_(
    *,
    secret_file: Path | None,
    password_file: Path | None,
    no_password: bool,
    as_json: bool,
    **wallet: Path | str | None,
) -> None:
    """Bring a coldkey from its twelve to twenty-four words or its 0x seed; another key that is there is never overwritten.

    \b
    Examples:
      subnet miner coldkey import --wallet miner
    """
    secret = secret_of(secret_file, "Words or seed (not shown)", "--secret-file")
    _ensure(wallet, _password(password_file, is_plain=no_password), secret, as_json=as_json)


def _password(file: Path | None, *, is_plain: bool) -> str:
    if is_plain:
        return ""
    if file is not None:
        return secret_of(file, "", "--password-file")
    if not sys.stdin.isatty():
        raise SettingError("--password-file", "not given", "a file with a password, or --no-password")
    return str(click.prompt("Password for it (not shown)", hide_input=True, confirmation_prompt=True))


def _ensure(
    wallet: dict[str, Path | str | None], password: str, secret: str | None, *, as_json: bool
) -> None:
    from tasks.edges.wallets import ensure_coldkey  # noqa: PLC0415  the SDK is half a second of import

    place = wallet_place(**wallet)  # type: ignore[arg-type]  # the three options, by their names
    made = ensure_coldkey(place.path, place.name, password, secret)
    if as_json:
        told = {"address": made.address, "file": str(made.file), "is_new": made.is_new}
        click.echo(json.dumps(told, indent=2))
        return
    what = "its file is the only copy, back it up" if made.is_new else "it was known here already"
    click.echo(f"coldkey {made.address} in {made.file}: {what}")
