"""`subnet history`: what is archived, and whether it holds. A module here for each of its commands."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import click

from deployments.lazy import lazy_group

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "verify": "Judge archived proofs again, without believing the archive.",
        "replay": "Make scores and weights again from the archive alone, bit for bit.",
        "shadow": "Show whom each check and term in shadow would have changed.",
        "compare": "Lay two validators' archives beside each other.",
        "query": "Ask the history anything in SQL.",
        "compact": "Fold the small files of past days into few.",
        "forget": "Forget what is older than the policy keeps it.",
    }
)
"""Name and one line of help; each lives in `deployments/commands/history/<name>.py` as `command`."""


@click.group(cls=lazy_group(__name__, COMMANDS))
def command() -> None:
    """Read the Parquet history: everything that every epoch found out.

    \b
    Examples:
      subnet history verify               the newest epoch's proofs, judged again
      subnet history verify --epoch 31
      subnet history replay --epoch 31    its scores and weights, made again
      subnet history shadow --days 7      whom enforcing it would have changed
      subnet history compare .local/history /data/other
      subnet history query "select model, sum(score) from scores group by all"
      subnet history compact              past days into one file a table
    """
