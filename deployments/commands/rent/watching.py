"""`subnet rent logs` and `metrics`: what a container prints and what it uses."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from itertools import islice

import click

from deployments.hygiene import printable_lines
from deployments.renting.desk import Desk, find_lease, lease_argument, show_json_line, verb
from deployments.renting.look import Column, show_items
from deployments.renting.quantities import seconds_of
from deployments.renting.wire import Document, integer, moment, number, parts
from tasks.errors import BadAnswer

MAX_SAMPLES = 10_000


@click.command()
@lease_argument()
@click.option("--tail", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Last lines.")
@click.option("--since", help="Only what is younger, e.g. 10m.")
@click.option("--follow", "-f", is_flag=True, help="Go on until the lease ends or Ctrl-C.")
@click.option("--raw", is_flag=True, help="Also on a terminal print it as it is: it may move your cursor.")
@verb
def logs(desk: Desk, *, lease: str, tail: int, since: str | None, follow: bool, raw: bool) -> None:
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
        if not follow:
            answer = client.get(path, query)
            if desk.is_json:
                desk.answer(answer)
            else:
                _print(_text(answer), raw=raw)
            return
        for event in client.stream(path, {**query, "follow": True}):
            if event.kind == "log":
                told = object_of(event.data)
                if desk.is_json:
                    show_json_line(told)
                else:
                    _print(_text(told), raw=raw)


@click.command()
@lease_argument()
@click.option(
    "--limit", type=click.IntRange(1, MAX_SAMPLES), default=20, show_default=True, help="Newest samples."
)
@click.option("--follow", "-f", is_flag=True, help="Go on until the lease ends or Ctrl-C.")
@verb
def metrics(desk: Desk, *, lease: str, limit: int, follow: bool) -> None:
    """Show what a lease used, a line a sample: every card, CPU, memory, network. `-`: the machine did not say.

    \b
    Examples:
      subnet rent metrics 3f9a
      subnet rent metrics 3f9a --follow --json
    """
    with desk.open() as client:
        path = f"/v1/leases/{find_lease(client, lease).lease_id}/metrics"
        if not follow:
            items = list(islice(client.pages(path, {"limit": min(limit, 1_000)}), limit))
            if desk.is_json:
                desk.answer({"items": items})
            else:
                show_items(SAMPLES, items, "nothing was measured yet")
            return
        for event in client.stream(path, {"follow": True}):
            if event.kind == "metrics":
                sample = object_of(event.data)
                if desk.is_json:
                    show_json_line(sample)
                else:
                    click.echo("  ".join(f"{c.heading} {c.cell(sample)}" for c in SAMPLES))


def object_of(data: str) -> Document:
    """The JSON object of an event; BadAnswer when it is none."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadAnswer("an event of the market is no JSON object")
    return found


def _text(document: Document) -> str:
    found = document.get("text")
    return found if isinstance(found, str) else ""


def _print(lines: str, *, raw: bool) -> None:
    """As it is into a file or a pipe; on a terminal what is printable of it."""
    shown = printable_lines(lines) if sys.stdout.isatty() and not raw else lines
    click.echo(shown, nl=bool(shown) and not shown.endswith("\n"))
    sys.stdout.flush()


def _cards(sample: Document) -> str:
    return " ".join(f"{number(card, 'use_percent'):.0f}%" for card in parts(sample, "cards")) or "-"


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
    Column("CPU %", lambda s: "-" if s.get("cpu_percent") is None else f"{number(s, 'cpu_percent'):.0f}"),
    _gib("memory_bytes"),
    _gib("received_bytes"),
    _gib("sent_bytes"),
)
