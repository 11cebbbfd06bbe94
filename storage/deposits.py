"""Transfers to the deposit address as the chain has them, and how far its blocks have been read.

A block's transfers and the mark behind it are kept in one transaction: whatever dies, each transfer is kept once, and no
block is left out. Blocks that the node can't tell any more stay on a list and are asked for again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.tables import chain_deposits, deposit_marks, deposit_memos, unread_blocks
from storage.upserts import insert_into


class DepositState(StrEnum):
    """Where a transfer stands."""

    SEEN = "seen"
    """Final on the chain; not yet anybody's money."""
    UNCLAIMED = "unclaimed"
    """Looked at, and nobody's, or worth nothing: it waits for a memo to be known, or for an operator."""
    CREDITED = "credited"


@dataclass(frozen=True, slots=True)
class ChainDeposit:
    """A transfer to the deposit address, once it is final."""

    extrinsic_id: str
    """BLOCK-INDEX: its name for ever."""
    block: int
    at: datetime
    """Of its block."""
    sender: str
    rao: int
    memos: tuple[str, ...]
    """blake2b-256 of each remark of the same extrinsic, 64 hex digits."""
    state: DepositState = DepositState.SEEN
    renter_id: str = ""
    """Empty: nobody's yet."""
    micro_usd: int = 0
    """What was credited."""
    usd_per_tao: float = 0.0
    """At this price."""
    waits_for: str = ""
    """Why it is not credited yet, in words."""


class Deposits:
    """Reads and writes them."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def mark(self, place: str) -> int | None:
        """The last block that was read for this address (`network/address`); None: none yet."""
        query = sa.select(deposit_marks.c.block).where(deposit_marks.c.place == place)
        with reading(self._engine) as connection:
            found = connection.execute(query).scalar_one_or_none()
            return None if found is None else int(found)

    def advance(
        self,
        place: str,
        before: int | None,
        through: int,
        found: Iterable[ChainDeposit],
        unread: Iterable[int] = (),
    ) -> bool:
        """Keep what blocks after `before` through `through` had; False when another has read on meanwhile."""
        with writing(self._engine) as connection:
            if before is None:
                insert = insert_into(connection, deposit_marks).values(place=place, block=through)
                changed = connection.execute(insert.on_conflict_do_nothing()).rowcount
            else:
                stands = sa.and_(deposit_marks.c.place == place, deposit_marks.c.block == before)
                changed = connection.execute(
                    sa.update(deposit_marks).where(stands).values(block=through)
                ).rowcount
            if changed != 1:
                return False
            _keep(connection, found)
            for block in unread:
                row = {"place": place, "block": block}
                connection.execute(
                    insert_into(connection, unread_blocks).values(row).on_conflict_do_nothing()
                )
            return True

    def unread(self, place: str, limit: int = 16) -> tuple[int, ...]:
        """Blocks that could not be read, the oldest first."""
        query = sa.select(unread_blocks.c.block).where(unread_blocks.c.place == place)
        with reading(self._engine) as connection:
            return tuple(connection.execute(query.order_by(unread_blocks.c.block).limit(limit)).scalars())

    def read_late(self, place: str, block: int, found: Iterable[ChainDeposit]) -> None:
        """Keep what one of them had after all, and take it off the list."""
        gone = sa.delete(unread_blocks).where(unread_blocks.c.place == place, unread_blocks.c.block == block)
        with writing(self._engine) as connection:
            connection.execute(gone)
            _keep(connection, found)

    def open(self, limit: int = 1_000) -> tuple[ChainDeposit, ...]:
        """Those that are to be credited, the oldest first."""
        return self._some(chain_deposits.c.state == DepositState.SEEN.value, limit)

    def unclaimed(self, limit: int = 1_000) -> tuple[ChainDeposit, ...]:
        """Those that wait for a renter, the oldest first."""
        return self._some(chain_deposits.c.state == DepositState.UNCLAIMED.value, limit)

    def of_renter(self, renter_id: str, limit: int = 100) -> tuple[ChainDeposit, ...]:
        """A renter's, the oldest first."""
        return self._some(chain_deposits.c.renter_id == renter_id, limit)

    def all(self, limit: int = 1_000) -> tuple[ChainDeposit, ...]:
        """All of them, the oldest first."""
        return self._some(sa.true(), limit)

    def get(self, extrinsic_id: str) -> ChainDeposit | None:
        """One by its extrinsic."""
        found = self._some(chain_deposits.c.extrinsic_id == extrinsic_id, 1)
        return found[0] if found else None

    def change(self, before: ChainDeposit, after: ChainDeposit) -> bool:
        """Replace it if it still stands as `before` says."""
        stands = sa.and_(
            chain_deposits.c.extrinsic_id == before.extrinsic_id,
            chain_deposits.c.state == before.state.value,
            chain_deposits.c.renter_id == before.renter_id,
        )
        with writing(self._engine) as connection:
            change = sa.update(chain_deposits).where(stands).values(row_of(after))
            return connection.execute(change).rowcount == 1

    def know_memo(self, memo_blake2b: str, renter_id: str) -> None:
        """Remember whose memo this is; a memo is one renter's. What came with it before is looked at again."""
        row = {"memo_blake2b": memo_blake2b, "renter_id": renter_id}
        waits = sa.and_(
            chain_deposits.c.state == DepositState.UNCLAIMED.value,
            chain_deposits.c.renter_id == "",
            chain_deposits.c.memos.contains(memo_blake2b, autoescape=True),
        )
        with writing(self._engine) as connection:
            insert = insert_into(connection, deposit_memos).values(row).on_conflict_do_nothing()
            if connection.execute(insert).rowcount == 1:
                again = sa.update(chain_deposits).where(waits).values(state=DepositState.SEEN.value)
                connection.execute(again)

    def renters(self, memos: Iterable[str]) -> frozenset[str]:
        """Whose memos these are; unknown ones are nobody's."""
        query = sa.select(deposit_memos.c.renter_id).where(deposit_memos.c.memo_blake2b.in_(list(memos)))
        with reading(self._engine) as connection:
            return frozenset(connection.execute(query).scalars())

    def _some(self, which: sa.ColumnElement[bool], limit: int) -> tuple[ChainDeposit, ...]:
        query = sa.select(chain_deposits).where(which)
        order = (chain_deposits.c.block, chain_deposits.c.extrinsic_id)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(*order).limit(limit)).mappings()
            return tuple(record_of(ChainDeposit, row) for row in rows)


def _keep(connection: sa.Connection, found: Iterable[ChainDeposit]) -> None:
    for deposit in found:
        insert = insert_into(connection, chain_deposits).values(row_of(deposit))
        connection.execute(insert.on_conflict_do_nothing())
