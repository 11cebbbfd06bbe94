"""The market's numbers in the state: the last good of each, and what every source said when it was last asked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.records import PORTION, PriceAnswer, Quote
from storage.tables import price_answers, quotes_seen
from storage.upserts import insert_into, upsert


class PriceStore:
    """Reads and writes them, each in one short transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def answers(self) -> tuple[PriceAnswer, ...]:
        """What each source said, by its name."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(price_answers).order_by(price_answers.c.source)).mappings()
            return tuple(record_of(PriceAnswer, row) for row in rows)

    def seen(self) -> tuple[Quote, ...]:
        """The last good of every number, by kind and name."""
        query = sa.select(quotes_seen).order_by(quotes_seen.c.kind, quotes_seen.c.name)
        with reading(self._engine) as connection:
            return tuple(record_of(Quote, row) for row in connection.execute(query).mappings())

    def save(self, answers: Iterable[PriceAnswer], agreed: Iterable[Quote]) -> None:
        """What was just heard and what it comes to, all of it or nothing.

        An older number replaces no newer one, but one of a later moment than any asking: a clock was ahead then.
        """
        answers = tuple(answers)
        latest = max((answer.asked_at for answer in answers), default=None)
        with writing(self._engine) as connection:
            for answer in answers:
                _save_answer(connection, answer)
            for quote in agreed:
                insert = insert_into(connection, quotes_seen).values(row_of(quote))
                newer = {name: insert.excluded[name] for name in ("value", "source", "as_of")}
                is_older = quotes_seen.c.as_of <= insert.excluded.as_of
                is_ahead = sa.false() if latest is None else quotes_seen.c.as_of > latest
                connection.execute(
                    insert.on_conflict_do_update(
                        index_elements=["kind", "name"],
                        set_=newer,
                        where=sa.or_(is_older, is_ahead),
                    )
                )

    def move_portions(self, stepped_at: datetime | None, portions: Iterable[Quote]) -> bool:
        """Replace all portions whose last step was at `stepped_at` (None: there are none); False when it was not."""
        with writing(self._engine) as connection:
            kept = sa.select(quotes_seen.c.as_of).where(quotes_seen.c.kind == PORTION).with_for_update()
            if set(connection.execute(kept).scalars()) != ({stepped_at} if stepped_at else set()):
                return False
            connection.execute(sa.delete(quotes_seen).where(quotes_seen.c.kind == PORTION))
            upsert(connection, quotes_seen, [row_of(portion) for portion in portions])
            return True


def _save_answer(connection: sa.Connection, answer: PriceAnswer) -> None:
    """Of a source that is away, the fault beside what it said before."""
    row = row_of(answer)
    insert = insert_into(connection, price_answers).values(row)
    said = ("asked_at", "fault") if answer.fault else ("asked_at", "fault", "quotes")
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["source"], set_={name: insert.excluded[name] for name in said}
        )
    )
