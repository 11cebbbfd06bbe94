"""What renters keep with us: SSH keys and templates; and the operator's list of images that nobody may run."""

from __future__ import annotations

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.errors import TooMany
from storage.renter import BlockedImage, SshKey, Template
from storage.tables import blocked_images, ssh_keys, templates
from storage.upserts import insert_into, upsert

MAX_SSH_KEYS = 100
MAX_TEMPLATES = 100


class SshKeys:
    """The public keys of renters."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, key: SshKey) -> SshKey | None:
        """Keep it, and give what is kept; None when the renter has another key of this name. The same twice is one."""
        with writing(self._engine) as connection:
            _bound(connection, ssh_keys, key, "SSH keys", MAX_SSH_KEYS)
            insert = insert_into(connection, ssh_keys).values(row_of(key)).on_conflict_do_nothing()
            connection.execute(insert)
            query = sa.select(ssh_keys).where(_named(ssh_keys, key.renter_id, key.name))
            kept = record_of(SshKey, connection.execute(query).mappings().one())
            return kept if kept.fingerprint == key.fingerprint else None

    def all(self, renter_id: str) -> tuple[SshKey, ...]:
        """A renter's keys by name."""
        query = sa.select(ssh_keys).where(ssh_keys.c.renter_id == renter_id).order_by(ssh_keys.c.name)
        with reading(self._engine) as connection:
            return tuple(record_of(SshKey, row) for row in connection.execute(query).mappings())

    def drop(self, renter_id: str, name: str) -> bool:
        """Forget it; False when there is none of this name."""
        return _drop(self._engine, ssh_keys, renter_id, name)


class Templates:
    """The templates of renters."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, template: Template) -> bool:
        """Keep a new one; False when the renter has one of this name."""
        with writing(self._engine) as connection:
            _bound(connection, templates, template, "templates", MAX_TEMPLATES)
            insert = insert_into(connection, templates).values(row_of(template)).on_conflict_do_nothing()
            return connection.execute(insert).rowcount == 1

    def replace(self, template: Template) -> Template | None:
        """Let it stand in the place of the one of its name; None when there is none. Since when there is one stays."""
        is_it = _named(templates, template.renter_id, template.name)
        with writing(self._engine) as connection:
            change = sa.update(templates).where(is_it).values(row_of(template, "created_at"))
            if connection.execute(change).rowcount != 1:
                return None
            row = connection.execute(sa.select(templates).where(is_it)).mappings().one()
            return record_of(Template, row)

    def get(self, renter_id: str, name: str) -> Template | None:
        """One of a renter."""
        with reading(self._engine) as connection:
            query = sa.select(templates).where(_named(templates, renter_id, name))
            row = connection.execute(query).mappings().one_or_none()
            return None if row is None else record_of(Template, row)

    def all(self, renter_id: str) -> tuple[Template, ...]:
        """All of a renter, by name."""
        query = sa.select(templates).where(templates.c.renter_id == renter_id).order_by(templates.c.name)
        with reading(self._engine) as connection:
            return tuple(record_of(Template, row) for row in connection.execute(query).mappings())

    def drop(self, renter_id: str, name: str) -> bool:
        """Forget it; False when there is none of this name."""
        return _drop(self._engine, templates, renter_id, name)


class BlockedImages:
    """The images that nobody may run."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def block(self, image: BlockedImage) -> None:
        """Block what fits the pattern from now on; blocked twice, the newer reason counts."""
        with writing(self._engine) as connection:
            upsert(connection, blocked_images, [row_of(image)])

    def unblock(self, pattern: str) -> bool:
        """Allow it again; False when it was not blocked."""
        with writing(self._engine) as connection:
            gone = sa.delete(blocked_images).where(blocked_images.c.pattern == pattern)
            return connection.execute(gone).rowcount == 1

    def all(self) -> tuple[BlockedImage, ...]:
        """All of them, by pattern."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(blocked_images).order_by(blocked_images.c.pattern))
            return tuple(record_of(BlockedImage, row) for row in rows.mappings())


def _named(table: sa.Table, renter_id: str, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.renter_id == renter_id, table.c.name == name)


def _drop(engine: sa.Engine, table: sa.Table, renter_id: str, name: str) -> bool:
    with writing(engine) as connection:
        gone = sa.delete(table).where(_named(table, renter_id, name))
        return connection.execute(gone).rowcount == 1


def _bound(
    connection: sa.Connection, table: sa.Table, new: SshKey | Template, what: str, at_most: int
) -> None:
    """TooMany when the renter has as many as it may, beside one of this name."""
    others = sa.and_(table.c.renter_id == new.renter_id, table.c.name != new.name)
    count = connection.execute(sa.select(sa.func.count()).select_from(table).where(others)).scalar_one()
    if count >= at_most:
        raise TooMany(what, at_most)
