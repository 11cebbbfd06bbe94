"""How long each step with a machine took, and machines that an epoch did not come to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_TIMED = ("reports", "verdicts")


def upgrade() -> None:
    """Add the columns; what was found before has no steps."""
    for table in _TIMED:
        op.add_column(table, sa.Column("steps", sa.Text(), server_default=sa.text("'[]'"), nullable=False))
    op.add_column(
        "executor_records",
        sa.Column("carried_over", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )


def downgrade() -> None:
    """Without them."""
    op.drop_column("executor_records", "carried_over")
    for table in _TIMED:
        op.drop_column(table, "steps")
