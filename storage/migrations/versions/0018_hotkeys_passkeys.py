"""Browsers that are signed in by a hotkey or a passkey, and renters who made their account by themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_ONE_HOLDER = (
    "CASE WHEN key_id IS NULL THEN 0 ELSE 1 END + CASE WHEN passkey_id IS NULL THEN 0 ELSE 1 END"
    " + CASE WHEN hotkey IS NULL THEN 0 ELSE 1 END = 1"
)


def upgrade() -> None:
    """Make the passkeys, and the sessions anew: whoever is signed in has to sign in again."""
    op.add_column(
        "renters",
        sa.Column("is_self_made", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.create_table(
        "passkeys",
        sa.Column("passkey_id", sa.Text(), nullable=False),
        sa.Column("renter_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["renter_id"], ["renters.renter_id"], name=op.f("fk_passkeys_renters")),
        sa.PrimaryKeyConstraint("passkey_id", name=op.f("pk_passkeys")),
    )
    op.create_index("ix_passkeys_renter_id", "passkeys", ["renter_id"])
    _drop_sessions()
    op.create_table(
        "page_sessions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("passkey_id", sa.Text(), nullable=True),
        sa.Column("hotkey", sa.Text(), nullable=True),
        sa.CheckConstraint(_ONE_HOLDER, name="ck_page_sessions_one_holder"),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.key_id"], name=op.f("fk_page_sessions_api_keys")),
        sa.ForeignKeyConstraint(
            ["passkey_id"], ["passkeys.passkey_id"], name=op.f("fk_page_sessions_passkeys")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_page_sessions")),
    )
    for name in ("key_id", "passkey_id", "hotkey", "ends_at"):
        op.create_index(f"ix_page_sessions_{name}", "page_sessions", [name])


def downgrade() -> None:
    """The sessions as they were: whoever is signed in has to sign in again, and passkeys are gone."""
    for name in ("hotkey", "passkey_id"):
        op.drop_index(f"ix_page_sessions_{name}", table_name="page_sessions")
    _drop_sessions()
    op.create_table(
        "page_sessions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.key_id"], name=op.f("fk_page_sessions_api_keys")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_page_sessions")),
    )
    for name in ("key_id", "ends_at"):
        op.create_index(f"ix_page_sessions_{name}", "page_sessions", [name])
    op.drop_index("ix_passkeys_renter_id", table_name="passkeys")
    op.drop_table("passkeys")
    op.drop_column("renters", "is_self_made")


def _drop_sessions() -> None:
    for name in ("ends_at", "key_id"):
        op.drop_index(f"ix_page_sessions_{name}", table_name="page_sessions")
    op.drop_table("page_sessions")
