"""Browsers that are signed in to the marketplace's pages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table: nobody is signed in."""
    op.create_table(
        "page_sessions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.key_id"], name=op.f("fk_page_sessions_api_keys")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_page_sessions")),
    )
    op.create_index("ix_page_sessions_key_id", "page_sessions", ["key_id"])
    op.create_index("ix_page_sessions_ends_at", "page_sessions", ["ends_at"])


def downgrade() -> None:
    """Drop it: whoever is signed in has to sign in again."""
    op.drop_index("ix_page_sessions_ends_at", table_name="page_sessions")
    op.drop_index("ix_page_sessions_key_id", table_name="page_sessions")
    op.drop_table("page_sessions")
