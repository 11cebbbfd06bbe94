"""What the looks at leases found, and transfers to the deposit address."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = (
    "deposit_memos",
    "unread_blocks",
    "deposit_marks",
    "chain_deposits",
    "lease_metrics",
    "lease_health",
)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "lease_health",
        _text("lease_id"),
        _moment("looked_at"),
        *(_moment(name, nullable=True) for name in ("well_at", "idle_since")),
        _text("dead"),
        sa.Column("dead_looks", sa.Integer(), nullable=False),
        *(_moment(name, nullable=True) for name in ("away_since", "metered_at", "sampled_at")),
        sa.PrimaryKeyConstraint("lease_id", name=op.f("pk_lease_health")),
    )
    _metrics()
    _deposits()


def _metrics() -> None:
    numbers = ("memory_bytes", "memory_limit_bytes", "received_bytes", "sent_bytes")
    op.create_table(
        "lease_metrics",
        _text("lease_id"),
        _moment("at"),
        _text("cards"),
        sa.Column("cpu_percent", sa.Double(), nullable=True),
        *(
            sa.Column(name, sa.BigInteger(), nullable=True)
            for name in (*numbers, "read_bytes", "written_bytes", "pids")
        ),
        sa.Column("grain", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("lease_id", "at", name=op.f("pk_lease_metrics")),
    )
    op.create_index("ix_lease_metrics_grain_at", "lease_metrics", ["grain", "at"])


def _deposits() -> None:
    op.create_table(
        "chain_deposits",
        _text("extrinsic_id"),
        _whole("block"),
        _moment("at"),
        _text("sender"),
        _whole("rao"),
        *(_text(name) for name in ("memos", "state", "renter_id")),
        _whole("micro_usd"),
        sa.Column("usd_per_tao", sa.Double(), nullable=False),
        _text("waits_for"),
        sa.PrimaryKeyConstraint("extrinsic_id", name=op.f("pk_chain_deposits")),
    )
    op.create_index("ix_chain_deposits_state", "chain_deposits", ["state"])
    op.create_index("ix_chain_deposits_renter_id", "chain_deposits", ["renter_id"])
    op.create_table(
        "deposit_marks",
        _text("place"),
        _whole("block"),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_deposit_marks")),
    )
    op.create_table(
        "unread_blocks",
        _text("place"),
        sa.Column("block", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("place", "block", name=op.f("pk_unread_blocks")),
    )
    op.create_table(
        "deposit_memos",
        _text("memo_blake2b"),
        _text("renter_id"),
        sa.PrimaryKeyConstraint("memo_blake2b", name=op.f("pk_deposit_memos")),
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def downgrade() -> None:
    """Drop them: where the reading of blocks stood is lost."""
    for name in TABLES:
        op.drop_table(name)
