"""`subnet miner`: what a miner types. A module here for each of its commands."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import click

from deployments.lazy import lazy_group

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "onboard": "Bring machines in, from bare to their first verdict: a plan first, then all of it.",
        "offboard": "Take machines out again: each is as it was before.",
        "check": "Look at machines as validators will, over your own SSH login, with the command that mends what they lack.",
        "coldkey": "Make or import the coldkey that owns what a miner earns.",
        "fund": "Give TAO to a coldkey, on the local subnet only.",
        "hotkey": "Make or import the hotkey that a miner signs with.",
        "register": "Register the hotkey on the subnet: price and balance shown, a ceiling held by the chain.",
        "serve": "Run the agent: let validators in on your machines.",
        "unit": "Print a systemd unit for the agent.",
        "machines": "List your machines, add and remove some, set price and terms, pause new rentals.",
        "status": "Show what validators last found: every score with its terms, every reason with its mend.",
        "visits": "Show who came to the agent's door: every grant, every refusal with its reason.",
        "estimate": "Estimate what a machine would earn a day, idle and leased, by the code that pays.",
        "sign": "Sign the text by which a marketplace's page knows a miner: its pages open in that browser.",
        "swap": "Announce to all validators, signed, that a machine's cards were swapped.",
    }
)
"""Name and one line of help; each lives in `deployments/commands/miner/<name>.py` as `command`."""


@click.group(cls=lazy_group(__name__, COMMANDS))
def command() -> None:
    """Bring machines in, check them, get a place, let validators in, sign in to a marketplace's pages, see what you earn and why, change what you offer, tell of swapped cards.

    \b
    Examples:
      subnet miner onboard root@203.0.113.7 --dry-run
      subnet miner check root@203.0.113.7
      subnet miner register --max-tao 0.8
      subnet miner serve --config /etc/subnet/miner.toml --announce 203.0.113.7:8091
      subnet miner machines ls --config /etc/subnet/miner.toml
      subnet miner status --config /etc/subnet/miner.toml
      subnet miner visits --config /etc/subnet/miner.toml --refused
      subnet miner estimate --model "RTX 4090" --cards 8
      subnet miner sign --wallet miner --hotkey rack1 "subnet sign-in/1 | ..."
      subnet miner swap --config /etc/subnet/miner.toml --executor rack1-a --gone GPU-11aa... --came GPU-22bb...
    """
