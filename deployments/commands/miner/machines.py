"""`subnet miner machines`: the machines in the agent's file, and what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from deployments.histories import json_option
from deployments.miner.overview import Machine, machines
from deployments.numbers import FiniteRange
from deployments.operating import show_json, show_table
from deployments.renting.quantities import duration, seconds_of
from deployments.view import cell, make_console
from tasks.edges.wire import Results
from tasks.errors import SettingError
from tasks.offering import fleet
from tasks.offering.config import MinerConfig, load_config
from tasks.offering.memory import told_results

LEAST_NOTICE_S = 1_800
"""Validators ask once an epoch of about 10 minutes: by then each has heard of the pause before it begins."""


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--config FILE`, given to the command as `path`."""
    return click.option(
        "--config",
        "path",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        required=True,
        help="The agent's TOML file.",
    )(command)


@click.group()
def command() -> None:
    """List your machines, add and remove some, set their price and terms, pause new rentals and resume them.

    The agent's file is changed in the machine's own table and nowhere else, comments and layout stay; the running agent
    takes it within seconds, validators at their next epoch. A change that is made already is made once.

    \b
    Examples:
      subnet miner machines ls --config /etc/subnet/miner.toml
      subnet miner machines price rack1-a 2.4 --config /etc/subnet/miner.toml
      subnet miner machines pause rack1-a --notice 6h --config /etc/subnet/miner.toml
    """


@command.command()
@config_option
@click.option("--alpha-per-day", type=FiniteRange(0), help="For all miners of the subnet; 2952 if not given.")
@json_option
def ls(*, path: Path, alpha_per_day: float | None, as_json: bool) -> None:
    """List the machines: their terms, who pays them, what that comes to a day, and every reason with its mend.

    Earnings are by the weights and scores that validators last told the agent (its `folder` must be set for that), times
    the alpha that all miners of the subnet get a day; rent is not in it.

    \b
    Examples:
      subnet miner machines ls --config /etc/subnet/miner.toml
      subnet miner machines ls --config miner.toml --json
    """
    from tasks.estimating import ALPHA_PER_DAY  # noqa: PLC0415  only the list pays for what scoring imports

    config = load_config(path)
    told = {} if config.folder is None else told_results(config.folder)
    emission = ALPHA_PER_DAY if alpha_per_day is None else alpha_per_day
    listed, now = machines(config, told, emission), datetime.now(UTC)
    if as_json:
        show_json({"alpha_per_day_for_miners": emission, "machines": [_document(one, now) for one in listed]})
        return
    headings = (
        "machine",
        "address",
        "USD/h",
        "min cards",
        "new rentals",
        "paid by",
        "alpha a day",
        "verdict",
    )
    show_table("", headings, (_row(one, now) for one in listed), "no machine")
    _show_reasons(listed)
    click.echo(_where_from(config, emission, told))


@command.command()
@config_option
@click.option("--id", "executor", required=True, help="Your own name for it: a-z, 0-9 and -.")
@click.option("--address", required=True, help="Literal IPv4 or IPv6, as validators reach it.")
@click.option(
    "--port", type=click.IntRange(1, 65_535), default=22, show_default=True, help="Of its SSH server."
)
@click.option("--user", default="subnet", show_default=True, help="That validators log in as.")
@click.option(
    "--python", default="/usr/bin/python3", show_default=True, help="The prover's interpreter there."
)
@click.option("--host-key", required=True, help="The text of /etc/ssh/ssh_host_ed25519_key.pub there.")
@click.option("--authorized-keys", help="The file that lets validators in there, as this host writes it.")
@click.option("--rent-user", help="That leases log in as there, on a machine that confines validators.")
@click.option(
    "--price", type=FiniteRange(0, 1_000), required=True, help="USD an hour, all its cards together."
)
@click.option("--min-cards", type=click.IntRange(1, 16), help="No lease of fewer, unless the whole machine.")
@json_option
def add(*, path: Path, executor: str, price: float, as_json: bool, **more: str | int | None) -> None:
    """Add a machine at the end of the file. One that stands there with the same values already is left as it is.

    \b
    Examples:
      subnet miner machines add --config miner.toml --id rack2-a --address 203.0.113.8 --price 1.5
        --host-key "$(ssh-keyscan -t ed25519 203.0.113.8 | cut -d' ' -f2-)"
        --authorized-keys /srv/rack2-a/authorized_keys
    """
    order = ("address", "port", "user", "python", "host_key", "authorized_keys", "rent_user")
    entry: dict[str, str | int | float] = {"id": executor}
    entry |= {key: value for key in order if (value := more[key]) is not None}
    entry["price_usd_per_hour"] = float(price)
    if (fewest := more["min_cards"]) is not None:
        entry["min_cards"] = fewest
    _tell(path, fleet.add(entry), executor, "is added", "is there already", as_json=as_json)


@command.command()
@click.argument("executor")
@config_option
@json_option
def rm(*, path: Path, executor: str, as_json: bool) -> None:
    """Take a machine out of the file. Its leases end when validators don't find it any more: pause it first.

    \b
    Examples:
      subnet miner machines rm rack1-a --config miner.toml
    """
    _tell(path, fleet.remove(executor), executor, "is removed", "is not in the file", as_json=as_json)


@command.command()
@click.argument("executor")
@click.argument("usd_per_hour", type=FiniteRange(0, 1_000))
@config_option
@json_option
def price(*, path: Path, executor: str, usd_per_hour: float, as_json: bool) -> None:
    """Set what a machine asks, in USD an hour, all its cards together. Leases that run keep their price.

    \b
    Examples:
      subnet miner machines price rack1-a 2.4 --config miner.toml
    """
    edit = fleet.put(executor, "price_usd_per_hour", float(usd_per_hour))
    _tell(path, edit, executor, f"asks {usd_per_hour:g} USD an hour", "asks that already", as_json=as_json)


@command.command("min-cards")
@click.argument("executor")
@click.argument("cards", type=click.IntRange(1, 16))
@config_option
@json_option
def min_cards(*, path: Path, executor: str, cards: int, as_json: bool) -> None:
    """Set the fewest cards that a new lease of a machine may have; the whole machine may always be leased.

    \b
    Examples:
      subnet miner machines min-cards rack1-a 4 --config miner.toml
    """
    edit = fleet.put(executor, "min_cards", cards)
    _tell(path, edit, executor, f"is leased from {cards} cards on", "is so already", as_json=as_json)


@command.command()
@click.argument("executor")
@config_option
@click.option(
    "--notice", default="1h", show_default=True, help="Until the pause begins, such as 90m; 30m or more."
)
@json_option
def pause(*, path: Path, executor: str, notice: str, as_json: bool) -> None:
    """Want no new rentals of a machine after a notice. Leases that run go on, it is still inspected, and paid when idle.

    A pause that is announced or has begun stays as it is: resume first to announce another.

    \b
    Examples:
      subnet miner machines pause rack1-a --notice 6h --config miner.toml
    """
    notice_s = seconds_of("--notice", notice)
    if notice_s < LEAST_NOTICE_S:
        wanted = f"{duration(LEAST_NOTICE_S)} or more: in that time every validator hears of it"
        raise SettingError("--notice", notice, wanted)
    begin = int(time.time()) + notice_s
    new = f"takes no new rentals from {datetime.fromtimestamp(begin, UTC):%Y-%m-%d %H:%M} UTC on"
    put = fleet.put(executor, "paused_from", begin)
    _tell(path, _unless_paused(executor, put), executor, new, "has its pause already", as_json=as_json)


@command.command()
@click.argument("executor")
@config_option
@json_option
def resume(*, path: Path, executor: str, as_json: bool) -> None:
    """Want new rentals of a machine again: its pause is over, or is not begun.

    \b
    Examples:
      subnet miner machines resume rack1-a --config miner.toml
    """
    edit = fleet.put(executor, "paused_from", None)
    _tell(path, edit, executor, "takes new rentals again", "is not paused", as_json=as_json)


def _unless_paused(executor: str, edit: fleet.Edit) -> fleet.Edit:
    return lambda text: text if fleet.machine(text, executor).get("paused_from") is not None else edit(text)


def _tell(path: Path, edit: fleet.Edit, executor: str, new: str, old: str, *, as_json: bool) -> None:
    """Make the change and say what came of it."""
    is_changed = fleet.change(path, edit)
    offer = next((e.offer for e in load_config(path).executors if e.offer.executor_id == executor), None)
    if as_json:
        show_json({"executor": executor, "changed": is_changed, "offer": offer and offer.model_dump()})
    else:
        click.echo(f"{executor} {new if is_changed else old}")


def _row(machine: Machine, now: datetime) -> tuple[str, ...]:
    offer, alpha = machine.offer, machine.alpha_per_day
    return (
        offer.executor_id,
        f"{offer.address} port {offer.port}",
        f"{offer.price_usd_per_hour:g}",
        str(offer.min_cards),
        machine.rents(now),
        f"{machine.paid_by}/{len(machine.told)}" if machine.told else "-",
        "-" if alpha is None else f"{alpha:.4f}",
        machine.told[0].verdict if machine.told else "nothing told",
    )


def _show_reasons(listed: tuple[Machine, ...]) -> None:
    console = make_console()
    for machine in listed:
        for reason, count in machine.reasons():
            weight = "in shadow" if reason.is_shadow else reason.severity.replace("_", " ")
            line = f"{machine.offer.executor_id} {reason.code} ({weight}, of {count}/{len(machine.told)} validators)"
            console.print(cell(f"{line}: got {reason.got}; wanted {reason.wanted}"), soft_wrap=True)
            console.print(cell(f"  {reason.mend}"), soft_wrap=True)


def _where_from(config: MinerConfig, emission: float, told: Mapping[str, Results]) -> str:
    if config.folder is None:
        return 'set folder = "/var/lib/subnet-miner" in the file: the agent keeps there what validators tell'
    if not told:
        return "no validator has told anything yet: it does at the end of its next epoch"
    return (
        f"alpha by the weights that validators last told, of {emission:g} a day for all miners; without rent"
    )


def _document(machine: Machine, now: datetime) -> dict[str, object]:
    told = [
        {
            "validator": one.validator,
            "epoch": one.epoch,
            "scored_at": one.scored_at,
            "score": one.score,
            "verdict": one.verdict,
            "alpha_per_day": one.alpha_per_day,
            "reasons": [reason.model_dump() for reason in one.reasons],
        }
        for one in machine.told
    ]
    offer = machine.offer
    begin = None if offer.paused_from is None else datetime.fromtimestamp(offer.paused_from, UTC)
    return {
        "executor": offer.executor_id,
        "address": offer.address,
        "port": offer.port,
        "price_usd_per_hour": offer.price_usd_per_hour,
        "min_cards": offer.min_cards,
        "paused_from": begin,
        "is_paused": begin is not None and begin <= now,
        "alpha_per_day": machine.alpha_per_day,
        "told": told,
    }
