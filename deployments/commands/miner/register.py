"""`subnet miner register`: a place on the subnet for the miner's hotkey, at a price that its owner has seen and agreed to."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployments.histories import json_option
from deployments.miner.wallet_options import WalletPlace, secret_of, wallet_options, wallet_place
from deployments.sites import local_substrate
from tasks.errors import SettingError
from tasks.offering.typed import rao_of

if TYPE_CHECKING:
    from tasks.edges.chain import Chain
    from tasks.edges.registering import Place, Terms


@click.command()
@click.option("--max-tao", help="The most that a place may cost; asked for if not given.")
@click.option("--yes", is_flag=True, help="Ask nothing; --max-tao must be given.")
@wallet_options
@click.option(
    "--coldkey-password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with the coldkey's password; if not given: standard input, or typed without being shown.",
)
@json_option
def command(
    *,
    max_tao: str | None,
    yes: bool,
    wallet_path: Path | None,
    wallet: str | None,
    hotkey: str | None,
    coldkey_password_file: Path | None,
    as_json: bool,
) -> None:
    """Register the miner's hotkey on the subnet: price and balance are shown, and nothing is paid without a yes.

    The chain itself holds the ceiling: if the price rises above it on the way, nothing is bought. A hotkey that has its
    place already is left alone, so that the command may be repeated. With --json and without --yes it only tells.

    \b
    Examples:
      subnet miner register
      subnet miner register --wallet miner --hotkey rack1 --max-tao 0.8
      subnet miner register --max-tao 0.8 --yes --coldkey-password-file /run/secrets/coldkey --json
    """
    from tasks.edges.wallets import hotkey_address, owner_address  # noqa: PLC0415  the SDK is half a second of import

    place = wallet_place(wallet_path, wallet, hotkey)
    ceiling = None if max_tao is None else rao_of("--max-tao", max_tao)
    if yes and ceiling is None:
        raise SettingError(
            "--max-tao", "not given", "the most that a place may cost, since --yes asks nothing"
        )
    address = hotkey_address(place.path, place.name, place.hotkey)
    chain = _chain(place)
    try:
        terms = chain.registration(address, owner_address(place.path, place.name))
        if terms.uid is None and not (as_json and not yes):
            _tell_terms(terms, place, is_quiet=as_json)
            ceiling = _agreed(terms, ceiling, is_agreed=yes)
            taken = chain.register(_coldkey(place, coldkey_password_file), address, limit_rao=ceiling)
            _tell(terms, taken, as_json=as_json)
        else:
            _tell(terms, None, as_json=as_json)
    finally:
        chain.close()


def _chain(place: WalletPlace) -> Chain:
    from tasks.edges.chain import Chain, ChainSettings  # noqa: PLC0415  the SDK is half a second of import

    settings = place.settings
    return Chain(
        ChainSettings(settings.network, settings.netuid, settings.chain_deadline_s, cache=settings.cache),
        substrate_factory=local_substrate(settings),
    )


def _coldkey(place: WalletPlace, file: Path | None) -> Any:
    from tasks.edges.wallets import is_coldkey_encrypted, load_coldkey  # noqa: PLC0415  as above

    if not is_coldkey_encrypted(place.path, place.name):
        return load_coldkey(place.path, place.name)
    password = secret_of(
        file, f"Password of the coldkey of {place.name} (not shown)", "--coldkey-password-file"
    )
    return load_coldkey(place.path, place.name, password)


def _agreed(terms: Terms, ceiling: int | None, *, is_agreed: bool) -> int:
    """The ceiling in rao, once its owner has said yes; what can't go through is refused before anybody is asked."""
    from tasks.edges.registering import check_terms, tao  # noqa: PLC0415  as above

    check_terms(terms, terms.price_rao if ceiling is None else ceiling)
    if ceiling is None:
        ceiling = rao_of(
            "--max-tao", click.prompt("The most that it may cost (TAO)", default=tao(terms.price_rao))
        )
        check_terms(terms, ceiling)
    if not is_agreed:
        click.confirm(f"Register {terms.hotkey} for at most {tao(ceiling)} TAO?", abort=True)
    return ceiling


def _tell_terms(terms: Terms, place: WalletPlace, *, is_quiet: bool) -> None:
    from tasks.edges.registering import tao  # noqa: PLC0415  as above

    if is_quiet:
        return
    locked = f", {tao(terms.locked_rao)} of it locked as collateral" if terms.locked_rao else ""
    click.echo(f"subnet {place.settings.netuid} of {place.settings.network}, block {terms.block}")
    click.echo(f"hotkey  {terms.hotkey}: not registered")
    click.echo(f"coldkey {terms.coldkey}: {tao(terms.free_rao)} TAO free")
    click.echo(f"a place costs {tao(terms.price_rao)} TAO now{locked}")


def _tell(terms: Terms, taken: Place | None, *, as_json: bool) -> None:
    from tasks.edges.registering import tao  # noqa: PLC0415  as above

    if as_json:
        told = {"terms": asdict(terms), "place": None if taken is None else asdict(taken)}
        click.echo(json.dumps(told, indent=2))
    elif taken is None or not taken.is_new:
        uid = terms.uid if taken is None else taken.uid
        click.echo(f"{terms.hotkey} is registered already: uid {uid}; nothing was paid")
    else:
        spent = f"{tao(taken.spent_rao)} TAO paid, fees among them"
        click.echo(f"{terms.hotkey} is registered: uid {taken.uid}, extrinsic {taken.extrinsic_id}; {spent}")
