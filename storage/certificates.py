"""Proofs of leases' cards, kept whole: anybody can judge them again."""

from __future__ import annotations

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.rental import Certificate
from storage.tables import certificates
from storage.upserts import upsert


class Certificates:
    """The certificates as all processes see them."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def save(self, certificate: Certificate) -> None:
        """Keep it; one of the same attempt and occasion is replaced."""
        with writing(self._engine) as connection:
            upsert(connection, certificates, [row_of(certificate)])

    def of_lease(self, lease_id: str) -> tuple[Certificate, ...]:
        """All of a lease, newest first."""
        query = sa.select(certificates).where(certificates.c.lease_id == lease_id)
        order = (certificates.c.at.desc(), certificates.c.attempt.desc(), certificates.c.occasion)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(*order)).mappings()
            return tuple(record_of(Certificate, row) for row in rows)
