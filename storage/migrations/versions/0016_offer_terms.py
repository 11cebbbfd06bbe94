"""What miners want of their machines' leases beside the price: none from a moment on, none of too few cards."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table: of earlier epochs nothing was said."""
    op.create_table(
        "offer_terms",
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("executor_key", sa.Text(), nullable=False),
        sa.Column("paused_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("min_cards", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["epoch", "executor_key"],
            ["executors.epoch", "executors.executor_key"],
            name=op.f("fk_offer_terms_executors"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("epoch", "executor_key", name=op.f("pk_offer_terms")),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("offer_terms")
