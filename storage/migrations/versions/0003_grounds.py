"""What scores were made from, kept with them; what happens between epochs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; epochs from before have no grounds."""
    op.create_table(
        "grounds",
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("policy_values", sa.Text(), nullable=False),
        sa.Column("owner_hotkey", sa.Text(), nullable=False),
        sa.Column("neurons", sa.Text(), nullable=False),
        sa.Column("quotes", sa.Text(), nullable=False),
        sa.Column("leases", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["epoch"], ["epochs.epoch"], name=op.f("fk_grounds_epochs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_grounds")),
    )
    op.create_table(
        "standings",
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("executor_key", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("is_leased", sa.Boolean(), nullable=False),
        sa.Column("deposited_rao", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["epoch", "executor_key"],
            ["executors.epoch", "executors.executor_key"],
            name=op.f("fk_standings_executors"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("epoch", "executor_key", name=op.f("pk_standings")),
    )
    op.create_table(
        "events",
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_epoch", "events", ["epoch"])
    op.add_column("weight_sets", sa.Column("first_epoch", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Drop them: the history still has all that they say."""
    op.drop_column("weight_sets", "first_epoch")
    op.drop_index("ix_events_epoch", table_name="events")
    op.drop_table("events")
    op.drop_table("standings")
    op.drop_table("grounds")
