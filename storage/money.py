"""The ledger of money in the state: double entry, append-only, integers. The sum over all entries is zero, always.

A transfer's name is its primary key, so that a retry moves nothing twice; whether a renter can pay is looked at in the
transaction that takes it, so that two charges can't spend one balance.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.errors import NotBalanced, ShortOfFunds
from storage.rental import Entry, Transfer
from storage.tables import entries, transfers
from storage.upserts import insert_into


class Money:
    """Reads balances, and moves money."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def post(self, transfer: Transfer, *, floor_micro_usd: int | None = None) -> bool:
        """Move the money once; False when a transfer of this name has moved it already.

        `floor_micro_usd`: whoever gives must have at least so much afterwards, else ShortOfFunds, and nothing has moved.
        """
        _check(transfer)
        with writing(self._engine) as connection:
            if floor_micro_usd is not None:
                _one_at_a_time(connection, (e.account for e in transfer.entries if e.micro_usd < 0))
            insert = (
                insert_into(connection, transfers)
                .values(row_of(transfer, "entries"))
                .on_conflict_do_nothing()
            )
            if connection.execute(insert).rowcount != 1:
                return False
            rows = [row_of(entry) | {"transfer_id": transfer.transfer_id} for entry in transfer.entries]
            connection.execute(sa.insert(entries), rows)
            if floor_micro_usd is not None:
                for entry in transfer.entries:
                    left = _balance(connection, entry.account)
                    if entry.micro_usd < 0 and left < floor_micro_usd:
                        raise ShortOfFunds(entry.account, left - entry.micro_usd, -entry.micro_usd)
            return True

    def balance(self, account: str) -> int:
        """What an account has, in micro-USD."""
        with reading(self._engine) as connection:
            return _balance(connection, account)

    def balances(self) -> dict[str, int]:
        """What every account has that ever had some: together they are 0."""
        query = sa.select(entries.c.account, sa.func.sum(entries.c.micro_usd)).group_by(entries.c.account)
        with reading(self._engine) as connection:
            return {str(account): int(total) for account, total in connection.execute(query)}

    def of_lease(self, lease_id: str) -> tuple[Transfer, ...]:
        """All transfers about a lease, oldest first: its bill."""
        query = sa.select(transfers).where(transfers.c.lease_id == lease_id)
        of_transfer = entries.c.transfer_id == sa.bindparam("transfer_id")
        sides = sa.select(entries).where(of_transfer).order_by(entries.c.account)
        with reading(self._engine) as connection:
            rows = (
                connection.execute(query.order_by(transfers.c.at, transfers.c.transfer_id)).mappings().all()
            )
            return tuple(
                record_of(
                    Transfer,
                    row,
                    entries=tuple(
                        record_of(Entry, side)
                        for side in connection.execute(sides, {"transfer_id": row["transfer_id"]}).mappings()
                    ),
                )
                for row in rows
            )

    def charged(self, lease_id: str, account: str) -> int:
        """What a lease's meterings have taken from an account so far, in micro-USD."""
        query = (
            sa.select(sa.func.coalesce(sa.func.sum(entries.c.micro_usd), 0))
            .join(transfers, transfers.c.transfer_id == entries.c.transfer_id)
            .where(
                transfers.c.lease_id == lease_id, transfers.c.kind == "METER", entries.c.account == account
            )
        )
        with reading(self._engine) as connection:
            return -int(connection.execute(query).scalar_one())


def _check(transfer: Transfer) -> None:
    total = sum(entry.micro_usd for entry in transfer.entries)
    accounts = [entry.account for entry in transfer.entries]
    if total or len(set(accounts)) != len(accounts) or not accounts:
        raise NotBalanced(transfer.transfer_id, total)


def _one_at_a_time(connection: sa.Connection, accounts: Iterable[str]) -> None:
    """Let no other transaction spend from these until this one ends; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        for account in sorted(accounts):
            key = sa.func.hashtextextended(account, 0)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _balance(connection: sa.Connection, account: str) -> int:
    query = sa.select(sa.func.coalesce(sa.func.sum(entries.c.micro_usd), 0)).where(
        entries.c.account == account
    )
    return int(connection.execute(query).scalar_one())
