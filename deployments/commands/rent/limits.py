"""`subnet rent ttl`, `cap`, `idle`: a lease's own limits, changed while it runs."""

from __future__ import annotations

from datetime import UTC, timedelta

import click

from deployments.renting.desk import Desk, find_lease, lease_argument, verb
from deployments.renting.look import lines_of
from deployments.renting.quantities import MICRO, idle_of, micro_usd_of, moment_of, seconds_of
from deployments.renting.wire import Document, Lease, integer, part
from tasks.errors import SettingError

OFF = "off"


@click.command()
@lease_argument()
@click.argument("limit", metavar="[TTL|+TTL|off]", required=False)
@click.option("--until", help="Ends then: 18:30 on your clock, or 2026-10-09T18:30; `off`: at no set time.")
@verb
def ttl(desk: Desk, *, lease: str, limit: str | None, until: str | None) -> None:
    """Change how long a lease lasts: counted from its hand-over, or so much more than now, or until a time.

    \b
    Examples:
      subnet rent ttl 3f9a 4h
      subnet rent ttl 3f9a +2h
      subnet rent ttl 3f9a off --until 18:30
    """
    if limit is None and until is None:
        raise SettingError("TTL", "not given", "a time like 4h, +2h to extend, off, or --until")
    with desk.open() as client:
        found = find_lease(client, lease)
        change: Document = {}
        if limit is not None:
            change |= _longer(found, limit[1:]) if limit.startswith("+") else _ttl(limit)
        if until is not None:
            end = None if until == OFF else moment_of("--until", until, desk.now())
            change["ends_by"] = None if end is None else end.isoformat().replace("+00:00", "Z")
        _change(desk, Lease.of(client.patch(f"/v1/leases/{found.lease_id}", change)))


def _ttl(limit: str) -> Document:
    return {"ttl_s": 0 if limit == OFF else seconds_of("TTL", limit)}


def _longer(lease: Lease, more: str) -> Document:
    """Both limits of time so much later; sent as what they come to, so that a repetition extends nothing twice."""
    more_s, ttl_s = seconds_of("TTL", more), integer(part(lease.document, "terms"), "ttl_s")
    change: Document = {"ttl_s": ttl_s + more_s} if ttl_s else {}
    if lease.ends_by is not None:
        later = (lease.ends_by + timedelta(seconds=more_s)).astimezone(UTC)
        change["ends_by"] = later.isoformat().replace("+00:00", "Z")
    if not change:
        raise SettingError(
            "TTL", f"+{more}", "a lease that has a limit of time; this one lasts until it is ended"
        )
    return change


@click.command()
@lease_argument()
@click.argument("limit", metavar="USD|off")
@verb
def cap(desk: Desk, *, lease: str, limit: str) -> None:
    """Change how much a lease may cost in all, from its hand-over to its end.

    \b
    Examples:
      subnet rent cap 3f9a 20
      subnet rent cap 3f9a off
    """
    value = 0 if limit == OFF else micro_usd_of("USD", limit)
    with desk.open() as client:
        found = find_lease(client, lease)
        if value and value < found.cost_micro_usd:
            told = f"more than the {found.cost_micro_usd / MICRO:.2f} USD that it has cost already"
            raise SettingError("USD", limit, told)
        _change(desk, Lease.of(client.patch(f"/v1/leases/{found.lease_id}", {"cap_micro_usd": value})))


@click.command()
@lease_argument()
@click.argument("limit", metavar="PERCENT/TIME|off")
@verb
def idle(desk: Desk, *, lease: str, limit: str) -> None:
    """Change when an idle lease is stopped: when every card was used less than so much, for so long.

    \b
    Examples:
      subnet rent idle 3f9a 5%/30m
      subnet rent idle 3f9a off
    """
    below_percent, for_s = (0.0, 0) if limit == OFF else idle_of("LIMIT", limit)
    change: Document = {"idle_below_percent": below_percent, "idle_for_s": for_s}
    with desk.open() as client:
        found = find_lease(client, lease)
        _change(desk, Lease.of(client.patch(f"/v1/leases/{found.lease_id}", change)))


def _change(desk: Desk, lease: Lease) -> None:
    if desk.is_json:
        desk.answer(lease.document)
        return
    for line in lines_of(lease, desk.now()):
        click.echo(line)
