"""`subnet rent logs` and `metrics`: what a container prints and what it uses."""

from __future__ import annotations

import sys
from datetime import timedelta
from itertools import islice

import click

from deployments.hygiene import printable_lines
from deployments.renting.desk import Desk, find_lease, follow, lease_argument, verb
from deployments.renting.look import Column, show_items
from deployments.renting.quantities import seconds_of
from deployments.renting.wire import Document, integer, moment, number, parts

MAX_SAMPLES = 10_000


@click.command()
@lease_argument()
@click.option("--tail", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Last lines.")
@click.option("--since", help="Only what is younger, e.g. 10m.")
@click.option("--follow", "-f", "is_followed", is_flag=True, help="Go on until the lease ends or Ctrl-C.")
@click.option("--raw", is_flag=True, help="Also on a terminal print it as it is: it may move your cursor.")
@verb
def logs(desk: Desk, *, lease: str, tail: int, since: str | None, is_followed: bool, raw: bool) -> None:
    """Show what a lease's container prints. With --json and --follow: one JSON object a line.

    \b
    Examples:
      subnet rent logs 3f9a --tail 20
      subnet rent logs 3f9a --follow > run.log
    """
    begin = None if since is None else desk.now() - timedelta(seconds=seconds_of("--since", since))
    query: dict[str, str | int | float | bool | None] = {"tail": tail}
    if begin is not None:
        query["since"] = begin.astimezone().isoformat()
    with desk.open() as client:
        path = f"/v1/leases/{find_lease(client, lease).lease_id}/logs"
        if not is_followed:
            answer = client.get(path, query)
            if desk.is_json:
                desk.answer(answer)
            else:
                _print(answer, raw=raw)
            if answer.get("truncated") is True:
                desk.say("Warning: there was more than the market passes on; ask for fewer lines, or --since")
            return
        again: dict[str, str | int | float | bool | None] = {"tail": 0, "follow": True}
        feed = client.stream(path, {**query, "follow": True}, again=again)
        follow(desk, feed, "log", lambda told: _print(told, raw=raw))


@click.command()
@lease_argument()
@click.option(
    "--limit", type=click.IntRange(1, MAX_SAMPLES), default=20, show_default=True, help="Newest samples."
)
@click.option("--follow", "-f", "is_followed", is_flag=True, help="Go on until the lease ends or Ctrl-C.")
@verb
def metrics(desk: Desk, *, lease: str, limit: int, is_followed: bool) -> None:
    """Show what a lease used, a line a sample: every card, CPU, memory, network. `-`: the machine did not say.

    \b
    Examples:
      subnet rent metrics 3f9a
      subnet rent metrics 3f9a --follow --json
    """
    with desk.open() as client:
        path = f"/v1/leases/{find_lease(client, lease).lease_id}/metrics"
        if not is_followed:
            items = list(islice(client.pages(path, {"limit": min(limit, 1_000)}), limit))
            if desk.is_json:
                desk.answer({"items": items})
            else:
                show_items(SAMPLES, items, "nothing was measured yet")
            return
        follow(desk, client.stream(path, {"follow": True}), "metrics", _tell_sample)


def _print(told: Document, *, raw: bool) -> None:
    """As it is into a file or a pipe; on a terminal what is printable of it."""
    found = told.get("text")
    lines = found if isinstance(found, str) else ""
    is_cleaned = sys.stdout.isatty() and not raw
    click.echo(printable_lines(lines) if is_cleaned else lines.encode("utf-8", "replace"), nl=False)
    sys.stdout.flush()


def _tell_sample(sample: Document) -> None:
    click.echo("  ".join(f"{column.heading} {column.cell(sample)}" for column in SAMPLES))


def _cards(sample: Document) -> str:
    return " ".join(f"{number(card, 'use_percent'):.0f}%" for card in parts(sample, "cards")) or "-"


def _of_cards(sample: Document, name: str) -> str:
    said = [card for card in parts(sample, "cards") if card.get(name) is not None]
    return " ".join(f"{number(card, name):.0f}" for card in said) or "-"


def _card_memory(sample: Document) -> str:
    used = [
        integer(card, "memory_used_mib") or number(card, "memory_used_mib") for card in parts(sample, "cards")
    ]
    return f"{sum(used) / 1024:.1f}" if used else "-"


def _gib(name: str) -> Column:
    def cell(sample: Document) -> str:
        return "-" if sample.get(name) is None else f"{integer(sample, name) / (1 << 30):.2f}"

    return Column(name.removesuffix("_bytes").replace("_", " ") + " GiB", cell)


SAMPLES = (
    Column("at (UTC)", lambda s: f"{at:%H:%M:%S}" if (at := moment(s, "at")) else "-"),
    Column("cards", _cards),
    Column("VRAM GiB", _card_memory),
    Column("°C", lambda s: _of_cards(s, "temperature_c")),
    Column("W", lambda s: _of_cards(s, "power_w")),
    Column("CPU %", lambda s: "-" if s.get("cpu_percent") is None else f"{number(s, 'cpu_percent'):.0f}"),
    _gib("memory_bytes"),
    _gib("received_bytes"),
    _gib("sent_bytes"),
    _gib("read_bytes"),
    _gib("written_bytes"),
)
