"""What passed proofs measured, summed up by machine and day: the bounds of a model come from it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; the next epoch fills them from the Parquet history."""
    op.create_table(
        "proved_epochs",
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_proved_epochs")),
    )
    op.create_table(
        "proved_days",
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("executor_key", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("nominal_mib", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("proofs", sa.Integer(), nullable=False),
        sa.Column("sum_kb_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "executor_key", "model", "nominal_mib", name=op.f("pk_proved_days")),
    )


def downgrade() -> None:
    """Drop them: the history still has all that they say."""
    op.drop_table("proved_days")
    op.drop_table("proved_epochs")
