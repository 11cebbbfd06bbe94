"""Webhooks and the outbox of their deliveries: each event of a renter is put to each of its webhooks once.

An event becomes deliveries in the transaction that moves the webhook's cursor past it, so that no crash loses or doubles
one; sending one twice is possible (the answer can be lost), which is what its name is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.errors import TooMany
from storage.renter import Delivery, DeliveryState, Webhook
from storage.tables import deliveries, webhooks
from storage.upserts import insert_into

MAX_WEBHOOKS = 20


class Webhooks:
    """The addresses of renters, and what is on its way to them."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, webhook: Webhook) -> None:
        """Keep a new one; TooMany when its renter has as many as it may."""
        with writing(self._engine) as connection:
            mine = webhooks.c.renter_id == webhook.renter_id
            count = connection.execute(sa.select(sa.func.count()).select_from(webhooks).where(mine))
            if count.scalar_one() >= MAX_WEBHOOKS:
                raise TooMany("webhooks", MAX_WEBHOOKS)
            connection.execute(sa.insert(webhooks).values(row_of(webhook)))

    def get(self, renter_id: str, webhook_id: str) -> Webhook | None:
        """One of a renter."""
        is_it = sa.and_(webhooks.c.renter_id == renter_id, webhooks.c.webhook_id == webhook_id)
        found = self._webhooks(sa.select(webhooks).where(is_it))
        return found[0] if found else None

    def of_renter(self, renter_id: str) -> tuple[Webhook, ...]:
        """All of a renter, oldest first."""
        order = (webhooks.c.created_at, webhooks.c.webhook_id)
        return self._webhooks(sa.select(webhooks).where(webhooks.c.renter_id == renter_id).order_by(*order))

    def enabled(self) -> tuple[Webhook, ...]:
        """Everybody's that are told something."""
        query = sa.select(webhooks).where(webhooks.c.disabled_at.is_(None))
        return self._webhooks(query.order_by(webhooks.c.webhook_id))

    def change(self, webhook: Webhook, *, after_sequence: int | None = None) -> bool:
        """Take its address, kinds, secret and whether it is disabled; False when it is gone.

        `after_sequence`: of one that is enabled again, the newest event: what happened meanwhile is not told.
        """
        values = row_of(webhook, "webhook_id", "renter_id", "created_at", "after_sequence")
        if after_sequence is not None:
            values["after_sequence"] = after_sequence
        is_it = sa.and_(
            webhooks.c.webhook_id == webhook.webhook_id, webhooks.c.renter_id == webhook.renter_id
        )
        with writing(self._engine) as connection:
            return connection.execute(sa.update(webhooks).where(is_it).values(values)).rowcount == 1

    def drop(self, renter_id: str, webhook_id: str) -> bool:
        """Forget it and its deliveries; False when there is none of this name."""
        is_it = sa.and_(webhooks.c.renter_id == renter_id, webhooks.c.webhook_id == webhook_id)
        with writing(self._engine) as connection:
            theirs = sa.select(webhooks.c.webhook_id).where(is_it)
            connection.execute(sa.delete(deliveries).where(deliveries.c.webhook_id.in_(theirs)))
            return connection.execute(sa.delete(webhooks).where(is_it)).rowcount == 1

    # --- the outbox ----------------------------------------------------------------------------------

    def put(self, webhook: Webhook, made: Sequence[Delivery], after_sequence: int) -> bool:
        """Add these deliveries and move the webhook's cursor; False when somebody else has moved it: nothing is added."""
        stands = sa.and_(
            webhooks.c.webhook_id == webhook.webhook_id,
            webhooks.c.after_sequence == webhook.after_sequence,
            webhooks.c.disabled_at.is_(None),
        )
        with writing(self._engine) as connection:
            move = sa.update(webhooks).where(stands).values(after_sequence=after_sequence)
            if connection.execute(move).rowcount != 1:
                return False
            if made:
                insert = insert_into(connection, deliveries).on_conflict_do_nothing()
                connection.execute(insert, [row_of(delivery) for delivery in made])
            return True

    def due(self, now: datetime, limit: int) -> tuple[Delivery, ...]:
        """Deliveries whose time has come, the longest waiting first."""
        waits = sa.and_(deliveries.c.state == DeliveryState.WAITING.value, deliveries.c.next_at <= now)
        query = sa.select(deliveries).where(waits).order_by(deliveries.c.next_at, deliveries.c.delivery_id)
        return self._deliveries(query.limit(limit))

    def take(self, delivery: Delivery, until: datetime) -> bool:
        """Have it to oneself until then; False when somebody else has taken or settled it."""
        stands = sa.and_(
            deliveries.c.delivery_id == delivery.delivery_id,
            deliveries.c.state == DeliveryState.WAITING.value,
            deliveries.c.attempts == delivery.attempts,
            deliveries.c.next_at == delivery.next_at,
        )
        with writing(self._engine) as connection:
            taken = sa.update(deliveries).where(stands).values(next_at=until)
            return connection.execute(taken).rowcount == 1

    def settle(self, before: Delivery, after: Delivery) -> bool:
        """Write down an attempt; False when another attempt was written down since."""
        stands = sa.and_(
            deliveries.c.delivery_id == before.delivery_id,
            deliveries.c.attempts == before.attempts,
            deliveries.c.state == before.state.value,
        )
        with writing(self._engine) as connection:
            done = connection.execute(sa.update(deliveries).where(stands).values(row_of(after))).rowcount == 1
            if done and after.state is DeliveryState.DELIVERED:
                works = sa.update(webhooks).where(webhooks.c.webhook_id == after.webhook_id)
                connection.execute(works.values(failing_since=None))
            if done and after.fault:
                is_it = sa.and_(webhooks.c.webhook_id == after.webhook_id, webhooks.c.failing_since.is_(None))
                connection.execute(sa.update(webhooks).where(is_it).values(failing_since=before.created_at))
            return done

    def disable_failing(self, since: datetime, now: datetime) -> tuple[str, ...]:
        """Disable those that have failed since before `since`, and give up what is on its way; their names."""
        fails = sa.and_(webhooks.c.disabled_at.is_(None), webhooks.c.failing_since < since)
        with writing(self._engine) as connection:
            names = tuple(
                str(name) for (name,) in connection.execute(sa.select(webhooks.c.webhook_id).where(fails))
            )
            is_theirs = deliveries.c.webhook_id.in_(names)
            waits = sa.and_(is_theirs, deliveries.c.state == DeliveryState.WAITING.value)
            give_up = {"state": DeliveryState.GIVEN_UP.value, "ended_at": now}
            connection.execute(sa.update(deliveries).where(waits).values(give_up))
            connection.execute(sa.update(webhooks).where(fails).values(disabled_at=now))
            return names

    def deliveries(self, webhook_id: str, limit: int, before: str = "") -> tuple[Delivery, ...]:
        """The newest deliveries of a webhook, newest first; `before`: only those older than this one."""
        query = sa.select(deliveries).where(deliveries.c.webhook_id == webhook_id)
        if before:
            query = query.where(deliveries.c.delivery_id < before)
        return self._deliveries(query.order_by(deliveries.c.delivery_id.desc()).limit(limit))

    def forget(self, before: datetime) -> int:
        """Drop what has ended before this moment; how many."""
        ended = sa.delete(deliveries).where(deliveries.c.ended_at < before)
        with writing(self._engine) as connection:
            return connection.execute(ended).rowcount

    # --- helpers -------------------------------------------------------------------------------------

    def _webhooks(self, query: sa.Select[Any]) -> tuple[Webhook, ...]:
        with reading(self._engine) as connection:
            return tuple(record_of(Webhook, row) for row in connection.execute(query).mappings())

    def _deliveries(self, query: sa.Select[Any]) -> tuple[Delivery, ...]:
        with reading(self._engine) as connection:
            return tuple(record_of(Delivery, row) for row in connection.execute(query).mappings())


def delivery_id(webhook_id: str, sequence: int) -> str:
    """The name of an event's delivery to a webhook: names of one webhook sort as its events do."""
    return f"{webhook_id}-{sequence:012}"
