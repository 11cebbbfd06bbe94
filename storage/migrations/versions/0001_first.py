"""The first schema: epochs with their phases, machines, reports, verdicts, scores and weights; the machines' records."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "epochs",
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("netuid", sa.Integer(), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.Column("validator_hotkey", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("policy_digest", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("incidents", sa.Text(), nullable=False),
        sa.Column("run_token", sa.Text(), nullable=False),
        sa.Column("run_host", sa.Text(), nullable=False),
        sa.Column("run_boot_id", sa.Text(), nullable=False),
        sa.Column("run_pid", sa.BigInteger(), nullable=False),
        sa.Column("run_started_ticks", sa.BigInteger(), nullable=False),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_counted", sa.Boolean(), nullable=False),
        sa.Column("is_archived", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_epochs")),
    )
    op.create_index(
        "ix_epochs_one_open",
        "epochs",
        ["state"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "executor_records",
        sa.Column("executor_key", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("epochs_seen", sa.Integer(), nullable=False),
        sa.Column("epochs_passed", sa.Integer(), nullable=False),
        sa.Column("consecutive_passed", sa.Integer(), nullable=False),
        sa.Column("passed_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("card_count", sa.Integer(), nullable=True),
        sa.Column("card_uuids", sa.Text(), nullable=False),
        sa.Column("up_mbit_s", sa.Double(), nullable=True),
        sa.Column("down_mbit_s", sa.Double(), nullable=True),
        sa.Column("no_verdicts_in_a_row", sa.Integer(), nullable=False),
        sa.Column("last_epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("executor_key", name=op.f("pk_executor_records")),
    )
    op.create_table(
        "executors",
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("executor_key", sa.Text(), nullable=False),
        sa.Column("executor_id", sa.Text(), nullable=False),
        sa.Column("miner_hotkey", sa.Text(), nullable=False),
        sa.Column("miner_uid", sa.Integer(), nullable=False),
        sa.Column("miner_registered_at_block", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("python", sa.Text(), nullable=False),
        sa.Column("host_key", sa.LargeBinary(), nullable=False),
        sa.Column("price_usd_per_hour", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["epoch"], ["epochs.epoch"], name=op.f("fk_executors_epochs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("epoch", "executor_key", name=op.f("pk_executors")),
    )
    op.create_table(
        "miner_replies",
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("hotkey", sa.Text(), nullable=False),
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["epoch"], ["epochs.epoch"], name=op.f("fk_miner_replies_epochs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("epoch", "hotkey", name=op.f("pk_miner_replies")),
    )
    op.create_table(
        "phases",
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["epoch"], ["epochs.epoch"], name=op.f("fk_phases_epochs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("epoch", "name", name=op.f("pk_phases")),
    )
    op.create_table(
        "weight_sets",
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("burn_share", sa.Double(), nullable=False),
        sa.Column("targets", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("block", sa.BigInteger(), nullable=True),
        sa.Column("extrinsic_id", sa.Text(), nullable=True),
        sa.Column("retry_after_blocks", sa.BigInteger(), nullable=True),
        sa.Column("landed", sa.Text(), nullable=True),
        sa.Column("dropped_hotkeys", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["epoch"], ["epochs.epoch"], name=op.f("fk_weight_sets_epochs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_weight_sets")),
    )
    op.create_table(
        "reports",
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("executor_key", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("bandwidth", sa.Text(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("connect_s", sa.Double(), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["epoch", "executor_key"],
            ["executors.epoch", "executors.executor_key"],
            name=op.f("fk_reports_executors"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("epoch", "executor_key", name=op.f("pk_reports")),
    )
    op.create_table(
        "scores",
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("executor_key", sa.Text(), nullable=False),
        sa.Column("miner_hotkey", sa.Text(), nullable=False),
        sa.Column("miner_uid", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("card_count", sa.Integer(), nullable=False),
        sa.Column("vram_bytes", sa.BigInteger(), nullable=False),
        sa.Column("rate_usd_per_hour", sa.Double(), nullable=False),
        sa.Column("performance", sa.Double(), nullable=False),
        sa.Column("bandwidth", sa.Double(), nullable=False),
        sa.Column("uptime", sa.Double(), nullable=False),
        sa.Column("collateral", sa.Double(), nullable=False),
        sa.Column("passed", sa.Double(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["epoch", "executor_key"],
            ["executors.epoch", "executors.executor_key"],
            name=op.f("fk_scores_executors"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("epoch", "executor_key", name=op.f("pk_scores")),
    )
    op.create_table(
        "verdicts",
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("executor_key", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=True),
        sa.Column("cards", sa.Text(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("transcript", sa.LargeBinary(), nullable=False),
        sa.Column("bytes_received", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["epoch", "executor_key"],
            ["executors.epoch", "executors.executor_key"],
            name=op.f("fk_verdicts_executors"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("epoch", "executor_key", name=op.f("pk_verdicts")),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("verdicts")
    op.drop_table("scores")
    op.drop_table("reports")
    op.drop_table("weight_sets")
    op.drop_table("phases")
    op.drop_table("miner_replies")
    op.drop_table("executors")
    op.drop_table("executor_records")
    op.drop_index(
        "ix_epochs_one_open",
        table_name="epochs",
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.drop_table("epochs")
