"""Admitted mails of each place go into its rooms in the order in which they were taken (trio).

Usually a mail goes in while its server waits for the reply. Where a room can not take it now (its
relay is away and it has files, or too much came at once) it waits here for that room, on the disk,
and what comes later waits behind it there; the place's other rooms have both meanwhile. The reply
is 250, for a server that is told to come again comes when it likes, after others. Where nothing
may wait here, servers keep mail themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from math import inf
from typing import Final

import trio
from attrs import define, evolve, field, frozen

from bridge.core.model import Verdict
from bridge.core.network import Host
from bridge.email.limits import MIB
from bridge.email.parsing import Mail
from bridge.email.reading import Deadly
from bridge.email.store import Held, Kept, Store
from bridge.email.telling import Hourly
from ofcd.client import VaultUnwritable
from ofcd.client.applog import traceback_of
from ofcd.protocol.ids import RoomId

__all__ = ["INBOX_BYTES", "INBOX_MAILS", "Inbox", "Said"]

INBOX_MAILS: Final = 500
INBOX_BYTES: Final = 64 * MIB
"""Of one place: what its people send while the relay is away."""
_WAITS: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
_REST: Final = 20
"""After a try that was in vain, how many times as long as it took none is made: what is large to
search is not searched all the time for a relay that is away for days."""
_REST_SECONDS: Final = 600.0
"""And no longer than this."""
_FAILURES: Final = 3
"""Of ours over one mail: then others go before it, and an owner decides."""
_PATIENCE_MS: Final = 5 * 24 * 3_600_000
"""How long a mail waits: as long as mail servers keep trying."""


@frozen
class Said:
    """What became of a mail in the rooms it was for."""

    verdict: Verdict
    later: frozenset[RoomId] = frozenset()
    """Those that have not all of it yet, and take the rest when it is brought again."""


@define(eq=False)
class _Place:
    """A place's own turn."""

    waiting: dict[int, Kept]
    """What is on the disk of it, in order."""
    turn: trio.Lock = field(factory=trio.Lock)
    """Whoever has it brings a mail in."""
    changed: trio.Event = field(factory=trio.Event)
    tries: dict[int, tuple[int, float]] = field(factory=dict)
    """How often the mail of a number was tried in vain, and when it is tried again."""


class Inbox:
    """What waits for its place's rooms, and whose turn it is."""

    def __init__(
        self,
        host: Host,
        store: Store,
        places: Iterable[str],
        read: Callable[[bytes], Awaitable[Mail]],
        say: Callable[[str, Mail, bytes, frozenset[RoomId]], Awaitable[Said]],
        hourly: Hourly,
    ) -> None:
        self._host = host
        self._hourly = hourly
        self._store = store
        self._read = read
        self._say = say
        self._places = {one: _Place(dict(store.inbox(host.vault, one))) for one in places}

    async def run(self) -> None:
        """Bring in what waits, each place at its own pace, until cancelled."""
        async with trio.open_nursery() as nursery:
            for place in self._places:
                nursery.start_soon(self._serve, place)

    def is_full(self, place: str) -> bool:
        """Whether not even a small mail may wait: told before one is read, which costs more."""
        waiting = self._places[place].waiting.values()
        return len(waiting) >= INBOX_MAILS or sum(one.size for one in waiting) >= INBOX_BYTES

    async def bring(self, place: str, mail: Mail, raw: bytes) -> Verdict:
        """Say a mail in its turn; `TAKEN` also where it waits, on the disk; else `FULL`."""
        mine = self._places[place]
        # The id alone is known to whoever has somebody else's mail.
        mail_id = f"{mail.senders[0].key} {mail.id}"
        kept = Kept(mail_id=mail_id, ts=self._host.now(), size=len(raw))
        if mine.turn.locked() or mine.waiting:
            return self._put(place, kept, raw)
        async with mine.turn:
            said = await self._say(place, mail, raw, self._rooms(place))
            if said.later:
                return self._put(place, evolve(kept, rooms=tuple(said.later)), raw)
            return said.verdict

    def _rooms(self, place: str) -> frozenset[RoomId]:
        return frozenset(self._host.rooms(place))

    def _put(self, place: str, kept: Kept, raw: bytes) -> Verdict:
        mine = self._places[place]
        if any(one.mail_id == kept.mail_id for one in mine.waiting.values()):
            return Verdict.DUPLICATE
        size = sum(one.size for one in mine.waiting.values()) + len(raw)
        if len(mine.waiting) >= INBOX_MAILS or size > INBOX_BYTES:
            return Verdict.FULL
        with self._host.transaction() as tx:
            number = self._store.put_in(tx, place, kept, raw)
        mine.waiting[number] = kept
        mine.changed.set()
        return Verdict.TAKEN

    async def _serve(self, place: str) -> None:
        while True:
            changed = self._places[place].changed = trio.Event()
            try:
                again = await self._round(place)
            except VaultUnwritable as error:
                self._hourly.disk(error)
                await trio.sleep(_WAITS[-2])
                continue
            with trio.move_on_at(again):
                await changed.wait()

    async def _round(self, place: str) -> float:
        """Bring in what can be; returns when something can be again, on trio's clock."""
        mine, again, behind = self._places[place], inf, frozenset[RoomId]()
        for number, kept in list(mine.waiting.items()):
            there = self._rooms(place)
            wanted = there if kept.rooms is None else frozenset(kept.rooms)
            _, due = mine.tries.get(number, (0, 0.0))
            if due <= trio.current_time() and (wanted - behind or not there):
                left, due = await self._try(place, number, kept, wanted - behind)
                wanted = wanted if left is None else left
            if due > trio.current_time():
                again = min(again, due)
            behind |= wanted
            if again < inf and behind >= there:
                break
        return again

    async def _try(
        self, place: str, number: int, kept: Kept, rooms: frozenset[RoomId]
    ) -> tuple[frozenset[RoomId] | None, float]:
        """Bring one in, in its turn: where it still has to go (None: as before), and when."""
        mine = self._places[place]
        tries, _ = mine.tries.pop(number, (0, 0.0))
        async with mine.turn:
            began = trio.current_time()
            now = await self._one(place, number, kept, rooms)
            took = trio.current_time() - began
        if now is None:
            return frozenset(), 0.0
        left = None if now.rooms is None else frozenset(now.rooms)
        if left is not None and not left & rooms:
            return left, 0.0  # only behind others
        wait = max(_WAITS[min(tries, len(_WAITS) - 1)], min(_REST * took, _REST_SECONDS))
        due = trio.current_time() + wait
        mine.tries[number] = tries + 1, due
        return left, due

    async def _one(
        self, place: str, number: int, kept: Kept, rooms: frozenset[RoomId]
    ) -> Kept | None:
        """What still waits of a mail once it was said in `rooms`; None: it is done with."""
        raw = self._store.raw_in(self._host.vault, place, number)
        if kept.failures >= _FAILURES:
            self._aside(place, number, kept, raw, "something went wrong over it")
            return None
        try:
            mail = await self._read(raw)
            said = await self._say(place, mail, raw, rooms)
        except Deadly as error:
            self._aside(place, number, kept, raw, str(error))
            return None
        except VaultUnwritable:
            raise  # no fault of this mail's
        except Exception as error:  # whatever it is: one mail must not end what serves all others
            self._host.operator("a mail could not be handled", trace=traceback_of(error))
            return self._keep(place, number, evolve(kept, failures=kept.failures + 1))
        closed = said.verdict is Verdict.CLOSED
        if (closed or said.later) and self._host.now() - kept.ts >= _PATIENCE_MS:
            self._aside(place, number, kept, raw, "no room took it for days")
            return None
        if closed:
            return kept
        if said.verdict is Verdict.INVALID:
            self._host.notice(place, "A mail can not be shown here.", key="invalid")
        before = self._rooms(place) if kept.rooms is None else frozenset(kept.rooms)
        left = before - rooms | said.later
        return self._keep(place, number, evolve(kept, rooms=tuple(left)) if left else None)

    def _keep(self, place: str, number: int, kept: Kept | None) -> Kept | None:
        with self._host.transaction() as tx:
            self._store.keep_in(tx, place, number, kept)
        if kept is None:
            del self._places[place].waiting[number]
        else:
            self._places[place].waiting[number] = kept
        return kept

    def _aside(self, place: str, number: int, kept: Kept, raw: bytes, why: str) -> None:
        """An owner decides; where too much waits for one, the room learns that it is gone."""
        held = Held(sender="somebody known", why=why, ts=kept.ts, mail_id=kept.mail_id, proven=True)
        with self._host.transaction() as tx:
            waits = self._store.hold(tx, place, held, raw)
            self._store.keep_in(tx, place, number, None)
        del self._places[place].waiting[number]
        text = f"A mail could not be brought in ({why})"
        if waits is None:
            self._host.operator("a mail is lost: too much waits for an owner's word", why=why)
            self._host.notice(place, f"{text}, and too much waits for an owner's word: it is lost.")
        else:
            self._host.notice(place, f"{text}: it waits for an owner's word.")
