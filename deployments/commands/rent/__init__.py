"""`subnet rent`: what a renter types. Verbs that belong together share a module here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import click

from deployments.lazy import lazy_group

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "login": "Keep your API key on this computer, read from standard input.",
        "logout": "Remove it.",
        "whoami": "Show whose key it is and what it may do.",
        "ls": "List machines: proved performance, price, reliability.",
        "up": "Rent a machine, by its key or by a specification.",
        "ps": "List your leases, with what they cost so far and when they end.",
        "show": "Show all of one lease.",
        "ssh": "Open a terminal in a container, or run a command there.",
        "exec": "Run a command in a container through the market, without SSH.",
        "scp": "Copy files to a lease or from it.",
        "rsync": "Bring a folder up to date, there or here.",
        "logs": "Show what a container prints.",
        "metrics": "Show what a lease uses: cards, CPU, memory, network.",
        "events": "Show what happened to a lease.",
        "stop": "Stop a lease: it costs nothing, its data stay, its cards are free for others.",
        "start": "Start a stopped lease again.",
        "reboot": "Restart a lease's container.",
        "replace": "Run another image on the same cards, with the same volumes.",
        "ttl": "Change how long a lease lasts.",
        "cap": "Change how much a lease may cost in all.",
        "idle": "Change when an idle lease is stopped.",
        "rm": "End leases.",
        "volumes": "List, make and remove volumes.",
        "backups": "List, fetch and remove backups.",
        "backup": "Back up a volume or a folder.",
        "restore": "Write a backup back.",
        "templates": "List, keep and remove templates.",
        "keys": "Your SSH keys, and who may log in to a lease.",
        "api-keys": "Make, list, rotate and revoke API keys.",
        "webhooks": "Have an address told what happens.",
        "balance": "Show what you have and how long it lasts.",
        "deposit": "Show how to put money in.",
        "invoices": "Show what you paid, month by month.",
        "bill": "Show what a lease cost, line by line.",
        "certificate": "Fetch the proof of the very cards you rent, and check it yourself.",
        "completion": "Print the completion for your shell.",
    }
)
"""Name and one line of help."""

PLACES: Mapping[str, str] = MappingProxyType(
    {
        "logout": "login:logout",
        "whoami": "login:whoami",
        "ps": "leases:ps",
        "show": "leases:show",
        "events": "leases:events",
        "ssh": "reach:ssh",
        "exec": "execute:command",
        "scp": "reach:scp",
        "rsync": "reach:rsync",
        "logs": "watching:logs",
        "metrics": "watching:metrics",
        "stop": "power:stop",
        "start": "power:start",
        "reboot": "power:reboot",
        "replace": "power:replace",
        "ttl": "limits:ttl",
        "cap": "limits:cap",
        "idle": "limits:idle",
        "rm": "leases:rm",
        "backups": "backups:command",
        "backup": "backups:backup",
        "restore": "backups:restore",
        "api-keys": "api_keys:command",
        "balance": "money:balance",
        "deposit": "money:deposit",
        "invoices": "money:invoices",
        "bill": "money:bill",
    }
)
"""Where those lie that have no module of their own."""


@click.group(cls=lazy_group(__name__, COMMANDS, PLACES))
def command() -> None:
    """Rent GPUs whose performance was proved, by the second, from this command line or any other (docs/renting.md).

    Everywhere a lease is named, the beginning of its name will do. Exit codes: 0 done, 1 the market or the network is
    away, 2 a mistake in what was typed or asked, 3 no key or not allowed, 4 the balance is too low, 5 no machine could
    be had, 130 stopped by Ctrl-C; `ssh`, `exec`, `scp` and `rsync` end with the code of what they ran.

    \b
    Examples:
      subnet rent login --api https://market.example < key.txt
      subnet rent ls --model RTX4090 --sort value
      subnet rent up --spec "2xRTX4090 vram>=24 price<=1.2" --ttl 2h --image ubuntu:24.04
      subnet rent ssh 3f9a
      subnet rent rm 3f9a
    """
