"""Renters' volumes: which machine each is on, and the one lease that may write to it."""

from __future__ import annotations

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.errors import VolumeBusy
from storage.rental import LeftVolume, Volume, VolumeState
from storage.tables import left_volumes, volumes
from storage.upserts import insert_into


class Volumes:
    """The volumes as all processes see them."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def make(self, volume: Volume) -> tuple[Volume, bool]:
        """Keep a new volume; the one of that name, and False, when its renter has one."""
        with writing(self._engine) as connection:
            insert = insert_into(connection, volumes).values(row_of(volume)).on_conflict_do_nothing()
            is_new = connection.execute(insert).rowcount == 1
            row = (
                connection.execute(sa.select(volumes).where(_named(volume.renter_id, volume.name)))
                .mappings()
                .one()
            )
            return record_of(Volume, row), is_new

    def attach(self, renter_id: str, name: str, lease_id: str, executor_key: str) -> Volume:
        """Give it to a lease on a machine; again is harmless.

        VolumeBusy when there is none, another lease has it, it is on another machine, or it is to be wiped.
        """
        free = sa.and_(
            _named(renter_id, name),
            volumes.c.lease_id.in_(("", lease_id)),
            sa.or_(
                volumes.c.executor_key.in_(("", executor_key)),
                volumes.c.state == VolumeState.NEW.value,  # this lease had it meant for a machine that failed
            ),
            volumes.c.state != VolumeState.DOOMED.value,
        )
        with writing(self._engine) as connection:
            given = {"lease_id": lease_id, "executor_key": executor_key}
            done = connection.execute(sa.update(volumes).where(free).values(given))
            row = connection.execute(sa.select(volumes).where(_named(renter_id, name))).mappings().first()
            found = None if row is None else record_of(Volume, row)
            if done.rowcount != 1 or found is None:
                raise VolumeBusy(name, _why_busy(found, lease_id, executor_key))
            here = _left(LeftVolume(renter_id, name, executor_key))
            connection.execute(sa.delete(left_volumes).where(here))
            return found

    def keep(self, lease_id: str) -> None:
        """The lease's volumes are on its machine now: they are not made again elsewhere."""
        self._update(sa.and_(volumes.c.lease_id == lease_id, volumes.c.state == "new"), state="kept")

    def detach(self, lease_id: str) -> None:
        """Take them from a lease; those that were made on no machine are free for any."""
        with writing(self._engine) as connection:
            _detach(connection, lease_id)

    def leave(self, lease_id: str) -> None:
        """The same, where new ones could not be removed from the lease's machine: what is there is kept in mind."""
        with writing(self._engine) as connection:
            there = sa.select(volumes.c.renter_id, volumes.c.name, volumes.c.executor_key).where(
                _new_of(lease_id), volumes.c.executor_key != ""
            )
            for row in connection.execute(there).mappings().all():
                insert = insert_into(connection, left_volumes).values(**row).on_conflict_do_nothing()
                connection.execute(insert)
            _detach(connection, lease_id)

    def left_on(self, executor_key: str) -> tuple[LeftVolume, ...]:
        """What is to be wiped on a machine beside doomed volumes: never what a volume of that name has there now."""
        has_it = sa.exists().where(
            volumes.c.renter_id == left_volumes.c.renter_id,
            volumes.c.name == left_volumes.c.name,
            volumes.c.executor_key == left_volumes.c.executor_key,
        )
        query = sa.select(left_volumes).where(left_volumes.c.executor_key == executor_key, ~has_it)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(left_volumes.c.renter_id, left_volumes.c.name))
            return tuple(record_of(LeftVolume, row) for row in rows.mappings())

    def machines_with_left(self) -> frozenset[str]:
        """On which something is left."""
        with reading(self._engine) as connection:
            return frozenset(connection.execute(sa.select(left_volumes.c.executor_key)).scalars())

    def gone(self, left: LeftVolume) -> None:
        """Nothing is left of it there."""
        with writing(self._engine) as connection:
            connection.execute(sa.delete(left_volumes).where(_left(left)))

    def doom(self, renter_id: str, name: str) -> bool:
        """Have it wiped; False when there is none, or a lease has it."""
        free = sa.and_(_named(renter_id, name), volumes.c.lease_id == "")
        return self._update(free, state=VolumeState.DOOMED.value) == 1

    def measured(self, renter_id: str, name: str, size_bytes: int) -> None:
        """Keep its size."""
        self._update(_named(renter_id, name), size_bytes=size_bytes)

    def wiped(self, renter_id: str, name: str) -> bool:
        """Forget one that is to be wiped, or that does not outlive its lease, and is gone from its machine."""
        over = sa.or_(volumes.c.state == VolumeState.DOOMED.value, volumes.c.is_kept.is_(False))
        with writing(self._engine) as connection:
            gone = connection.execute(sa.delete(volumes).where(_named(renter_id, name), over))
            return gone.rowcount == 1

    def get(self, renter_id: str, name: str) -> Volume | None:
        """A renter's volume by its name."""
        found = self._all(_named(renter_id, name))
        return found[0] if found else None

    def of_renter(self, renter_id: str) -> tuple[Volume, ...]:
        """All of a renter, by name."""
        return self._all(volumes.c.renter_id == renter_id)

    def of_lease(self, lease_id: str) -> tuple[Volume, ...]:
        """Those that a lease has mounted."""
        return self._all(volumes.c.lease_id == lease_id)

    def doomed(self) -> tuple[Volume, ...]:
        """Those that are to be wiped."""
        return self._all(volumes.c.state == VolumeState.DOOMED.value)

    def _all(self, where: sa.ColumnElement[bool]) -> tuple[Volume, ...]:
        query = sa.select(volumes).where(where).order_by(volumes.c.renter_id, volumes.c.name)
        with reading(self._engine) as connection:
            return tuple(record_of(Volume, row) for row in connection.execute(query).mappings())

    def _update(self, where: sa.ColumnElement[bool], **values: object) -> int:
        with writing(self._engine) as connection:
            return int(connection.execute(sa.update(volumes).where(where).values(values)).rowcount)


def _detach(connection: sa.Connection, lease_id: str) -> None:
    connection.execute(sa.update(volumes).where(_new_of(lease_id)).values(executor_key=""))
    connection.execute(sa.update(volumes).where(volumes.c.lease_id == lease_id).values(lease_id=""))


def _new_of(lease_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(volumes.c.lease_id == lease_id, volumes.c.state == VolumeState.NEW.value)


def _left(left: LeftVolume) -> sa.ColumnElement[bool]:
    return sa.and_(
        left_volumes.c.renter_id == left.renter_id,
        left_volumes.c.name == left.name,
        left_volumes.c.executor_key == left.executor_key,
    )


def _named(renter_id: str, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(volumes.c.renter_id == renter_id, volumes.c.name == name)


def _why_busy(found: Volume | None, lease_id: str, executor_key: str) -> str:
    if found is None:
        return "there is no volume of this name"
    if found.state is VolumeState.DOOMED:
        return "it is being wiped"
    if found.lease_id not in ("", lease_id):
        return f"lease {found.lease_id} has it"
    return f"it is on {found.executor_key}, not on {executor_key}"
