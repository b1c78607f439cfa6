"""Stretches that copies lack, beside what stands before them.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "holes",
        sa.Column("room", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("next", sa.BigInteger, nullable=False),
        sa.Column("log", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["room"], ["rooms.id"], name="fk_holes_room_rooms"),
        sa.PrimaryKeyConstraint("room", "first", name="pk_holes"),
    )


def downgrade() -> None:
    op.drop_table("holes")
