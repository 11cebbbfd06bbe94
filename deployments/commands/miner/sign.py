"""`subnet miner sign`: the signature by which a hotkey's owner opens the pages of a marketplace in a browser."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from deployments.histories import json_option
from deployments.miner.wallet_options import WalletPlace, wallet_options, wallet_place
from tasks.errors import SettingError
from tasks.signing_in import MOST, SignIn, read_sign_in

if TYPE_CHECKING:
    from tasks.edges.signing import Signer

AHEAD = timedelta(minutes=1)
"""By so much the market's clock may be before ours."""


@click.command()
@wallet_options
@json_option
@click.argument("text", required=False)
def command(
    *, wallet_path: Path | None, wallet: str | None, hotkey: str | None, as_json: bool, text: str | None
) -> None:
    """Sign the TEXT that a marketplace's page shows, to open your pages there in that browser; 128 hex digits, to paste there.

    Nothing but such a text is signed: it has to name this very hotkey, and to be of the last five minutes. Look at the address
    that is told: whoever gets the signature of a text for another browser than yours sees your pages. Without TEXT it is read
    from standard input. On the local subnet --wallet may also name one of its miners.

    \b
    Examples:
      subnet miner sign --wallet miner --hotkey rack1 "subnet sign-in/1 | https://market.example | hotkey 5F..."
      wl-paste | subnet miner sign --wallet miner --hotkey rack1
      subnet miner sign --wallet validator "subnet sign-in/1 | http://localhost:8051 | hotkey 5D..."
    """
    typed = sys.stdin.read(MOST + 2) if text is None else text
    asked = read_sign_in(typed.strip())
    if asked is None:
        raise SettingError(
            "TEXT", typed.strip()[:60], "the text of a page that asks for a hotkey's signature, whole"
        )
    signer = signer_of(wallet_place(wallet_path, wallet, hotkey))
    check(asked, signer.ss58_address, datetime.now(UTC))
    signature = bytes(signer.sign(asked.text.encode("ascii"))).hex()
    if as_json:
        told = {"origin": asked.origin, "hotkey": asked.hotkey, "signature": f"0x{signature}"}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"Opens the pages of {asked.hotkey} at {asked.origin}: paste it there alone.", err=True)
    click.echo(f"0x{signature}")


def check(asked: SignIn, hotkey: str, now: datetime) -> None:
    """SettingError when it is for another hotkey, over, or of a time to come."""
    if asked.hotkey != hotkey:
        raise SettingError("TEXT", f"for the hotkey {asked.hotkey}", f"a text for this wallet's, {hotkey}")
    if now >= asked.ends_at:
        raise SettingError(
            "TEXT", f"good until {asked.ends_at:%H:%M:%S} UTC", "a newer one: load the page again"
        )
    if asked.issued_at > now + AHEAD:
        raise SettingError(
            "TEXT",
            f"good from {asked.issued_at:%Y-%m-%d %H:%M:%S} UTC on",
            "one that is good now: look at this machine's clock, and whose page that is",
        )


def signer_of(place: WalletPlace) -> Signer:
    """The hotkey; of a local subnet's miner, whose key is on no disk, the one of its name."""
    from tasks.edges.wallets import hotkey_file  # noqa: PLC0415  the SDK is half a second of import

    if place.settings.is_embedded and not hotkey_file(place.path, place.name, place.hotkey).exists():
        from deployments.localnet.chain.actors import dev_wallet  # noqa: PLC0415  only a local site pays for it

        return cast("Signer", dev_wallet(place.name).hotkey)
    from flows.edges import load_wallet  # noqa: PLC0415  the same

    return cast("Signer", load_wallet(place.chosen).hotkey)
