"""`subnet market`: what an operator of the market types. A module here for each of its commands."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import click

from deployments.lazy import lazy_group

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "serve": "Serve the API for renters.",
        "renter": "Add renters, list them, stop one with a reason, allow it again.",
        "key": "Make, list and revoke renters' API keys.",
        "credit": "Give a renter money, or take it back, with a reason.",
        "deposits": "Show what came from the chain, and say whose it is.",
        "leases": "List the leases that stand, of all renters.",
        "books": "Sum up the ledger anew: whether it is even, and who has what.",
        "block-image": "Let nobody run images that fit a pattern.",
        "unblock-image": "Let them be run again.",
        "blocked": "List the blocked images.",
    }
)
"""Name and one line of help."""

PLACES: Mapping[str, str] = MappingProxyType(
    {"block-image": "images:block", "unblock-image": "images:unblock", "blocked": "images:blocked"}
)
"""Where those lie that have no module of their own."""


@click.group(cls=lazy_group(__name__, COMMANDS, PLACES))
def command() -> None:
    """Run a market for renters: who may rent, with what money, and what no container may be made of.

    All of it works on the validator's database, with no server between; docs/market.md tells how a market is run.

    \b
    Examples:
      subnet market renter add ada
      subnet market credit ada 50 --reason "welcome"
      subnet market renter stop ada --reason "mines coins" --grace 1h
    """
