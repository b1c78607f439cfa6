"""Rooms, their logs, joins and attachments.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _room() -> sa.Column[int]:
    return sa.Column("room", Number, sa.ForeignKey("rooms.id"), nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def upgrade() -> None:
    _rooms()
    _log()
    _members()
    _joins()
    _blobs()


def _rooms() -> None:
    op.create_table(
        "rooms",
        sa.Column("id", Number, nullable=False),
        _bytes("room"),
        _bytes("creator"),
        _int("ts"),
        _int("seq"),
        _bytes("log"),
        _int("last_ts"),
        _int("events"),
        _int("bytes"),
        _int("floor"),
        _bytes("floor_log"),
        _int("swept"),
        sa.PrimaryKeyConstraint("id", name="pk_rooms"),
        sa.UniqueConstraint("room", name="uq_rooms_room"),
    )


def _log() -> None:
    op.create_table(
        "log",
        _room(),
        _int("seq"),
        _bytes("event_id"),
        _bytes("log"),
        _bytes("mid"),
        sa.Column("control", sa.Boolean, nullable=False),
        sa.Column("sid", sa.LargeBinary),
        sa.Column("counter", sa.BigInteger),
        _int("ts"),
        _bytes("record"),
        _bytes("cell"),
        sa.PrimaryKeyConstraint("room", "seq", name="pk_log"),
        sa.UniqueConstraint("room", "event_id", name="uq_log_room_event_id"),
    )
    op.create_index("ix_log_sid", "log", ["room", "mid", "sid", "seq"])
    op.create_index(
        "ix_log_chain",
        "log",
        ["room", "seq"],
        sqlite_where=sa.text("control = 1"),
        postgresql_where=sa.text("control"),
    )


def _members() -> None:
    op.create_table(
        "senders",
        _room(),
        _bytes("mid"),
        _int("counter"),
        _bytes("last"),
        sa.PrimaryKeyConstraint("room", "mid", name="pk_senders"),
    )
    op.create_table(
        "cursors",
        _room(),
        _bytes("mid"),
        _int("seq"),
        _int("ts"),
        sa.PrimaryKeyConstraint("room", "mid", name="pk_cursors"),
    )
    op.create_table(
        "boxes",
        _room(),
        _int("seq"),
        _bytes("mid"),
        _bytes("box"),
        sa.PrimaryKeyConstraint("room", "seq", "mid", name="pk_boxes"),
    )


def _joins() -> None:
    op.create_table(
        "joins",
        _room(),
        _bytes("invite_id"),
        _bytes("request_hash"),
        _bytes("mid"),
        sa.Column("stage", sa.String(16), nullable=False),
        _int("ts"),
        _bytes("request"),
        _bytes("response"),
        _bytes("confirm"),
        sa.PrimaryKeyConstraint("room", "invite_id", "request_hash", name="pk_joins"),
    )
    op.create_table(
        "key_requests",
        _room(),
        _bytes("mid"),
        _int("ts"),
        _bytes("request"),
        _bytes("answer"),
        _bytes("box"),
        sa.PrimaryKeyConstraint("room", "mid", name="pk_key_requests"),
    )


def _blobs() -> None:
    op.create_table(
        "blobs",
        _room(),
        _bytes("blob"),
        _bytes("mid"),
        _int("count"),
        _int("ts"),
        sa.PrimaryKeyConstraint("room", "blob", name="pk_blobs"),
    )
    op.create_table(
        "blob_chunks",
        _room(),
        _bytes("blob"),
        _int("idx"),
        _int("size"),
        _bytes("chunk"),
        sa.PrimaryKeyConstraint("room", "blob", "idx", name="pk_blob_chunks"),
        sa.ForeignKeyConstraint(["room", "blob"], ["blobs.room", "blobs.blob"]),
    )


def downgrade() -> None:
    for table in (
        "blob_chunks",
        "blobs",
        "key_requests",
        "joins",
        "boxes",
        "cursors",
        "senders",
        "log",
        "rooms",
    ):
        op.drop_table(table)
