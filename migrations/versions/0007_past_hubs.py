"""Which relays had rooms that were moved, also in a time that is void and in no log.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "past_hubs",
        sa.Column("room", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("relay_id", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["room"], ["rooms.id"], name="fk_past_hubs_room_rooms"),
        sa.PrimaryKeyConstraint("room", "relay_id", name="pk_past_hubs"),
    )


def downgrade() -> None:
    op.drop_table("past_hubs")
