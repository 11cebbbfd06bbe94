"""What runs in a lease, what is asked of it, who works on it, what happened to it, and its volumes, backups and proofs."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

MOMENTS = ("stopped_at", "paid_from", "end_asked_at", "notice_until", "warned_at")
ADDED: tuple[tuple[str, sa.types.TypeEngine[Any], str], ...] = (
    ("pod", sa.Text(), "'{}'"),
    ("terms", sa.Text(), "'{}'"),
    ("sealed", sa.LargeBinary(), "''"),
    ("attempt", sa.Integer(), "0"),
    ("is_holding", sa.Boolean(), "false"),
    ("access", sa.Text(), "'null'"),
    ("paid_s", sa.BigInteger(), "0"),
    ("end_party", sa.Text(), "'nobody'"),
    ("end_reason", sa.Text(), "''"),
)
TABLES = ("certificates", "backups", "volumes", "lease_events", "claims", "works", "operations")


def upgrade() -> None:
    """Add to the leases, and make the tables beside them."""
    for name, kind, default in ADDED:
        column = sa.Column(name, kind, nullable=False, server_default=sa.text(default))
        op.add_column("rentals", column)
    for name in MOMENTS:
        op.add_column("rentals", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    _operations()
    _work()
    _events()
    _data()
    _certificates()


def _operations() -> None:
    op.create_table(
        "operations",
        _text("operation_id"),
        _text("lease_id"),
        *(_text(name) for name in ("idempotency_key", "kind", "state")),
        _moment("asked_at"),
        _text("arguments"),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        _moment("begun_at", nullable=True),
        _moment("ended_at", nullable=True),
        *(_text(name) for name in ("party", "reason", "result")),
        sa.ForeignKeyConstraint(["lease_id"], ["rentals.lease_id"], name=op.f("fk_operations_rentals")),
        sa.PrimaryKeyConstraint("operation_id", name=op.f("pk_operations")),
    )
    op.create_index(
        "ix_operations_lease_id_idempotency_key", "operations", ["lease_id", "idempotency_key"], unique=True
    )
    op.create_index("ix_operations_state", "operations", ["state"])


def _work() -> None:
    op.create_table(
        "works",
        *(_text(name) for name in ("work_id", "kind", "subject")),
        _moment("asked_at"),
        _text("flow_run_id"),
        sa.PrimaryKeyConstraint("work_id", name=op.f("pk_works")),
    )
    op.create_index("ix_works_flow_run_id", "works", ["flow_run_id"])
    op.create_index("ix_works_subject", "works", ["subject"])
    op.create_table(
        "claims",
        _text("subject"),
        _text("holder"),
        _moment("until"),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_claims")),
    )


def _events() -> None:
    op.create_table(
        "lease_events",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        _text("lease_id"),
        _text("renter_id"),
        _moment("at"),
        *(_text(name) for name in ("kind", "message", "facts")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_lease_events")),
    )
    for name in ("lease_id", "renter_id"):
        op.create_index(f"ix_lease_events_{name}_sequence", "lease_events", [name, "sequence"])


def _data() -> None:
    op.create_table(
        "volumes",
        *(_text(name) for name in ("renter_id", "name", "executor_key")),
        _moment("created_at"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        _text("lease_id"),
        _text("state"),
        sa.Column("is_kept", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("renter_id", "name", name=op.f("pk_volumes")),
    )
    op.create_index("ix_volumes_executor_key", "volumes", ["executor_key"])
    op.create_index("ix_volumes_lease_id", "volumes", ["lease_id"])
    op.create_table(
        "backups",
        *(_text(name) for name in ("backup_id", "lease_id", "renter_id", "source")),
        _moment("at"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        _text("blake2b"),
        _text("state"),
        sa.PrimaryKeyConstraint("backup_id", name=op.f("pk_backups")),
    )
    op.create_index("ix_backups_renter_id", "backups", ["renter_id"])


def _certificates() -> None:
    op.create_table(
        "certificates",
        _text("lease_id"),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        _text("occasion"),
        _moment("at"),
        *(_text(name) for name in ("executor_key", "code", "card_uuids", "verdict")),
        sa.Column("transcript", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("lease_id", "attempt", "occasion", name=op.f("pk_certificates")),
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def downgrade() -> None:
    """Drop them: what is open can't be gone on with."""
    for name in TABLES:
        op.drop_table(name)
    for name in (*MOMENTS, *(name for name, _, _ in ADDED)):
        op.drop_column("rentals", name)
