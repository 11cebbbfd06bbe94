"""`subnet miner unit`: a systemd unit for the miner's agent."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from deployments.miner.config_option import config_option
from deployments.miner.systemd import Start, unit
from deployments.miner.wallet_options import wallet_options
from tasks.errors import SettingError
from tasks.offering.config import load_config
from tasks.offering.typed import endpoint_of


@click.command()
@config_option
@click.option("--user", default="subnet-miner", show_default=True, help="Whom the agent runs as.")
@click.option("--port", type=click.IntRange(1, 65_535), default=8091, show_default=True)
@click.option("--announce", help="ADDRESS:PORT, as for `subnet miner serve`.")
@click.option("--no-tls", is_flag=True, help="As for `subnet miner serve`.")
@wallet_options
def command(
    *,
    path: Path,
    user: str,
    port: int,
    announce: str | None,
    no_tls: bool,
    **wallet: Path | str | None,
) -> None:
    """Print a systemd unit that runs `subnet miner serve` with next to no rights beside it.

    Settings (SUBNET_*) are read from /etc/subnet/miner.env. The user must be able to read the file, the hotkey and the
    ssh_ca; without an ssh_ca, it must be able to write the executors' keys files.

    \b
    Examples:
      subnet miner unit --config /etc/subnet/miner.toml > /etc/systemd/system/subnet-miner.service
      subnet miner unit --config /etc/subnet/miner.toml --announce 203.0.113.7:8091 --user miner
    """
    if not user.replace("-", "").replace("_", "").isalnum() or not user.isascii():
        raise SettingError("--user", user, "a user's name")
    arguments = ["miner", "serve", "--config", str(path.absolute()), "--port", str(port)]
    if announce is not None:
        endpoint_of(announce)
        arguments += ["--announce", announce]
    if no_tls:
        arguments.append("--no-tls")
    if (folder := wallet["wallet_path"]) is not None:
        arguments += ["--wallet-path", str(Path(folder).absolute())]
    for name in ("wallet", "hotkey"):
        if (value := wallet[name]) is not None:
            arguments += [f"--{name}", str(value)]
    program = Path(sys.executable).with_name("subnet")
    click.echo(unit(load_config(path), Start(program, tuple(arguments), user)), nl=False)
