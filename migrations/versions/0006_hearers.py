"""Which relays have to do with rooms that were moved, and are told of that.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hearers",
        sa.Column("room", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("relays", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["room"], ["rooms.id"], name="fk_hearers_room_rooms"),
        sa.PrimaryKeyConstraint("room", name="pk_hearers"),
    )


def downgrade() -> None:
    op.drop_table("hearers")
