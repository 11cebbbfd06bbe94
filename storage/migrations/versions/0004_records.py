"""The verified record of each machine, and bans."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ADDED: tuple[tuple[str, sa.types.TypeEngine[Any], str | None], ...] = (
    ("verified_count", sa.Integer(), "0"),
    ("verified_failed", sa.Integer(), "0"),
    ("resets", sa.Integer(), "0"),
    ("reset_at", sa.DateTime(timezone=True), None),
    ("reset_code", sa.Text(), "''"),
    ("last_score", sa.Double(), "0"),
    ("last_score_epoch", sa.BigInteger(), None),
    ("kept_scores", sa.Integer(), "0"),
    ("swapped_at", sa.DateTime(timezone=True), None),
    ("announced_uuids", sa.Text(), "'[]'"),
)
"""Name, type and default, an SQL literal; None: null."""


def upgrade() -> None:
    """A machine on a run of passed epochs has earned its budget of failures with them."""
    for name, kind, default in ADDED:
        op.add_column(
            "executor_records",
            sa.Column(name, kind, nullable=default is None, server_default=default and sa.text(default)),
        )
    op.execute("UPDATE executor_records SET verified_count = consecutive_passed")
    op.add_column("standings", sa.Column("ban_code", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.create_table(
        "bans",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("banned_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name=op.f("pk_bans")),
    )


def downgrade() -> None:
    """Drop them: the history still has what scores were made from."""
    op.drop_table("bans")
    op.drop_column("standings", "ban_code")
    for name, _, _ in reversed(ADDED):
        op.drop_column("executor_records", name)
