"""`subnet miner fund`: TAO for a miner's coldkey on the local subnet, where nobody can buy any."""

from __future__ import annotations

import json
from pathlib import Path

import click

from deployments.histories import json_option
from deployments.miner.wallet_options import wallet_options, wallet_place
from tasks.errors import UserError
from tasks.offering.typed import rao_of


@click.command()
@click.argument("tao")
@wallet_options
@json_option
def command(
    *, tao: str, wallet_path: Path | None, wallet: str | None, hotkey: str | None, as_json: bool
) -> None:
    """Send TAO to the wallet's coldkey from the funds of the local subnet's owner; on other networks there is no such thing.

    \b
    Examples:
      subnet miner fund 10 --wallet miner
    """
    from deployments.localnet.cast import CAST  # noqa: PLC0415  the SDK is half a second of import
    from deployments.localnet.roles import fund, wallet_of  # noqa: PLC0415  as above
    from deployments.sites import local_chain  # noqa: PLC0415  as above
    from tasks.edges.wallets import owner_address  # noqa: PLC0415  as above

    rao = rao_of("TAO", tao)
    place = wallet_place(wallet_path, wallet, hotkey)
    if not place.settings.is_embedded:
        raise UserError(f"SUBNET_NETWORK is {place.settings.network!r}: only the local subnet gives TAO away")
    receiver = owner_address(place.path, place.name)
    owner = wallet_of(place.settings.wallet_path, CAST, CAST.owner)
    extrinsic = fund(local_chain(), owner, receiver, rao)
    if as_json:
        click.echo(json.dumps({"coldkey": receiver, "rao": rao, "extrinsic": extrinsic}, indent=2))
    else:
        click.echo(f"{tao} TAO sent to {receiver} in extrinsic {extrinsic}")
