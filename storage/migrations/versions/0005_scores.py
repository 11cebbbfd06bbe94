"""Every term of every formula in a column of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ONES = (
    *("isolation", "occupancy", "price", "capacity", "portion", "card_share"),
    *("idle_isolation", "driver", "programme", "leased_total", "idle_total"),
)
ZEROS = ("leased_points", "idle_points", "leased_pool", "idle_pool")
COUNTS = ("leased_cards", "idle_cards")


def upgrade() -> None:
    """Scores from before were made by the default formula, and the new terms were none of it."""
    _add("formula", sa.Text(), "'default'")
    op.add_column("scores", sa.Column("enforced_score", sa.Double(), nullable=True))
    for name in ONES:
        _add(name, sa.Double(), "1")
    for name in ZEROS:
        _add(name, sa.Double(), "0")
    for name in COUNTS:
        _add(name, sa.Integer(), "0")


def _add(name: str, kind: sa.Text | sa.Float[float] | sa.Integer, default: str) -> None:
    op.add_column("scores", sa.Column(name, kind, nullable=False, server_default=sa.text(default)))


def downgrade() -> None:
    """Drop them: the history still has all that they say."""
    for name in (*COUNTS, *ZEROS, *ONES, "enforced_score", "formula"):
        op.drop_column("scores", name)
