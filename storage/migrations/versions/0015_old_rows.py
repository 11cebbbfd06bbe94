"""What is old enough to be forgotten is found by its time."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TABLES = ("lease_events", "requests_seen")


def upgrade() -> None:
    """Make the indexes."""
    for name in TABLES:
        op.create_index(f"ix_{name}_at", name, ["at"])


def downgrade() -> None:
    """Drop them."""
    for name in TABLES:
        op.drop_index(f"ix_{name}_at", name)
