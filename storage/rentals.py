"""Leases in the state: every move is a compare-and-set on the lease's version, and holds or frees its cards with it.

A card is a row's primary key, so that no two leases can hold it, whatever races; a lease, its cards, what is told of the
move and the work that it asks for are written in one transaction, so that no crash leaves one without the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.errors import CardsTaken
from storage.lease_events import append
from storage.rental import Happening, Rental, RentalState, Work
from storage.tables import held_cards, rentals
from storage.upserts import insert_into
from storage.works import ask

OPEN = tuple(s.value for s in RentalState if s not in (RentalState.ENDED, RentalState.FAILED))


class Rentals:
    """The leases as all processes see them."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def request(self, rental: Rental, works: Iterable[Work] = ()) -> tuple[Rental, bool]:
        """Keep a new lease and its work; with a key that its renter has used before, the lease of that key, and False."""
        with writing(self._engine) as connection:
            insert = insert_into(connection, rentals).values(row_of(rental)).on_conflict_do_nothing()
            is_new = connection.execute(insert).rowcount == 1
            if is_new:
                append(connection, rental, rental.requested_at, [_came_to(rental)])
                ask(connection, works)
            by_key = sa.and_(
                rentals.c.renter_id == rental.renter_id,
                rentals.c.idempotency_key == rental.idempotency_key,
            )
            row = connection.execute(sa.select(rentals).where(by_key)).mappings().one()
            return record_of(Rental, row), is_new

    def move(
        self,
        before: Rental,
        after: Rental,
        happened: Iterable[Happening] = (),
        works: Iterable[Work] = (),
    ) -> bool:
        """Move a lease on if it still stands where `before` says; its cards are held or freed with it.

        A state that it comes to is an event; `happened` are others, `works` what is to be done now. False when somebody
        else has moved it. CardsTaken when another lease holds one of its cards. Either way nothing has changed.
        """
        with writing(self._engine) as connection:
            stands = sa.and_(rentals.c.lease_id == before.lease_id, rentals.c.version == before.version)
            if connection.execute(sa.update(rentals).where(stands).values(row_of(after))).rowcount != 1:
                return False
            wanted = _held_by(after)
            if wanted != _held_by(before):
                _free(connection, before.lease_id)
                _hold(connection, after, wanted)
            told = [_came_to(after)] if after.state is not before.state else []
            append(connection, after, after.moved_at, [*told, *happened])
            ask(connection, works)
            return True

    def get(self, lease_id: str) -> Rental | None:
        """A lease by its name."""
        with reading(self._engine) as connection:
            row = (
                connection.execute(sa.select(rentals).where(rentals.c.lease_id == lease_id))
                .mappings()
                .one_or_none()
            )
            return None if row is None else record_of(Rental, row)

    def open(self) -> tuple[Rental, ...]:
        """All leases that have not ended, oldest first: what a restart goes on with."""
        query = sa.select(rentals).where(rentals.c.state.in_(OPEN))
        return self._all(query.order_by(rentals.c.requested_at, rentals.c.lease_id))

    def of_renter(self, renter_id: str, newest: int = 100) -> tuple[Rental, ...]:
        """A renter's newest leases, newest first."""
        query = sa.select(rentals).where(rentals.c.renter_id == renter_id)
        order = (rentals.c.requested_at.desc(), rentals.c.lease_id.desc())
        return self._all(query.order_by(*order).limit(newest))

    def of_key(self, renter_id: str, idempotency_key: str) -> Rental | None:
        """The lease that a renter's key has made; None when it has made none yet."""
        query = sa.select(rentals).where(
            rentals.c.renter_id == renter_id, rentals.c.idempotency_key == idempotency_key
        )
        found = self._all(query)
        return found[0] if found else None

    def page(
        self,
        renter_id: str,
        limit: int,
        states: Iterable[RentalState] = (),
        before: tuple[datetime, str] | None = None,
    ) -> tuple[Rental, ...]:
        """A renter's leases, newest first, in these states (none: in any), older than `before`: when and which."""
        query = sa.select(rentals).where(rentals.c.renter_id == renter_id)
        if wanted := [state.value for state in states]:
            query = query.where(rentals.c.state.in_(wanted))
        if before is not None:
            at, lease_id = before
            is_older = sa.or_(
                rentals.c.requested_at < at,
                sa.and_(rentals.c.requested_at == at, rentals.c.lease_id < lease_id),
            )
            query = query.where(is_older)
        order = (rentals.c.requested_at.desc(), rentals.c.lease_id.desc())
        return self._all(query.order_by(*order).limit(limit))

    def micro_usd_per_hour(self) -> int:
        """What all active leases pay together."""
        total = sa.func.coalesce(sa.func.sum(rentals.c.micro_usd_per_hour), 0)
        query = sa.select(total).where(rentals.c.state == RentalState.ACTIVE.value)
        with reading(self._engine) as connection:
            return int(connection.execute(query).scalar_one())

    def of_machine(self, executor_key: str) -> tuple[Rental, ...]:
        """All open leases of a machine."""
        query = sa.select(rentals).where(rentals.c.executor_key == executor_key, rentals.c.state.in_(OPEN))
        return self._all(query.order_by(rentals.c.requested_at, rentals.c.lease_id))

    def on_machines(self, executor_keys: Sequence[str]) -> tuple[Rental, ...]:
        """All open leases of these machines, the oldest first."""
        query = sa.select(rentals).where(rentals.c.executor_key.in_(executor_keys), rentals.c.state.in_(OPEN))
        return self._all(query.order_by(rentals.c.requested_at, rentals.c.lease_id))

    def machines_since(self, moment: datetime) -> Mapping[str, str]:
        """The machines of all leases that have moved since, tried and let go or not, each with the lease that moved last."""
        columns = (rentals.c.lease_id, rentals.c.executor_key, rentals.c.tried)
        query = sa.select(*columns).where(rentals.c.moved_at >= moment).order_by(rentals.c.moved_at)
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return {
            key: str(row.lease_id)
            for row in rows
            for key in (*json.loads(row.tried), str(row.executor_key))
            if key
        }

    def held(self) -> Mapping[str, str]:
        """The lease that holds a card, by the card's UUID."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(held_cards.c.card_uuid, held_cards.c.lease_id))
            return {str(card): str(lease) for card, lease in rows}

    def _all(self, query: sa.Select[tuple[object, ...]]) -> tuple[Rental, ...]:
        with reading(self._engine) as connection:
            return tuple(record_of(Rental, row) for row in connection.execute(query).mappings())


def _held_by(rental: Rental) -> frozenset[str]:
    return frozenset(rental.card_uuids) if rental.is_holding else frozenset()


def _came_to(rental: Rental) -> Happening:
    return Happening(rental.state.value.upper(), rental.reason)


def _free(connection: sa.Connection, lease_id: str) -> None:
    connection.execute(sa.delete(held_cards).where(held_cards.c.lease_id == lease_id))


def _hold(connection: sa.Connection, rental: Rental, card_uuids: Iterable[str]) -> None:
    for card_uuid in sorted(card_uuids):
        row = {"card_uuid": card_uuid, "lease_id": rental.lease_id, "executor_key": rental.executor_key}
        insert = insert_into(connection, held_cards).values(row).on_conflict_do_nothing()
        if connection.execute(insert).rowcount != 1:
            raise CardsTaken(rental.executor_key, card_uuid)
