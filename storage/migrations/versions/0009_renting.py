"""Leases, the cards that they hold, and the ledger of money."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "rentals",
        sa.Column("lease_id", sa.Text(), nullable=False),
        sa.Column("renter_id", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("wish", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("executor_key", sa.Text(), nullable=False),
        sa.Column("card_uuids", sa.Text(), nullable=False),
        sa.Column("micro_usd_per_hour", sa.BigInteger(), nullable=False),
        sa.Column("tried", sa.Text(), nullable=False),
        sa.Column("active_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_by", sa.DateTime(timezone=True), nullable=True),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("lease_id", name=op.f("pk_rentals")),
    )
    op.create_index(
        "ix_rentals_renter_id_idempotency_key", "rentals", ["renter_id", "idempotency_key"], unique=True
    )
    op.create_index("ix_rentals_state", "rentals", ["state"])
    op.create_table(
        "held_cards",
        sa.Column("card_uuid", sa.Text(), nullable=False),
        sa.Column("lease_id", sa.Text(), nullable=False),
        sa.Column("executor_key", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["lease_id"], ["rentals.lease_id"], name=op.f("fk_held_cards_rentals")),
        sa.PrimaryKeyConstraint("card_uuid", name=op.f("pk_held_cards")),
    )
    op.create_index("ix_held_cards_lease_id", "held_cards", ["lease_id"])
    op.create_table(
        "transfers",
        sa.Column("transfer_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("lease_id", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("transfer_id", name=op.f("pk_transfers")),
    )
    op.create_index("ix_transfers_lease_id", "transfers", ["lease_id"])
    op.create_table(
        "entries",
        sa.Column("transfer_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("micro_usd", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["transfer_id"], ["transfers.transfer_id"], name=op.f("fk_entries_transfers")
        ),
        sa.PrimaryKeyConstraint("transfer_id", "account", name=op.f("pk_entries")),
    )
    op.create_index("ix_entries_account", "entries", ["account"])


def downgrade() -> None:
    """Drop them: leases and balances are lost."""
    op.drop_index("ix_entries_account", table_name="entries")
    op.drop_table("entries")
    op.drop_index("ix_transfers_lease_id", table_name="transfers")
    op.drop_table("transfers")
    op.drop_index("ix_held_cards_lease_id", table_name="held_cards")
    op.drop_table("held_cards")
    op.drop_index("ix_rentals_state", table_name="rentals")
    op.drop_index("ix_rentals_renter_id_idempotency_key", table_name="rentals")
    op.drop_table("rentals")
