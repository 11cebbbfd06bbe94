"""Who pulled of a private repository is found by the repository, however much has happened."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

INDEX = "ix_lease_events_logins"


def upgrade() -> None:
    """Make an index of these few events alone."""
    of_logins = sa.text("kind = 'REGISTRY_LOGIN'")
    op.create_index(
        INDEX,
        "lease_events",
        ["message", "renter_id"],
        sqlite_where=of_logins,
        postgresql_where=of_logins,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index(INDEX, "lease_events")
