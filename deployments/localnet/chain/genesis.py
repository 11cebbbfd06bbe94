"""Genesis: the file of a new chain, made in one transaction.

A kill at any moment leaves either no chain (the next call makes it) or the whole one.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from deployments.localnet.chain.ledger import APPLICATION_ID, BUSY_S, TABLES, Ledger
from deployments.localnet.chain.state import Account, ChainState, Hyperparameters, NeuronState, encoded
from storage.sqlite import switch_to_wal
from tasks.errors import SettingError

START_BLOCK = 1


def genesis(
    path: Path,
    *,
    owner_coldkey: str,
    owner_hotkey: str,
    accounts: Mapping[str, int],
    netuid: int = 51,
    hyperparameters: Hyperparameters | None = None,
    block_time_s: float = 0.25,
    idle_limit_s: float = 600.0,
    now: Callable[[], float] = time.time,
) -> bool:
    """Make the chain with one subnet, its owner at uid 0, and funded coldkeys (address -> rao).

    True when it was made, False when it was there already; then nothing is changed. SettingError when
    the file is something else, or a chain of another subnet.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as connection:
        try:
            (made_by,) = connection.execute("PRAGMA application_id").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.DatabaseError:
            raise SettingError("chain file", str(path), "a local chain, or no file") from None
        if tables and made_by != APPLICATION_ID:
            raise SettingError("chain file", str(path), "a local chain, or no file")
        switch_to_wal(connection, BUSY_S)
        connection.execute("BEGIN IMMEDIATE")
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if not tables:
            state = _first_state(
                owner_coldkey, owner_hotkey, accounts, netuid, hyperparameters or Hyperparameters()
            )
            _fill(connection, state, block_time_s, idle_limit_s, int(now() * 1000))
        connection.execute("COMMIT")
    if tables:
        _require_netuid(path, netuid)
    return not tables


def _first_state(
    owner_coldkey: str,
    owner_hotkey: str,
    accounts: Mapping[str, int],
    netuid: int,
    hyperparameters: Hyperparameters,
) -> ChainState:
    owner = NeuronState(
        hotkey=owner_hotkey, registered_at=START_BLOCK, last_update=START_BLOCK, has_permit=True
    )
    return ChainState(
        block=START_BLOCK,
        netuid=netuid,
        name="localnet",
        owner_coldkey=owner_coldkey,
        owner_hotkey=owner_hotkey,
        created_at=START_BLOCK,
        hyperparameters=hyperparameters,
        last_epoch_block=START_BLOCK,
        burn_rao=hyperparameters.burn_rao,
        burn_block=START_BLOCK,
        accounts={address: Account(free_rao=rao) for address, rao in accounts.items()},
        hotkey_owner={owner_hotkey: owner_coldkey},
        neurons=[owner],
    )


def _fill(
    connection: sqlite3.Connection, state: ChainState, block_time_s: float, idle_limit_s: float, now_ms: int
) -> None:
    for statement in filter(str.strip, TABLES.split(";")):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(
        "INSERT INTO settings VALUES (1, ?, ?, ?, ?)",
        (round(block_time_s * 1000), round(idle_limit_s * 1000), secrets.token_bytes(32), now_ms),
    )
    connection.execute("INSERT INTO anchors VALUES (?, ?)", (START_BLOCK, now_ms))
    connection.execute("INSERT INTO states VALUES (?, 1, 1, ?)", (START_BLOCK, encoded(state)))


def _require_netuid(path: Path, netuid: int) -> None:
    ledger = Ledger(path)
    try:
        found = ledger.pending().netuid
    finally:
        ledger.close()
    if found != netuid:
        raise SettingError("netuid", str(netuid), f"{found}, which the chain in {path} runs")
