"""The ledger of money in the state: double entry, append-only, integers. The sum over all entries is zero, always.

A transfer's name is its primary key, so that a retry moves nothing twice; whether a renter can pay is looked at in the
transaction that takes it, so that two charges can't spend one balance. The database itself refuses to change a line.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.errors import NotBalanced, ShortOfFunds
from storage.rental import Entry, Transfer
from storage.statements import Books, Invoice, Line
from storage.tables import entries, transfers
from storage.upserts import insert_into

MAX_UNEVEN = 100


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

    def post_all(self, moved: Iterable[Transfer]) -> int:
        """Move the money of several, each once, all that is new or nothing; how many were new. No floor is kept."""
        wanted = tuple(moved)
        for transfer in wanted:
            _check(transfer)
        if not wanted:
            return 0
        with writing(self._engine) as connection:
            rows: list[dict[str, object]] = []
            count = 0
            for transfer in wanted:
                insert = insert_into(connection, transfers).values(row_of(transfer, "entries"))
                if connection.execute(insert.on_conflict_do_nothing()).rowcount == 1:
                    count += 1
                    rows += [row_of(e) | {"transfer_id": transfer.transfer_id} for e in transfer.entries]
            if rows:
                connection.execute(sa.insert(entries), rows)
        return count

    def has(self, transfer_id: str) -> bool:
        """Whether a transfer of this name has moved its money."""
        query = sa.select(sa.exists().where(transfers.c.transfer_id == transfer_id))
        with reading(self._engine) as connection:
            return bool(connection.execute(query).scalar_one())

    def transfer(self, transfer_id: str) -> Transfer | None:
        """A transfer by its name."""
        found = self._transfers(transfers.c.transfer_id == transfer_id)
        return found[0] if found else None

    def balance(self, account: str) -> int:
        """What an account has, in micro-USD."""
        with reading(self._engine) as connection:
            return _balance(connection, account)

    def rao(self, account: str) -> int:
        """What an account has, in rao of TAO."""
        with reading(self._engine) as connection:
            return _balance(connection, account, entries.c.rao)

    def balances(self) -> dict[str, int]:
        """What every account has that ever had some, in micro-USD: together they are 0."""
        query = sa.select(entries.c.account, sa.func.sum(entries.c.micro_usd)).group_by(entries.c.account)
        with reading(self._engine) as connection:
            return {str(account): int(total) for account, total in connection.execute(query)}

    def books(self) -> Books:
        """Every transfer and the whole, summed up anew from the lines."""
        sums = [sa.func.coalesce(sa.func.sum(c), 0) for c in (entries.c.micro_usd, entries.c.rao)]
        sides = sa.func.count(entries.c.account)
        of_transfer = transfers.outerjoin(entries, entries.c.transfer_id == transfers.c.transfer_id)
        uneven = (
            sa.select(transfers.c.transfer_id)
            .select_from(of_transfer)
            .group_by(transfers.c.transfer_id)
            .having(sa.or_(sums[0] != 0, sums[1] != 0, sides < 2))
            .order_by(transfers.c.transfer_id)
            .limit(MAX_UNEVEN)
        )
        with reading(self._engine) as connection:
            count = connection.execute(sa.select(sa.func.count()).select_from(transfers)).scalar_one()
            micro_usd, rao, lines = connection.execute(sa.select(*sums, sides)).one()
            names = tuple(connection.execute(uneven).scalars())
        return Books(int(count), int(lines), int(micro_usd), int(rao), names)

    def of_lease(self, lease_id: str) -> tuple[Transfer, ...]:
        """All transfers about a lease, oldest first: its bill, line by line."""
        return self._transfers(transfers.c.lease_id == lease_id)

    def _transfers(self, which: sa.ColumnElement[bool]) -> tuple[Transfer, ...]:
        query = (
            sa.select(transfers, entries.c.account, entries.c.micro_usd, entries.c.rao)
            .join(entries, entries.c.transfer_id == transfers.c.transfer_id)
            .where(which)
            .order_by(transfers.c.at, transfers.c.transfer_id, entries.c.account)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(
            record_of(Transfer, sides[0], entries=tuple(record_of(Entry, side) for side in sides))
            for sides in (list(own) for _, own in groupby(rows, lambda row: row["transfer_id"]))
        )

    def metered(self, lease_id: str) -> int:
        """What a lease's meterings have moved so far, in micro-USD."""
        query = _sum(entries.c.micro_usd).where(
            transfers.c.lease_id == lease_id, transfers.c.kind == "METER", entries.c.micro_usd > 0
        )
        with reading(self._engine) as connection:
            return int(connection.execute(query).scalar_one())

    def metered_by_lease(self, lease_ids: Iterable[str]) -> dict[str, int]:
        """The same of several leases; those that nothing was metered of are missing."""
        with reading(self._engine) as connection:
            return _metered(connection, lease_ids)

    def standing(
        self, accounts: Iterable[str], lease_ids: Iterable[str]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Balances of accounts, and what was metered of leases, at one moment: no charge is in one and not in the other."""
        names = list(accounts)
        query = sa.select(entries.c.account, sa.func.sum(entries.c.micro_usd))
        query = query.where(entries.c.account.in_(names)).group_by(entries.c.account)
        with reading(self._engine) as connection:
            balances = dict.fromkeys(names, 0)
            balances |= {str(account): int(total) for account, total in connection.execute(query)}
            return balances, _metered(connection, lease_ids)

    def left_in(self, prefix: str) -> dict[str, int]:
        """What accounts whose names begin so have, where it is not nothing."""
        total = sa.func.sum(entries.c.micro_usd)
        query = (
            sa.select(entries.c.account, total)
            .where(entries.c.account >= prefix, entries.c.account < prefix[:-1] + chr(ord(prefix[-1]) + 1))
            .group_by(entries.c.account)
            .having(total != 0)
        )
        with reading(self._engine) as connection:
            return {str(account): int(left) for account, left in connection.execute(query)}

    def bill(self, lease_id: str) -> tuple[Line, ...]:
        """What a lease moved, by account and kind."""
        with reading(self._engine) as connection:
            return _lines(connection, transfers.c.lease_id == lease_id)

    def invoice(self, account: str, since: datetime, until: datetime) -> Invoice:
        """What an account gave and got from `since` to before `until`, by lease and kind."""
        before = _sum(entries.c.micro_usd).where(entries.c.account == account, transfers.c.at < since)
        within = sa.and_(entries.c.account == account, transfers.c.at >= since, transfers.c.at < until)
        with reading(self._engine) as connection:
            opening = int(connection.execute(before).scalar_one())
            lines = _lines(connection, within)
        closing = opening + sum(line.micro_usd for line in lines)
        return Invoice(account, since, until, opening, closing, lines)


def _check(transfer: Transfer) -> None:
    micro_usd = sum(entry.micro_usd for entry in transfer.entries)
    rao = sum(entry.rao for entry in transfer.entries)
    accounts = [entry.account for entry in transfer.entries]
    if micro_usd or rao or len(set(accounts)) != len(accounts) or not accounts:
        raise NotBalanced(transfer.transfer_id, micro_usd, rao)


def _one_at_a_time(connection: sa.Connection, accounts: Iterable[str]) -> None:
    """Let no other transaction spend from these until this one ends; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        for account in sorted(accounts):
            key = sa.func.hashtextextended(account, 0)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _metered(connection: sa.Connection, lease_ids: Iterable[str]) -> dict[str, int]:
    query = (
        sa.select(transfers.c.lease_id, sa.func.sum(entries.c.micro_usd))
        .join(entries, entries.c.transfer_id == transfers.c.transfer_id)
        .where(
            transfers.c.lease_id.in_(list(lease_ids)), transfers.c.kind == "METER", entries.c.micro_usd > 0
        )
        .group_by(transfers.c.lease_id)
    )
    return {str(lease): int(total) for lease, total in connection.execute(query)}


def _balance(connection: sa.Connection, account: str, unit: sa.Column[int] = entries.c.micro_usd) -> int:
    query = sa.select(sa.func.coalesce(sa.func.sum(unit), 0)).where(entries.c.account == account)
    return int(connection.execute(query).scalar_one())


def _sum(unit: sa.Column[int]) -> sa.Select[tuple[int]]:
    """The sum over entries whose transfers are beside them."""
    total = sa.select(sa.func.coalesce(sa.func.sum(unit), 0))
    return total.select_from(entries).join(transfers, transfers.c.transfer_id == entries.c.transfer_id)


def _lines(connection: sa.Connection, which: sa.ColumnElement[bool]) -> tuple[Line, ...]:
    keys = (entries.c.account, transfers.c.lease_id, transfers.c.kind)
    query = (
        sa.select(
            *keys,
            # PostgreSQL's sums of bigints are numerics, which no record has.
            sa.cast(sa.func.sum(entries.c.micro_usd), sa.BigInteger).label("micro_usd"),
            sa.cast(sa.func.sum(entries.c.rao), sa.BigInteger).label("rao"),
            sa.func.count().label("transfers"),
            sa.func.min(transfers.c.at).label("first_at"),
            sa.func.max(transfers.c.at).label("last_at"),
        )
        .select_from(entries)
        .join(transfers, transfers.c.transfer_id == entries.c.transfer_id)
        .where(which)
        .group_by(*keys)
        .order_by(*keys)
    )
    return tuple(record_of(Line, row) for row in connection.execute(query).mappings())
