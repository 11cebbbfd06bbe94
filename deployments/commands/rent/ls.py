"""`subnet rent ls`: the machines of the market."""

from __future__ import annotations

import click

from deployments.renting.desk import Desk, verb
from deployments.renting.look import show_offers
from deployments.renting.quantities import MICRO, micro_usd_of
from deployments.renting.spec import is_model, parse
from deployments.renting.wire import Offer, text
from deployments.renting.wishes import with_options


@click.command()
@click.option(
    "--spec", default="", help='All filters in one line: "2xRTX4090 vram>=24 price<=1.2 region=EU".'
)
@click.option("--model", help="E.g. RTX4090; spaces, dashes and case do not matter.")
@click.option("--count", type=click.IntRange(1, 64), help="With so many cards free.")
@click.option("--min-vram", type=click.FloatRange(0, 10_000), help="GiB of each card.")
@click.option("--max-price", help="USD an hour for the cards together: --count of them, or one.")
@click.option("--region", help="As the list shows it.")
@click.option(
    "--min-performance",
    type=click.FloatRange(0, 10),
    help="Proved bandwidth over the model's class, e.g. 0.9.",
)
@click.option("--min-reliability", type=click.FloatRange(0, 1), help="Share of epochs passed, e.g. 0.99.")
@click.option(
    "--sort", type=click.Choice(["price", "value", "reliability"]), default="value", show_default=True
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@verb
def command(
    desk: Desk,
    *,
    spec: str,
    model: str | None,
    count: int | None,
    min_vram: float | None,
    max_price: str | None,
    region: str | None,
    min_performance: float | None,
    min_reliability: float | None,
    sort: str,
    limit: int,
) -> None:
    """List machines that have a card free: what they proved in the last epoch, and what they cost.

    `perf` is the proved memory bandwidth over that of the model, `perf/USD` the same for a dollar an hour: the star
    stands at the most of it. A machine's name from the first column is what `subnet rent up` takes.

    \b
    Examples:
      subnet rent ls --model H100 --count 8 --sort price
      subnet rent ls --spec "2xRTX4090 vram>=24 price<=1.2 perf>=0.9"
      subnet rent ls --json | jq -r '.items[0].executor_key'
    """
    wanted = with_options(
        parse(spec),
        model=model,
        count=count,
        min_vram_gib=min_vram,
        max_micro_usd_per_hour=micro_usd_of("--max-price", max_price) if max_price else 0,
        region=region,
        min_performance=min_performance,
        min_reliability=min_reliability,
    )
    query: dict[str, str | int | float | bool | None] = {
        "count": max(1, wanted.count),
        "min_vram_gib": wanted.min_vram_gib or None,
        "max_usd_per_hour": wanted.max_micro_usd_per_hour / MICRO or None,
        "region": wanted.region or None,
        "min_performance": wanted.min_performance or None,
        "min_reliability": wanted.min_reliability or None,
        "sort": sort,
        "limit": min(limit, 1_000) if not wanted.model else 1_000,
    }
    with desk.open() as client:
        found = [
            item for item in client.pages("/v1/offers", query) if is_model(text(item, "model"), wanted.model)
        ][:limit]
    if desk.is_json:
        desk.answer({"items": found})
        return
    show_offers([Offer.of(item) for item in found], max(1, wanted.count))
