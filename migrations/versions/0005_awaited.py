"""Which relays speak first in rooms that came here by an old HUB_MOVE.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "awaited",
        sa.Column("room", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("relay_id", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["room"], ["rooms.id"], name="fk_awaited_room_rooms"),
        sa.PrimaryKeyConstraint("room", name="pk_awaited"),
    )


def downgrade() -> None:
    op.drop_table("awaited")
