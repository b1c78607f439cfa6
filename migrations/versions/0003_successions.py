"""How other relays came to the keys they have.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "successions",
        sa.Column("relay_id", sa.LargeBinary, nullable=False),
        sa.Column("statements", sa.LargeBinary, nullable=False),
        sa.Column("disputed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("relay_id", name="pk_successions"),
    )


def downgrade() -> None:
    op.drop_table("successions")
