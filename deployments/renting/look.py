"""How renting looks in a terminal: tables, and a line for each step of a lease that is being made ready."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployments.hygiene import printable
from deployments.renting.quantities import duration, short_usd, usd
from deployments.renting.wire import Document, Lease, Offer, Step, integer, part, parts, text

WIDTH = 116
QUEUED_LOOKS = 10
"""About two seconds: that a request waits for a worker is told when it still does."""
_NUMBER = re.compile(r"(\d[\d.,/]*|-)\Z", re.ASCII)
STYLES = {
    "active": "green",
    "stopped": "yellow",
    "ending": "yellow",
    "failed": "red",
    "ended": "dim",
    "done": "green",
    "running": "cyan",
    "asked": "cyan",
}
"""Of states; what has none stays plain."""


class Column(NamedTuple):
    """One column of a table of documents."""

    heading: str
    cell: Callable[[Document], str]


def make_console(*, stderr: bool = False) -> Console:
    """A console wide enough for our tables; colours on a terminal only."""
    found = Console(stderr=stderr, highlight=False)
    return found if found.width >= WIDTH else Console(stderr=stderr, width=WIDTH, highlight=False)


def show_table(headings: Sequence[str], rows: Iterable[Sequence[str]], nothing: str) -> None:
    """Rows of foreign text; `nothing` when there are none. A state has its colour, numbers stand to the right."""
    kept = [tuple(map(printable, row)) for row in rows]
    if not kept:
        click.echo(nothing)
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for i, heading in enumerate(headings):
        is_number = all(_NUMBER.match(row[i]) for row in kept) and any(row[i] != "-" for row in kept)
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=i == 0, overflow="fold")
    for row in kept:
        table.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in row))
    make_console().print(table)


def show_items(columns: Sequence[Column], items: Iterable[Document], nothing: str) -> None:
    """Documents as a table."""
    rows = [tuple(column.cell(item) for column in columns) for item in items]
    show_table([column.heading for column in columns], rows, nothing)


def show_offers(offers: Sequence[Offer], wanted: int) -> None:
    """The machines in the market's order, a star at the best value among those that fit."""
    fit = [offer for offer in offers if offer.cards_for(wanted)]
    best = max(fit, key=lambda o: o.performance_per_usd).executor_key if fit else ""
    rows = [
        (
            "*" if offer.executor_key == best else "",
            short_machine(offer.executor_key),
            offer.model,
            f"{offer.free_card_count}/{offer.card_count}",
            f"{offer.vram_gib:.0f}",
            short_usd(offer.micro_usd_per_card_hour),
            *([short_usd(offer.price(wanted))] if wanted > 1 else []),
            f"{offer.performance:.2f}",
            f"{offer.performance_per_usd:.2f}",
            f"{100 * offer.reliability:.1f}",
            offer.region or "-",
        )
        for offer in offers
    ]
    together = [f"USD/h x{wanted}"] if wanted > 1 else []
    headings = (
        "",
        "machine",
        "model",
        "free",
        "GiB",
        "USD/h card",
        *together,
        "perf",
        "perf/USD",
        "rel %",
        "region",
    )
    show_table(headings, rows, "no machine fits: loosen the filters, or look again after the next epoch")
    if best:
        click.echo("* the most proved performance for a dollar among those that are free")


def show_leases(leases: Sequence[Lease], now: datetime) -> None:
    """A renter's leases with what they cost so far and when they end."""
    rows = [
        (
            lease.short,
            lease.standing + (" (queued)" if lease.is_queued else ""),
            short_machine(lease.executor_key) or "-",
            str(lease.card_count or "-"),
            short_usd(lease.micro_usd_per_hour),
            short_usd(lease.cost_micro_usd),
            _since(lease.active_at, lease.ended_at, now),
            _until(lease, now),
            lease.image or "-",
        )
        for lease in leases
    ]
    headings = ("lease", "state", "machine", "cards", "USD/h", "USD so far", "for", "ends", "image")
    show_table(headings, rows, "no leases: `subnet rent up` makes one")


def lines_of(lease: Lease, now: datetime) -> list[str]:
    """Everything about one lease, a line each."""
    told = [f"lease    {lease.lease_id}", f"state    {lease.standing}{', queued' if lease.is_queued else ''}"]
    told += [f"         {lease.detail}"] if lease.detail else []
    told += (
        [f"machine  {lease.executor_key}, {plural(lease.card_count, 'card')}"] if lease.executor_key else []
    )
    told += [f"image    {lease.image}"] if lease.image else []
    told += [f"price    {usd(lease.micro_usd_per_hour)} USD/h, {usd(lease.cost_micro_usd)} USD so far"]
    told += [f"ends     {_until(lease, now)}"] if lease.end() else []
    told += [f"notice   it is ended at {lease.notice_until:%H:%M:%S} UTC"] if lease.notice_until else []
    told += [f"reason   {lease.reason} ({lease.party})"] if lease.reason else []
    told += [f"tried    {', '.join(map(short_machine, lease.tried))}"] if lease.tried else []
    told += [f"step     {line}" for line in map(step_line, lease.steps)]
    return told


def ready_lines(lease: Lease) -> list[str]:
    """How to reach a lease that is ready: its pages, its ports, and last the way in."""
    access = part(lease.document, "access")
    told = [f"{text(link, 'name')}: {text(link, 'url', 2000)}" for link in parts(access, "links")]
    told += [
        f"port {integer(port, 'inside')}/{text(port, 'protocol')}: {lease.address}:{integer(port, 'outside')}"
        for port in parts(access, "ports")
        if integer(port, "inside") != 22
    ]
    return [*told, f"subnet rent ssh {lease.short}", text(access, "ssh_command")]


def short_machine(executor_key: str) -> str:
    """A machine's key that fits a table: the miner's first and last characters, and its own name for the machine."""
    miner, _, name = executor_key.partition("/")
    return f"{miner[:4]}..{miner[-4:]}/{name}" if name and len(miner) > 12 else executor_key


def step_line(step: Step) -> str:
    """One step in one line."""
    return f"{step.name:<12}{step.seconds:7.1f} s{'' if step.state == 'done' else f'  {step.state}'}"


class StepLines:
    """Live lines on standard error: a step is printed when it ends, and rewritten while it runs on a terminal."""

    def __init__(self, write: Callable[[str], None], *, is_terminal: bool) -> None:
        self._write = write
        self._is_terminal = is_terminal
        self._told: set[str] = set()
        self._looks_queued = 0
        self._width = 0

    def show(self, lease: Lease) -> None:
        """Bring the lines up to date with the lease."""
        self._looks_queued = self._looks_queued + 1 if lease.is_queued else 0
        if self._looks_queued > QUEUED_LOOKS and lease.detail:
            self._once(lease.detail)
        for machine in lease.tried:
            self._once(f"{short_machine(machine)} could not be made ready; the next one is tried")
        if lease.executor_key:
            price = f"{usd(lease.micro_usd_per_hour)} USD/h"
            cards = plural(lease.card_count, "card")
            self._once(f"{short_machine(lease.executor_key)}, {cards}, {price}")
        for step in lease.steps:
            if step.state == "running":
                self._live(f"  {step_line(step)}")
            else:
                self._once(f"  {step_line(step)}", f"{lease.executor_key} {step.name}")

    def close(self) -> None:
        """End a line that was being rewritten."""
        if self._width:
            self._write("\n")
            self._width = 0

    def _once(self, line: str, name: str = "") -> None:
        if (name or line) not in self._told:
            self._told.add(name or line)
            self._write(line + " " * max(0, self._width - len(line)) + "\n")
            self._width = 0

    def _live(self, line: str) -> None:
        if self._is_terminal:
            self._write(line + " " * max(0, self._width - len(line)) + "\r")
            self._width = len(line)


def stderr_lines() -> StepLines:
    """Lines on standard error, live when that is a terminal."""
    return StepLines(_to_stderr, is_terminal=sys.stderr.isatty())


def _to_stderr(line: str) -> None:
    click.echo(line, err=True, nl=False)


def plural(count: int, noun: str) -> str:
    """`1 card`, `2 cards`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def when(moment: datetime | None) -> str:
    """A moment for a table: UTC, to the minute."""
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _since(begun: datetime | None, ended: datetime | None, now: datetime) -> str:
    return "-" if begun is None else duration(((ended or now.astimezone(UTC)) - begun).total_seconds())


def _until(lease: Lease, now: datetime) -> str:
    end = lease.end()
    if lease.is_closed or end is None:
        return when(lease.ended_at) if lease.is_closed else "-"
    return f"in {duration((end - now).total_seconds())}"
