"""The ledger in two units, and closed to changes: a line is added, never altered or taken away."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLES = ("transfers", "entries")


def upgrade() -> None:
    """Add rao beside micro-USD, and the triggers."""
    op.add_column("entries", sa.Column("rao", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.drop_index("ix_entries_account", table_name="entries")
    op.create_index("ix_entries_account_micro_usd_rao", "entries", ["account", "micro_usd", "rao"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RAISE EXCEPTION ''the ledger is append-only''; END'"
        )
        for table in _TABLES:
            op.execute(
                f"CREATE TRIGGER tr_{table}_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()"
            )
        return
    for table in _TABLES:
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER tr_{table}_{change.lower()} BEFORE {change} ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            )


def downgrade() -> None:
    """Without the triggers, and without rao."""
    if op.get_bind().dialect.name == "postgresql":
        for table in _TABLES:
            op.execute(f"DROP TRIGGER tr_{table}_change ON {table}")
        op.execute("DROP FUNCTION ledger_is_append_only()")
    else:
        for table in _TABLES:
            for change in ("update", "delete"):
                op.execute(f"DROP TRIGGER tr_{table}_{change}")
    op.drop_index("ix_entries_account_micro_usd_rao", table_name="entries")
    op.create_index("ix_entries_account", "entries", ["account"])
    op.drop_column("entries", "rao")
