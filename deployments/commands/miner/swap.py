"""`subnet miner swap`: a signed statement that a machine's cards were swapped, for the agent to show."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import click

from deployments.miner.config_option import config_option
from deployments.sites import load_dotenv
from flows.settings import read_settings
from tasks.edges.signing import Signer, sign_statement
from tasks.errors import SettingError
from tasks.offering.config import MinerConfig, load_config
from tasks.offering.memory import keep_swap
from tasks.swaps import Swap, read_swap


@click.command()
@config_option
@click.option("--executor", required=True, help="The machine's id in that file.")
@click.option("--gone", multiple=True, required=True, help="A card that is out now. Repeatable.")
@click.option("--came", multiple=True, required=True, help="A card that is in now. Repeatable.")
@click.option("--stays", multiple=True, help="A card that the machine had and has. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    path: Path,
    executor: str,
    gone: tuple[str, ...],
    came: tuple[str, ...],
    stays: tuple[str, ...],
    as_json: bool,
) -> None:
    """Announce that cards of a machine were swapped: the running agent shows it to every validator that asks.

    Name every card of the machine, those that stay too, by the UUIDs of `nvidia-smi -L`. The statement is signed with the
    miner's hotkey (SUBNET_WALLET_PATH, _NAME, _HOTKEY), counts once with each validator, within 7 days, and starts the
    machine's uptime at zero; without it, other cards are refused as GPU_UUID_CHANGED. A leased machine's cards can't be
    swapped.

    \b
    Examples:
      subnet miner swap --config miner.toml --executor rack1-a --gone GPU-11aa... --came GPU-22bb... --stays GPU-33cc...
    """
    config = load_config(path)
    folder = check_machine(config, executor)
    signed = signed_swap(_signer(path), executor, (*gone, *stays), (*came, *stays), datetime.now(UTC))
    kept = keep_swap(folder, signed)
    if as_json:
        shown = {"executor": executor, "gone": signed.gone, "came": signed.came, "file": str(kept)}
        click.echo(json.dumps(shown | {"statement": signed.statement}, indent=2))
    else:
        click.echo(
            f"{executor}: the swap is signed and lies in {kept}; each validator counts it when it asks next"
        )


def check_machine(config: MinerConfig, executor: str) -> Path:
    """The folder of the agent that offers this machine."""
    known = [one.offer.executor_id for one in config.executors]
    if executor not in known:
        raise SettingError("--executor", executor, "one of " + ", ".join(known[:20]))
    if config.folder is None:
        raise SettingError("folder", "not set in the agent's file", 'a folder, e.g. "/var/lib/subnet-miner"')
    return config.folder


def signed_swap(
    signer: Signer, executor: str, gone: tuple[str, ...], came: tuple[str, ...], now: datetime
) -> Swap:
    """The statement, read back as a validator reads it."""
    before, after = tuple(sorted(set(gone))), tuple(sorted(set(came)))
    if before == after:
        raise SettingError("--gone and --came", ", ".join(before), "other cards than before")
    lines = Swap(signer.ss58_address, executor, now, before, after).lines
    swap = read_swap(sign_statement(signer, lines))
    if swap is None:
        raise SettingError("--gone and --came", ", ".join((*before, *after))[:200], "1 to 16 UUIDs each")
    return swap


def _signer(config: Path) -> Signer:
    """The miner's hotkey by the settings."""
    from deployments.miner.serving import miner_wallet  # noqa: PLC0415  the chain's SDK is slow to import

    load_dotenv()
    return cast("Signer", miner_wallet(read_settings(os.environ), config).hotkey)
