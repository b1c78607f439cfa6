"""Other relays: who they are, copies of their rooms, what waits for them, what they lied about.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _room() -> sa.Column[int]:
    return sa.Column("room", Number, sa.ForeignKey("rooms.id"), nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _text(name: str, size: int | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(size), nullable=False)


def upgrade() -> None:
    op.create_table(
        "peers",
        _bytes("relay_id"),
        _bytes("key"),
        _text("url"),
        _text("name"),
        _text("pinned", 16),
        _int("counter"),
        _int("ts"),
        _int("contact"),
        _text("state", 16),
        _text("detail"),
        _int("quarantined"),
        _int("links"),
        sa.PrimaryKeyConstraint("relay_id", name="pk_peers"),
    )
    op.create_table(
        "replicas",
        _room(),
        _bytes("hub"),
        _int("head_seq"),
        _bytes("head"),
        _text("frozen", 32),
        sa.PrimaryKeyConstraint("room", name="pk_replicas"),
    )
    op.create_index("ix_replicas_hub", "replicas", ["hub"])
    op.create_table(
        "outbox",
        _room(),
        _bytes("mid"),
        _bytes("sid"),
        _int("counter"),
        _bytes("event_id"),
        _int("ts"),
        _bytes("record"),
        _bytes("cell"),
        sa.PrimaryKeyConstraint("room", "mid", "sid", name="pk_outbox"),
    )
    op.create_table(
        "evidence",
        sa.Column("id", Number, nullable=False),
        _room(),
        _int("ts"),
        _text("code", 32),
        _bytes("records"),
        sa.PrimaryKeyConstraint("id", name="pk_evidence"),
    )


def downgrade() -> None:
    for table in ("evidence", "outbox", "replicas", "peers"):
        op.drop_table(table)
