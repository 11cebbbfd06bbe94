"""Whole numbers have 64 bits on PostgreSQL, too, as they always had on SQLite."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_COLUMNS = {
    "certificates": ("attempt",),
    "collateral_moves": ("number",),
    "epochs": ("netuid",),
    "executor_records": (
        "epochs_seen",
        "epochs_passed",
        "consecutive_passed",
        "card_count",
        "no_verdicts_in_a_row",
        "verified_count",
        "verified_failed",
        "resets",
        "kept_scores",
        "carried_over",
    ),
    "lease_health": ("dead_looks",),
    "lease_metrics": ("grain",),
    "proved_days": (
        "nominal_mib",
        "proofs",
    ),
    "rentals": ("attempt",),
    "executors": (
        "miner_uid",
        "port",
    ),
    "landings": (
        "tempo_blocks",
        "looks",
    ),
    "miner_replies": ("uid",),
    "phases": (
        "done",
        "total",
    ),
    "deliveries": (
        "attempts",
        "http_status",
    ),
    "offer_terms": ("min_cards",),
    "scores": (
        "miner_uid",
        "card_count",
        "leased_cards",
        "idle_cards",
    ),
}


def upgrade() -> None:
    """Widen them where they are narrow."""
    _retype(sa.BigInteger())


def downgrade() -> None:
    """As they were; refused by the database when a number does not fit."""
    _retype(sa.Integer())


def _retype(kind: sa.Integer) -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in _COLUMNS.items():
        for column in columns:
            op.alter_column(table, column, type_=kind)
