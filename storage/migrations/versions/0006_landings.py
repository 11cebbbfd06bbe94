"""Weights that were set are followed for two tempos: what landed is compared with what was meant."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; weights that were set before are not followed."""
    op.create_table(
        "landings",
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("set_block", sa.BigInteger(), nullable=False),
        sa.Column("tempo_blocks", sa.Integer(), nullable=False),
        sa.Column("is_sealed", sa.Boolean(), nullable=False),
        sa.Column("seen_block", sa.BigInteger(), nullable=True),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("difference", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["epoch"], ["epochs.epoch"], name=op.f("fk_landings_epochs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_landings")),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("landings")
