"""A new key for everything that is sealed in the database: written beside the old one, used in one transaction, then put in its place.

Killed at any line, it is begun again and ends what it began: what is under the new key already opens with it, too. No process
may work with the old key meanwhile.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from storage import tables
from storage.database import writing
from storage.errors import SealBroken
from storage.sealing import Sealer, key_of

SEALED = "sealed"


def reseal(engine: sa.Engine, path: Path) -> int:
    """Seal everything anew; how many things. SealBroken, with nothing changed, when one opens with neither key."""
    draft = path.with_name(f"{path.name}.new")
    Sealer.of(path)
    Sealer.of(draft)
    keys = MultiFernet([Fernet(key_of(draft)), Fernet(key_of(path))])
    with writing(engine) as connection:
        count = sum(_reseal(connection, table, keys) for table in sealing_tables())
    draft.replace(path)
    return count


def sealing_tables() -> tuple[sa.Table, ...]:
    """Those with secrets in them."""
    found = tables.metadata.sorted_tables
    return tuple(t for t in found if SEALED in t.c and isinstance(t.c[SEALED].type, sa.LargeBinary))


def _reseal(connection: sa.Connection, table: sa.Table, keys: MultiFernet) -> int:
    names = [column.name for column in table.primary_key.columns]
    rows = connection.execute(sa.select(*(table.c[n] for n in names), table.c[SEALED])).mappings().all()
    count = 0
    for row in rows:
        if not row[SEALED]:
            continue
        try:
            anew = keys.rotate(bytes(row[SEALED]))
        except InvalidToken:
            raise SealBroken(f"{table.name} {' '.join(str(row[n]) for n in names)}") from None
        named = (table.c[n] == row[n] for n in names)
        connection.execute(sa.update(table).where(*named).values({SEALED: anew}))
        count += 1
    return count
