"""What is left of volumes on machines where a lease could not remove them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table: nothing is known to be left."""
    op.create_table(
        "left_volumes",
        sa.Column("renter_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("executor_key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("renter_id", "name", "executor_key", name=op.f("pk_left_volumes")),
    )


def downgrade() -> None:
    """Without it."""
    op.drop_table("left_volumes")
