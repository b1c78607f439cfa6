"""The tables, and the schema's revision. Portable SQL: SQLite today, PostgreSQL later.

A room has a small number of its own here (`rooms.id`), so that keys and indexes stay small. Ids
and hashes are raw bytes; times are milliseconds since 1970. Whoever changes a table adds a
revision in `migrations/versions` and names it in `REVISION`; a test compares the two.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

__all__ = [
    "REVISION",
    "blob_chunks",
    "blobs",
    "boxes",
    "cursors",
    "evidence",
    "joins",
    "key_requests",
    "log",
    "metadata",
    "outbox",
    "peers",
    "replicas",
    "rooms",
    "senders",
    "successions",
]

REVISION: Final = "0007"
"""The revision of the schema below."""

metadata: Final = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite counts up only what is declared INTEGER."""


def _room() -> sa.Column[int]:
    return sa.Column("room", _Number, sa.ForeignKey("rooms.id"), primary_key=True)


def _bytes(name: str, *, primary_key: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, primary_key=primary_key, nullable=False)


def _int(name: str, *, primary_key: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=primary_key, nullable=False)


rooms: Final = sa.Table(
    "rooms",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    _bytes("room"),
    _bytes("creator"),
    _int("ts"),
    _int("seq"),  # the last entry's; -1 before GENESIS
    _bytes("log"),  # the running hash after it
    _int("last_ts"),
    _int("events"),  # kept events, and their bytes: what retention decides by
    _int("bytes"),
    _int("floor"),  # below it, retention took the content of all events ...
    _bytes("floor_log"),  # (the running hash before it, for who starts there)
    _int("swept"),  # ... and below this their whole rows
    sa.UniqueConstraint("room"),
)

log: Final = sa.Table(
    "log",
    metadata,
    _room(),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    _bytes("event_id"),
    _bytes("log"),
    _bytes("mid"),
    sa.Column("control", sa.Boolean, nullable=False),
    sa.Column("sid", sa.LargeBinary),
    sa.Column("counter", sa.BigInteger),
    _int("ts"),
    _bytes("record"),  # the two that may be large stand last: SQLite reads a row from its start
    _bytes("cell"),
    sa.UniqueConstraint("room", "event_id"),
)
# Not unique: a member who uses an old sid again must not make a whole batch fail.
sa.Index("ix_log_sid", log.c.room, log.c.mid, log.c.sid, log.c.seq)
sa.Index(
    "ix_log_chain",
    log.c.room,
    log.c.seq,
    sqlite_where=sa.text("control = 1"),  # as Core writes it in a WHERE, or SQLite passes it by
    postgresql_where=sa.text("control"),
)

senders: Final = sa.Table(
    "senders",
    metadata,
    _room(),
    _bytes("mid", primary_key=True),
    _int("counter"),
    _bytes("last"),
)

cursors: Final = sa.Table(
    "cursors",
    metadata,
    _room(),
    _bytes("mid", primary_key=True),
    _int("seq"),
    _int("ts"),
)

boxes: Final = sa.Table(
    "boxes",
    metadata,
    _room(),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    _bytes("mid", primary_key=True),
    _bytes("box"),
)

joins: Final = sa.Table(
    "joins",
    metadata,
    _room(),
    _bytes("invite_id", primary_key=True),
    _bytes("request_hash", primary_key=True),
    _bytes("mid"),
    sa.Column("stage", sa.String(16), nullable=False),
    _int("ts"),
    _bytes("request"),
    _bytes("response"),
    _bytes("confirm"),
)

key_requests: Final = sa.Table(
    "key_requests",
    metadata,
    _room(),
    _bytes("mid", primary_key=True),
    _int("ts"),
    _bytes("request"),
    _bytes("answer"),
    _bytes("box"),
)

blobs: Final = sa.Table(
    "blobs",
    metadata,
    _room(),
    _bytes("blob", primary_key=True),
    _bytes("mid"),
    _int("count"),
    _int("ts"),
)

blob_chunks: Final = sa.Table(
    "blob_chunks",
    metadata,
    _room(),
    _bytes("blob", primary_key=True),
    sa.Column("idx", sa.BigInteger, primary_key=True),
    _int("size"),
    _bytes("chunk"),
    sa.ForeignKeyConstraint(["room", "blob"], ["blobs.room", "blobs.blob"]),
)

peers: Final = sa.Table(
    "peers",
    metadata,
    _bytes("relay_id", primary_key=True),
    _bytes("key"),  # empty until a link has proven it
    sa.Column("url", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("pinned", sa.String(16), nullable=False),  # what vouches for it
    _int("counter"),  # of its latest descriptor
    _int("ts"),
    _int("contact"),  # when a link to it was last open; 0 for never
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("detail", sa.String, nullable=False),
    _int("quarantined"),  # until then; 0 for not
    _int("links"),  # how often a link was opened
)

successions: Final = sa.Table(
    "successions",
    metadata,
    _bytes("relay_id", primary_key=True),
    _bytes("statements"),  # how it came to its key
    _bytes("disputed"),  # another way, which is against that one
)

replicas: Final = sa.Table(
    "replicas",
    metadata,
    _room(),
    _bytes("hub"),
    _int("head_seq"),
    _bytes("head"),
    sa.Column("frozen", sa.String(32), nullable=False),
    sa.Index("ix_replicas_hub", "hub"),
)

outbox: Final = sa.Table(
    "outbox",
    metadata,
    _room(),
    _bytes("mid", primary_key=True),
    _bytes("sid", primary_key=True),
    _int("counter"),
    _bytes("event_id"),
    _int("ts"),
    _bytes("record"),
    _bytes("cell"),
)

evidence: Final = sa.Table(
    "evidence",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column("room", _Number, sa.ForeignKey("rooms.id"), nullable=False),
    _int("ts"),
    sa.Column("code", sa.String(32), nullable=False),
    _bytes("records"),
)

holes: Final = sa.Table(
    "holes",
    metadata,
    _room(),
    _int("first", primary_key=True),
    _int("next"),  # the first entry after it
    _bytes("log"),  # the running hash before that
)

awaited: Final = sa.Table(
    "awaited",
    metadata,
    _room(),
    _bytes("relay_id"),  # who has to say that it knows of nothing more, before this relay orders on
)

hearers: Final = sa.Table(
    "hearers",
    metadata,
    _room(),
    _bytes("relays"),  # the ids of those that are told of the room's moves, one after another
)

past_hubs: Final = sa.Table(
    "past_hubs",
    metadata,
    _room(),
    _bytes("relay_id", primary_key=True),  # who had the room before a move; it may be in no log
)
