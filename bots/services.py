"""What every part of a running bot needs, in one place."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field

from bots.bot import Bot
from bots.effects import Pending
from bots.errors import Unsayable
from bots.handlers import Handler
from bots.inject import Resources
from bots.limits import Bucket, Limits
from bots.log import Log
from bots.metrics import Metrics
from bots.records import BOT, Writes
from bots.table import Table
from ofcd.client import Client, ClientClosed, Transaction, Vault, VaultError
from ofcd.errors import OfcError
from ofcd.protocol.ids import EventId

if TYPE_CHECKING:
    from bots.tables import Tables
    from bots.tables.ops import Op
    from bots.tables.store import TableStore

__all__ = ["Services", "bot_id_of", "load_limits"]

LIMITS: Final = "app/bot/limits"
_ID: Final = b"id"


@define(eq=False)
class Services:
    """The running bot."""

    bot: Bot
    client: Client
    bot_id: bytes
    table: Table
    resources: Resources
    log: Log
    metrics: Metrics
    limits: Limits
    turns: Mapping[str, trio.Semaphore] = field(factory=dict)
    """For handlers that serve only so many rooms at once."""
    stopping: trio.Event = field(factory=trio.Event)
    careful: bool = False
    """The last life of this process ended badly: note what is handled; see `bots.poison`."""
    begun: set[EventId] = field(factory=set)
    """What was noted."""
    store: TableStore | None = None
    """The bot's own tables, if it has any."""
    measure: Callable[[], None] = lambda: None
    """Something was handled: look at the figures."""

    @property
    def outbound(self) -> Bucket:
        """What the bot may send in all."""
        return Bucket("outbound", self.bot.outbound)

    def now(self) -> int:
        """Milliseconds since 1970."""
        return self.client.now()

    def turn(self, handler: Handler) -> trio.Semaphore | None:
        """What a handler has to hold while it runs."""
        return self.turns.get(handler.name)

    def tables(self, before: Sequence[Op]) -> Tables | None:
        """The bot's tables for one run of a handler, over what others did about the same event."""
        return None if self.store is None else self.store.tables(before)

    @contextmanager
    def transaction(self, ops: Sequence[Op]) -> Iterator[Transaction]:
        """One transaction of the vault, and in it what was done to the tables.

        Raises `Conflict` where that would be answered differently by now. Do not await inside.
        """
        begin = self.client.transaction
        with begin() if self.store is None else self.store.transaction(ops) as tx:
            yield tx

    def say(self, tx: Transaction, pending: Sequence[Pending]) -> None:
        """Queue messages, to be sent once `tx` is committed. Raises `Unsayable` for the first."""
        for one in pending:
            try:
                room = self.client.room(one.room)
                room.queue(tx, one.content, sid=one.sid, hops=one.hops)
            except (VaultError, ClientClosed):
                raise
            except OfcError as error:
                raise Unsayable(one, error) from None

    def keep_limits(self, records: Writes) -> None:
        """Write what changed of the limits."""
        for key, full_at in self.limits.changes().items():
            if full_at is None:
                records.delete(LIMITS, key.encode())
            else:
                records.put(LIMITS, key.encode(), json.dumps(full_at).encode())


def bot_id_of(vault: Vault) -> bytes:
    """The id under which this vault's bot sends: made once."""
    known = vault.get(BOT, _ID)
    if known is not None:
        return known
    made = secrets.token_bytes(32)
    with vault.transaction() as tx:
        tx.put(BOT, _ID, made)
    return made


def load_limits(vault: Vault) -> Limits:
    """The limits as they were last kept."""
    return Limits({key.decode(): json.loads(raw) for key, raw in vault.items(LIMITS)})
