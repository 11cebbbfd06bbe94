"""The same machines at the same block, validated once for each place of the state and of the history.

`python -m tests.flows.places FOLDER` reads one line of JSON: name -> the environment that names a place; each name's epoch has
a copy of the chain, whose clock stands still but for who waits for a block.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from deployments.localnet.chain.clock import ManualClock
from deployments.localnet.chain.ledger import Ledger
from deployments.localnet.chain.substrate import LocalSubstrate
from deployments.localnet.layout import Layout
from flows.settings import Settings
from storage.records import BLOCKS_PER_EPOCH
from tests.flows.engines import farmed, validate_once

MACHINES, MINERS, SEED = 40, 4, 2_230
"""Eleven machines of this seed have something wrong with them, and each fault is among them."""


def settings_of(folder: Path, name: str, environment: Mapping[str, str]) -> Settings:
    """A local system's own, by name, with the keys of the one in the folder."""
    settings = Layout(folder / name).settings(environment)
    return replace(settings, wallet_path=Layout(folder).subnet / "wallets")


def _copied(chain: Path, to: Path) -> Path:
    to.parent.mkdir(parents=True)
    with closing(sqlite3.connect(chain)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)
    return to


def main(folder: Path, places: Mapping[str, Mapping[str, str]]) -> None:
    """See above."""
    layout = Layout(folder)
    from prefect.testing.utilities import prefect_test_harness  # it imports all of the server

    with farmed(layout, MACHINES, MINERS, SEED), prefect_test_harness(server_startup_timeout=120):
        with closing(Ledger(layout.chain)) as ledger:
            head = ledger.advance(BLOCKS_PER_EPOCH)
            began_s = ledger.begins_ms(head) / 1000
        for name, environment in places.items():
            chain = _copied(layout.chain, Layout(folder / name).chain)
            clock = ManualClock(began_s)
            connect = partial(LocalSubstrate, chain, now=clock.now, sleep=clock.sleep)
            validate_once(settings_of(folder, name, environment), connect)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.stdin.readline()))
