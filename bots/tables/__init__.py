"""Tables of a bot's own: all of SQL, encrypted at rest, and part of what a handler does at once.

    metadata = MetaData()
    votes = Table("votes", metadata, Column("poll", Integer, primary_key=True), ...)
    bot.tables(metadata, migrations=[add_the_weight])

    @bot.command()
    async def vote(ctx: Context, tables: Tables, choice: str) -> None:
        tables.execute(insert(votes).values(...))

The tables live in memory, in SQLite; the vault keeps a sealed image of them and, since then, the
statements that changed them. A handler's statements reach both in the one transaction that holds
its replies, its memory and its cursor, or not at all.

    spec          what a bot declares
    handle        what a handler sees: `Tables`
    ops           one statement, and what it was answered
    guard         what statements may not do
    database      the tables in memory: drafts of handlers over what is committed
    archive       the image and the statements, as records of the vault
    upgrade       new tables, migrations, and what is refused
    store         all of it together: load, commit, compact

Only this package imports SQLAlchemy, and only for bots that have tables.
"""

from __future__ import annotations

from bots.tables.errors import TablesError, TablesFull, TablesNewer, TablesRefused
from bots.tables.handle import Tables
from bots.tables.spec import Migration, TablesSpec

__all__ = [
    "Migration",
    "Tables",
    "TablesError",
    "TablesFull",
    "TablesNewer",
    "TablesRefused",
    "TablesSpec",
]
