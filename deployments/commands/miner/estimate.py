"""`subnet miner estimate`: what a machine would earn a day, by the code that pays."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import click
from rich.console import Console

from deployments.histories import history_option, json_option, own_history, own_settings
from deployments.numbers import FiniteRange
from deployments.sites import local_substrate
from deployments.view import cell, make_console
from flows.settings import Settings
from storage.history import archived_epochs, read_epoch
from storage.places import Place
from storage.records import ALPHA_TAO, TAO_USD, TOKEN, EpochOutcome, Quote, Reason
from tasks.errors import SettingError, UserError
from tasks.estimating import (
    ALPHA_PER_DAY,
    MINERS_SHARE,
    NEWCOMER,
    Estimate,
    Hypothetical,
    empty_epoch,
    estimate,
    models_named,
)
from tasks.inspection.models import MODELS, Model
from tasks.policy import PRESETS, Policy, policy_of, preset
from tasks.scoring.reading import terms_of

DAY_S = 86_400.0
Row = tuple[Hypothetical, Estimate]


@click.command()
@click.option("--model", "model_name", required=True, help='The cards, e.g. "RTX 4090" or "H100 PCIe".')
@click.option("--cards", type=click.IntRange(1, 14), default=1, show_default=True, help="How many of them.")
@click.option("--leased/--idle", "is_leased", default=None, help="Only so; both when not given.")
@click.option("--uptime-days", type=FiniteRange(0, 3_650), help="Of unbroken passing; 0 and 30 if not given.")
@click.option(
    "--price", type=FiniteRange(0, 1_000), help="USD an hour that the machine asks; the market's rate."
)
@click.option("--rent", type=FiniteRange(0, 1_000), help="USD an hour that its renter pays; what it asks.")
@click.option(
    "--performance", type=FiniteRange(0.1, 2), default=1.0, show_default=True, help="Over its class."
)
@click.option("--mbit", type=FiniteRange(1, 1e6), default=1_000.0, show_default=True, help="Mbit/s each way.")
@click.option("--no-isolation", is_flag=True, help="Without an isolating container runtime.")
@click.option("--no-collateral", is_flag=True, help="Without a deposit.")
@click.option(
    "--proven/--unproven", "is_proven", default=None, help="The model; as in the epoch if not given."
)
@click.option("--hotkey", default=NEWCOMER, show_default=True, help="The miner whose machine it would be.")
@click.option(
    "--policy", "policy_name", help=f"One of {', '.join(sorted(PRESETS))}; the epoch's own if not given."
)
@click.option(
    "--alpha-per-day",
    type=FiniteRange(0),
    help=f"For all miners; {ALPHA_PER_DAY:g} if not given.",
)
@click.option("--chain", "is_from_chain", is_flag=True, help="Read the emission from the settings' chain.")
@click.option("--tao-usd", type=FiniteRange(0, min_open=True), help="Price of TAO; the epoch's if not given.")
@click.option("--alpha-tao", type=FiniteRange(0, min_open=True), help="Price of alpha in TAO; the epoch's.")
@click.option("--epoch", type=click.IntRange(min=0), help="To stand beside; the newest if not given.")
@click.option("--alone", is_flag=True, help="On a subnet with no other machine, without any archive.")
@history_option
@json_option
def command(
    *,
    model_name: str,
    cards: int,
    is_leased: bool | None,
    uptime_days: float | None,
    policy_name: str | None,
    alpha_per_day: float | None,
    is_from_chain: bool,
    tao_usd: float | None,
    alpha_tao: float | None,
    epoch: int | None,
    alone: bool,
    history: Place | None,
    as_json: bool,
    **more: object,
) -> None:
    """Estimate what a machine would earn a day, idle and leased, new and established.

    It is put beside the machines of the last archived epoch, with that epoch's prices, and scored by the same code; its
    share of the weights times the emission for miners is what it earns. It is taken for what is said of it, and all
    validators for weighing like this one. A lease's rent comes on top.

    \b
    Examples:
      subnet miner estimate --model "RTX 4090" --cards 8 --chain
      subnet miner estimate --model "H100 PCIe" --cards 4 --leased --rent 6.4 --uptime-days 10
      subnet miner estimate --model L4 --alone --policy lium-2025 --json
    """
    world = None if alone else _world(history or own_history(), epoch)
    policy = _policy(world, policy_name)
    world = _priced(world, policy, {TAO_USD: tao_usd, ALPHA_TAO: alpha_tao})
    base = _machine(_model(model_name), cards, more)
    days = (0.0, 30.0) if uptime_days is None else (uptime_days,)
    machines = [
        replace(base, is_leased=leased, passing_s=passing * DAY_S)
        for leased in ((False, True) if is_leased is None else (is_leased,))
        for passing in days
    ]
    emission, source = _emission(alpha_per_day, is_from_chain=is_from_chain)
    rows = [(machine, estimate(world, machine, policy, emission)) for machine in machines]
    if as_json:
        told = {"alpha_per_day_for_miners": emission, "emission_source": source}
        click.echo(json.dumps(_document(world, policy, rows) | told, indent=2))
    else:
        _show(make_console(), world, policy, rows)
        burn = rows[0][1].burn_share
        click.echo(f"  Of {emission:g} alpha a day for all miners ({source}), {burn:.0%} burned.")


def _emission(given: float | None, *, is_from_chain: bool) -> tuple[float, str]:
    """Alpha a day for all miners, and where that comes from."""
    if given is not None and is_from_chain:
        raise UserError("--alpha-per-day and --chain exclude each other")
    if given is not None:
        return given, "given"
    if not is_from_chain:
        return ALPHA_PER_DAY, "assumed: 1 alpha a block of 12 s"
    return _read_emission(own_settings()) * MINERS_SHARE, "from the chain"


def _read_emission(settings: Settings) -> float:
    """Alpha a day for everybody on the subnet."""
    from tasks.edges.chain import Chain, ChainSettings  # noqa: PLC0415  the SDK is half a second of import

    chain = Chain(
        ChainSettings(settings.network, settings.netuid, settings.chain_deadline_s, cache=settings.cache),
        substrate_factory=local_substrate(settings),
    )
    try:
        return chain.alpha_out_rao_per_day() / 1e9
    finally:
        chain.close()


def _world(root: Place, number: int | None) -> EpochOutcome:
    known = archived_epochs(root)
    wanted = number if number is not None else (known[-1] if known else None)
    found = read_epoch(root, wanted, transcripts=False) if wanted in known and wanted is not None else None
    if found is None:
        has = (
            f"{root} has epochs {known[0]} to {known[-1]}"
            if known
            else f"{root} has none; --alone needs none"
        )
        raise SettingError(
            "--epoch", str(number if number is not None else "newest"), f"an archived epoch: {has}"
        )
    if found.grounds is None:
        raise SettingError(
            "--epoch", str(wanted), "an epoch that came as far as its scores, of schema 3 or later"
        )
    return found


def _policy(world: EpochOutcome | None, name: str | None) -> Policy:
    if name is not None:
        return preset(name)
    return policy_of(world.grounds.policy_values) if world and world.grounds else preset("default")


def _priced(
    world: EpochOutcome | None, policy: Policy, prices: dict[str, float | None]
) -> EpochOutcome | None:
    """The epoch with these prices of tokens in the place of its own."""
    given = {name: value for name, value in prices.items() if value is not None}
    if not given:
        return world
    now = datetime.now(UTC)
    base = world or empty_epoch(policy)
    assert base.grounds is not None
    kept = [q for q in base.grounds.quotes if not (q.kind == TOKEN and q.name in given)]
    quotes = (*kept, *(Quote(TOKEN, name, value, "given", now) for name, value in given.items()))
    return replace(base, grounds=replace(base.grounds, quotes=quotes))


def _model(text: str) -> Model:
    found = models_named(text, MODELS)
    if len(found) != 1:
        names = ", ".join(m.name for m in (found or MODELS))
        raise SettingError("--model", text, f"one of {names}")
    return found[0]


def _machine(model: Model, cards: int, more: dict[str, object]) -> Hypothetical:
    return Hypothetical(
        model,
        cards,
        price_usd_per_hour=more["price"],  # type: ignore[arg-type]  # click has checked each of these
        rent_usd_per_hour=more["rent"],  # type: ignore[arg-type]
        performance=more["performance"],  # type: ignore[arg-type]
        mbit_s=more["mbit"],  # type: ignore[arg-type]
        is_isolating=not more["no_isolation"],
        has_collateral=not more["no_collateral"],
        is_proven=more["is_proven"],  # type: ignore[arg-type]
        miner_hotkey=str(more["hotkey"]),
    )


def _show(console: Console, world: EpochOutcome | None, policy: Policy, rows: list[Row]) -> None:
    console.print(cell(_title(world, policy, rows[0][0])), soft_wrap=True)
    for machine, found in rows:
        state = "leased" if machine.is_leased else "idle"
        line = f"  {state:6} after {machine.passing_s / DAY_S:g} days of passing: {found.alpha_per_day:.4f} alpha a day"
        if found.tao_per_day is not None:
            line += f", {found.tao_per_day:.6f} TAO"
        if found.usd_per_day is not None:
            line += f", {found.usd_per_day:.2f} USD"
        if machine.is_leased:
            line += f"; and {found.rent_usd_per_day:.2f} USD of rent"
        console.print(cell(line), soft_wrap=True)
        terms = ", ".join(f"{name} {value:.4g}" for name, value in terms_of(found.score).items())
        console.print(cell(f"         score {found.score.score:.6f} = {terms}"), soft_wrap=True)
    reasons = {r.code: r for _, found in rows for r in found.score.reasons}
    for reason in reasons.values():
        console.print(
            cell(f"  {reason.code}: got {reason.got}; wanted {reason.wanted}. {reason.mend}"), soft_wrap=True
        )


def _title(world: EpochOutcome | None, policy: Policy, machine: Hypothetical) -> str:
    beside = "alone on a subnet"
    if world is not None and world.executors:
        beside = f"beside {len(world.executors)} machines of epoch {world.epoch}"
    return f"{machine.card_count} x {machine.model.name}, {beside}, policy {policy.name}"


def _document(world: EpochOutcome | None, policy: Policy, rows: list[Row]) -> dict[str, object]:
    return {
        "epoch": world.epoch if world and world.executors else None,
        "machines": len(world.executors) if world else 0,
        "policy": policy.name,
        "model": rows[0][0].model.name,
        "cards": rows[0][0].card_count,
        "estimates": [
            {
                "leased": machine.is_leased,
                "uptime_days": machine.passing_s / DAY_S,
                "score": found.score.score,
                "terms": terms_of(found.score),
                "reasons": [_reason(r) for r in found.score.reasons],
                "share": found.share,
                "burn_share": found.burn_share,
                "alpha_per_day": found.alpha_per_day,
                "tao_per_day": found.tao_per_day,
                "usd_per_day": found.usd_per_day,
                "rent_usd_per_day": found.rent_usd_per_day,
            }
            for machine, found in rows
        ],
    }


def _reason(reason: Reason) -> dict[str, str]:
    return {"code": reason.code, "severity": reason.severity.value, "got": reason.got, "mend": reason.mend}
