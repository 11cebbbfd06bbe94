"""The ledger of collateral: lines that are only added."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table: nobody has deposited anything yet."""
    op.create_table(
        "collateral_moves",
        sa.Column("executor_key", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("free_rao", sa.BigInteger(), nullable=False),
        sa.Column("held_rao", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("extrinsic_id", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence_blake2s", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("executor_key", "number", name=op.f("pk_collateral_moves")),
    )
    op.create_index("ix_collateral_moves_request", "collateral_moves", ["request"], unique=True)


def downgrade() -> None:
    """Drop it while it is empty: other people's money stands in it."""
    if op.get_bind().execute(sa.text("SELECT 1 FROM collateral_moves LIMIT 1")).first():
        raise RuntimeError("collateral_moves has lines: keep a copy and empty it first")
    op.drop_index("ix_collateral_moves_request", table_name="collateral_moves")
    op.drop_table("collateral_moves")
