"""`subnet miner serve`: the miner's agent, until it is stopped."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from deployments.miner.config_option import config_option
from deployments.miner.wallet_options import wallet_options
from tasks.offering.typed import endpoint_of
from tasks.onboarding.agent import EVERYWHERE


@click.command()
@config_option
@click.option(
    "--host",
    default=EVERYWHERE,
    show_default=True,
    help="The address to listen at; ::, every one, of IPv4 too.",
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8091, show_default=True, help="0: a free one."
)
@click.option(
    "--announce",
    help="ADDRESS:PORT that the chain is to tell validators; without it the chain is left alone.",
)
@click.option("--no-tls", is_flag=True, help="Speak plain HTTP only, and take back keys that are committed.")
@click.option(
    "--replace", is_flag=True, help="Commit the keys though the hotkey has committed something else."
)
@wallet_options
def command(
    *,
    path: Path,
    host: str,
    port: int,
    announce: str | None,
    no_tls: bool,
    replace: bool,
    **wallet: Path | str | None,
) -> None:
    """Let validators in on the machines of the file, until SIGTERM or Ctrl-C.

    Network, subnet and the miner's hotkey are those of the settings (SUBNET_NETWORK, _NETUID, _WALLET_PATH, _NAME,
    _HOTKEY; .env.example), unless options name another wallet. Who may enter is read from the chain each minute; when it has not answered for half an hour,
    nobody may. Its port speaks TLS, by a key of its own that the hotkey commits on the chain, and plain HTTP. `subnet miner unit` prints a systemd unit for this command, `subnet miner visits` shows who came.

    \b
    Examples:
      subnet miner serve --config /etc/subnet/miner.toml --announce 203.0.113.7:8091
      subnet miner serve --config miner.toml --host 127.0.0.1 --port 8091
    """
    from deployments.miner.serving import Place, miner_wallet, named_wallet, run_agent  # noqa: PLC0415  the chain's SDK is slow to import
    from deployments.sites import load_dotenv, site_settings  # noqa: PLC0415  as above

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    load_dotenv()
    announced = None if announce is None else endpoint_of(announce)
    settings = site_settings()
    named = named_wallet(settings, **wallet)  # type: ignore[arg-type]  # the three options, by their names
    place = Place(host, port, announced, is_pinned=not no_tls, may_replace=replace)
    run_agent(path, settings, place, named or miner_wallet(settings, path))
