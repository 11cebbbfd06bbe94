"""Backups of leases' data: what each file holds, and whether it is whole."""

from __future__ import annotations

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.rental import Backup
from storage.tables import backups
from storage.upserts import upsert


class Backups:
    """The backups as all processes see them."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def save(self, backup: Backup) -> None:
        """Keep it, or how it stands now."""
        with writing(self._engine) as connection:
            upsert(connection, backups, [row_of(backup)])

    def get(self, backup_id: str) -> Backup | None:
        """A backup by its name."""
        found = self._all(backups.c.backup_id == backup_id)
        return found[0] if found else None

    def of_renter(self, renter_id: str) -> tuple[Backup, ...]:
        """All of a renter, newest first."""
        return self._all(backups.c.renter_id == renter_id)

    def forget(self, renter_id: str, backup_id: str) -> bool:
        """Drop the row of one whose file is gone."""
        mine = sa.and_(backups.c.renter_id == renter_id, backups.c.backup_id == backup_id)
        with writing(self._engine) as connection:
            return connection.execute(sa.delete(backups).where(mine)).rowcount == 1

    def _all(self, where: sa.ColumnElement[bool]) -> tuple[Backup, ...]:
        query = sa.select(backups).where(where).order_by(backups.c.at.desc(), backups.c.backup_id)
        with reading(self._engine) as connection:
            return tuple(record_of(Backup, row) for row in connection.execute(query).mappings())
