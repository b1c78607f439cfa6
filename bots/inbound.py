"""From outside into a room, effectively once: for hooks, bridges, and answers of other services.

What is brought is handled like a message, and who brought it learns when that is durable.

    @bot.inbound()
    async def arrived(ctx: Context, inbound: Inbound) -> None:
        await ctx.send(inbound.payload)

    fresh = await inbox.deliver(arrived, "order-17", "17 teas", room=room_id)

The outside id stands for the event's id: in the ids of what the handler sends, and in a record of
the vault, written by the commit that does the rest. Brought again, before a crash or after it, the
same id has no second effect for 30 days.

These records are not pinned each by the vault (its index would be written anew with every one, and
there may be a hundred thousand). So who can write to the file could make the bot forget an id, and
then has to bring it again, signed as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field, frozen

from bots.errors import BotError, NotServed
from bots.handlers import Handler
from bots.records import Writes
from ofcd.client.vault import ARCHIVE
from ofcd.protocol.ids import EventId, RoomId, tagged_hash

if TYPE_CHECKING:
    from bots.bot import Bot
    from bots.lane import Lane
    from ofcd.client import Vault

__all__ = ["KEPT_MS", "Delivery", "Inbound", "Inbox", "forget_old", "is_known", "keep_known"]

KEPT_MS: Final = 30 * 24 * 3_600_000
"""How long an outside id is remembered."""
_KNOWN: Final = ARCHIVE + "app/bot/inbound"
_BY_AGE: Final = ARCHIVE + "app/bot/inbound/age"
_FORGET: Final = 16
"""Old ids forgotten with each new one: more than come, so that they do not pile up."""
_ID_BYTES: Final = 1024


@frozen
class Inbound:
    """Something that came from outside."""

    id: str
    """Its id out there: the same thing brought twice has the same one."""
    payload: str = field(default="", repr=lambda payload: f"<{len(payload)}>")


@define(eq=False)
class Delivery:
    """Something from outside on its way through a lane."""

    handler: Handler
    inbound: Inbound
    settled: trio.Event = field(factory=trio.Event)
    fresh: bool = False
    error: BotError | None = None

    def event_id(self, bot_id: bytes, room: RoomId | None) -> EventId:
        """Stands for an event's id in what the handler sends."""
        name, outside = self.handler.name.encode(), self.inbound.id.encode()
        return EventId(tagged_hash("bot", bot_id, b"inbound", room or b"", name, outside))

    def settle(self, *, fresh: bool) -> None:
        """It is durable: by this delivery, or by an earlier one."""
        self.fresh = fresh
        self.settled.set()

    def fail(self, error: BotError) -> None:
        """It is not."""
        if not self.settled.is_set():
            self.error = error
            self.settled.set()


@define(eq=False)
class Inbox:
    """The way in, for resources, by naming its type; handlers are inside already."""

    _bot: Bot = field(repr=False)
    lanes: Mapping[RoomId | None, Lane] = field(factory=dict, repr=False)
    """Those of the running engine."""

    async def deliver(
        self,
        handler: Callable[..., object],
        outside_id: str,
        payload: str = "",
        *,
        room: RoomId | None = None,
    ) -> bool:
        """Have a `@bot.inbound()` function handle this; returns once its effects are durable.

        False: they were before, this id has been handled already. Cancelled, it may still be
        handled; bring it again to know. Without a room it is handled in order with nothing.

        Raises:
            NotServed: The bot is not in that room, or not yet, or is stopping; nothing was done.
            InboundFailed: The handler was given up on, or what it said can not be said there;
                nothing was done, and bringing it again tries again.
            BotError: The id is empty, or over 1024 bytes.
        """
        if not 0 < len(outside_id.encode()) <= _ID_BYTES:
            raise BotError(f"an outside id is 1 to {_ID_BYTES} bytes long")
        lane = self.lanes.get(room)
        if lane is None:
            raise NotServed("the bot does not serve that room now")
        delivery = Delivery(self._bot.inbound_of(handler), Inbound(outside_id, payload))
        await lane.deliver(delivery)
        if delivery.error is not None:
            raise delivery.error
        return delivery.fresh


def is_known(records: Writes, event_id: EventId) -> bool:
    """Whether this was handled before."""
    return records.get(_KNOWN, event_id) is not None


def keep_known(records: Writes, event_id: EventId, now: int) -> None:
    """It is handled, once this is committed."""
    records.put(_KNOWN, event_id, now.to_bytes(8, "big"))
    records.put(_BY_AGE, now.to_bytes(8, "big") + event_id, b"1")


def forget_old(vault: Vault, records: Writes, now: int) -> None:
    """Forget some ids that are older than `KEPT_MS`."""
    end = max(0, now - KEPT_MS).to_bytes(8, "big")
    for key, _ in vault.items(_BY_AGE, None, end, limit=_FORGET):
        records.delete(_BY_AGE, key)
        records.delete(_KNOWN, key[8:])
