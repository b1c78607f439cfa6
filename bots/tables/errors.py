"""What can go wrong with a bot's tables, typed.

TablesError                a bot's tables can not do what was asked
├── TablesFull             they are as large as they may be
├── TablesRefused          a statement that no handler may use; the sentence says what to do instead
└── TablesNewer            they were made by a newer version of the bot

What SQLite itself has to say of a statement (a constraint, a slip in SQL) comes as SQLAlchemy's own
errors: `sqlalchemy.exc.IntegrityError` and the like.
"""

from __future__ import annotations

from bots.errors import BotError

__all__ = ["TablesError", "TablesFull", "TablesNewer", "TablesRefused"]


class TablesError(BotError):
    """A bot's tables can not do what was asked."""

    code = "tables"


class TablesFull(TablesError):
    """The tables are as large as `tables_limit` allows."""

    code = "tables_full"


class TablesRefused(TablesError):
    """A statement that no handler may use."""

    code = "tables_refused"


class TablesNewer(TablesError):
    """The vault's tables were made by a newer version of the bot."""

    code = "tables_newer"
