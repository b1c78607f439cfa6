"""Admitted mails of each place go into its rooms in the order in which they were taken (trio).

Usually a mail goes in while its server waits for the reply. Where the rooms can not take it now
(the relay is away and it has files, or too much came at once) it waits here, on the disk, and what
comes to the same place later waits behind it: the reply is 250, for a server that is told to come
again comes when it likes, after others. Where nothing may wait here, servers keep mail themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import trio
from attrs import evolve

from bridge.core.model import Verdict
from bridge.core.network import Host
from bridge.email.limits import MIB
from bridge.email.parsing import Mail
from bridge.email.store import Held, Kept, Store
from ofcd.client.applog import traceback_of

__all__ = ["INBOX_BYTES", "INBOX_MAILS", "Inbox"]

INBOX_MAILS: Final = 500
INBOX_BYTES: Final = 64 * MIB
"""Of one place: what its people send while the relay is away."""
_WAITS: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
_REST: Final = 20
"""After a try that was in vain, how many times as long as it took none is made: what is large to
search is not searched all the time for a relay that is away for days."""
_FAILURES: Final = 3
"""Of ours over one mail: then others go before it, and an owner decides."""
_PATIENCE_MS: Final = 5 * 24 * 3_600_000
"""How long a mail waits: as long as mail servers keep trying."""
_LATER: Final = (Verdict.FULL, Verdict.LIMITED)


class Inbox:
    """What waits for its place's rooms, and whose turn it is."""

    def __init__(
        self,
        host: Host,
        store: Store,
        places: Iterable[str],
        read: Callable[[bytes], Awaitable[Mail]],
        say: Callable[[str, Mail, bytes], Awaitable[Verdict]],
    ) -> None:
        self._host = host
        self._store = store
        self._read = read
        self._say = say
        self._turns = {one: trio.Lock() for one in places}
        """Whoever has it brings a mail in."""
        self._changed = {one: trio.Event() for one in self._turns}

    async def run(self) -> None:
        """Bring in what waits, each place at its own pace, until cancelled."""
        async with trio.open_nursery() as nursery:
            for place in self._turns:
                nursery.start_soon(self._serve, place)

    async def bring(self, place: str, mail: Mail, raw: bytes) -> Verdict:
        """Say a mail in its turn; `TAKEN` also where it waits, on the disk; else `FULL`."""
        turn = self._turns[place]
        if turn.locked() or self._store.first_in(self._host.vault, place) is not None:
            return self._put(place, mail, raw)
        async with turn:
            verdict = await self._say(place, mail, raw)
            return self._put(place, mail, raw) if verdict in _LATER else verdict

    def _put(self, place: str, mail: Mail, raw: bytes) -> Verdict:
        kept = Kept(mail_id=mail.id, ts=self._host.now(), size=len(raw))
        with self._host.transaction() as tx:
            there = [one for _, one in self._store.inbox(tx, place)]
            if any(one.mail_id == mail.id for one in there):
                return Verdict.DUPLICATE
            size = sum(one.size for one in there) + len(raw)
            if len(there) >= INBOX_MAILS or size > INBOX_BYTES:
                return Verdict.FULL
            self._store.put_in(tx, place, kept, raw)
        self._changed[place].set()
        return Verdict.TAKEN

    async def _serve(self, place: str) -> None:
        tries = 0
        while True:
            changed = self._changed[place] = trio.Event()
            first = self._store.first_in(self._host.vault, place)
            if first is None:
                await changed.wait()
                continue
            async with self._turns[place]:
                began = trio.current_time()
                done = await self._one(place, *first)
                took = trio.current_time() - began
            if done:
                tries = 0
            else:
                await trio.sleep(max(_WAITS[min(tries, len(_WAITS) - 1)], _REST * took))
                tries += 1

    async def _one(self, place: str, number: int, kept: Kept) -> bool:
        """Whether the first one is done with: in the room, or before an owner."""
        raw = self._store.raw_in(self._host.vault, place, number)
        if kept.failures >= _FAILURES:
            self._aside(place, number, kept, raw, "something went wrong over it")
            return True
        # Counted before: of a mail that ends the whole bridge nothing could be written after.
        self._keep(place, number, evolve(kept, failures=kept.failures + 1))
        try:
            mail = await self._read(raw)
            verdict = await self._say(place, mail, raw)
        except Exception as error:  # whatever it is: one mail must not end what serves all others
            self._host.operator("a mail could not be handled", trace=traceback_of(error))
            return False
        except BaseException:
            self._keep(place, number, kept)  # the bridge is told to end: not the mail's fault
            raise
        if verdict in (*_LATER, Verdict.CLOSED):
            if self._host.now() - kept.ts < _PATIENCE_MS:
                self._keep(place, number, kept)
                return False
            self._aside(place, number, kept, raw, "no room took it for days")
            return True
        self._keep(place, number, None)
        if verdict is Verdict.INVALID:
            self._host.notice(place, "A mail can not be shown here.", key="invalid")
        return True

    def _keep(self, place: str, number: int, kept: Kept | None) -> None:
        with self._host.transaction() as tx:
            self._store.keep_in(tx, place, number, kept)

    def _aside(self, place: str, number: int, kept: Kept, raw: bytes, why: str) -> None:
        """An owner decides; where too much waits for one, the room learns that it is gone."""
        held = Held(sender="somebody known", why=why, ts=kept.ts, mail_id=kept.mail_id, proven=True)
        with self._host.transaction() as tx:
            waits = self._store.hold(tx, place, held, raw)
            self._store.keep_in(tx, place, number, None)
        text = f"A mail could not be brought in ({why})"
        if waits is None:
            self._host.operator("a mail is lost: too much waits for an owner's word", why=why)
            self._host.notice(place, f"{text}, and too much waits for an owner's word: it is lost.")
        else:
            self._host.notice(place, f"{text}: it waits for an owner's word.")
