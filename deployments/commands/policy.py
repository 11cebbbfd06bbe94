"""`subnet policy`: the values that decide who is paid what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import click

from flows.policies import named_policy
from tasks.limits import check_limits
from tasks.policy import PRESETS


@click.command()
@click.argument("name", default="default")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(name: str, *, as_json: bool) -> None:
    """Show the policy NAME (default, lium-2025, lium-2026, localnet) with its digest, which the archive names with every epoch.

    NAME may be a JSON file of what is different from one of these (its "base"); SUBNET_POLICY takes the same path.

    \b
    Examples:
      subnet policy
      subnet policy localnet --json
      subnet policy /etc/subnet/disk-in-shadow.json
    """
    policy = named_policy(name)
    check_limits(policy)
    if as_json:
        click.echo(
            json.dumps({"digest": policy.digest(), "known": sorted(PRESETS)} | asdict(policy), indent=2)
        )
        return
    click.echo(f"policy {policy.name}, digest {policy.digest()} (known: {', '.join(sorted(PRESETS))})")
    for section, values in asdict(policy).items():
        if isinstance(values, dict):
            click.echo(f"\n{section}")
            for key, value in values.items():
                for line in _lines(key, value):
                    click.echo(line)


def _lines(key: str, value: object) -> Iterator[str]:
    """One line, or one for each row of a table."""
    if not (isinstance(value, tuple) and value and isinstance(value[0], tuple)):
        yield f"  {key:28} {value}"
        return
    yield f"  {key}"
    for name, *numbers in value:
        shown = ", ".join(", ".join(n) if isinstance(n, tuple) else str(n) for n in numbers)
        yield f"    {name or '(any)':38} {shown}"
