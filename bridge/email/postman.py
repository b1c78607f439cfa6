"""What waits for somebody becomes mail: when it is due, in a thread, not too often (trio)."""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import trio
from attrs import evolve

from bridge.core.links.pictures import CLEANABLE, Unclean, as_it_may_leave
from bridge.core.network import Host
from bridge.email.addressing import TOKEN_BYTES, token_text
from bridge.email.composing import Item, Letter, compose
from bridge.email.limits import MIB
from bridge.email.parsing import Attachment
from bridge.email.schedule import HOUR_MS, Delivery, Pace, flush_at, may_pass
from bridge.email.settings import EmailPlace
from bridge.email.store import Posted, Store, Subscriber, Waiting
from bridge.email.submitting import NOT_REACHED, Submitter, masked
from ofcd.client import ClientError, Offline, VaultUnwritable
from ofcd.client.applog import traceback_of
from ofcd.protocol.ids import EventId, RoomId

if TYPE_CHECKING:
    from bridge.email.network import EmailNetwork

__all__ = ["Postman"]

_IDLE_SECONDS: Final = 5.0
_FILES: Final = 20
_LATE_MS: Final = 60_000
_AWAY_MS: Final = 60_000
"""How long mails with files wait after the relay did not answer: to ask takes as long as that."""
_REST_MS: Final = 60_000
"""How long somebody's mail waits after a mistake of ours over it."""
NOT_MADE: Final = "a mail could not be made of it"
_MISSING: Final = "[this file could not be fetched, and is not with this mail]"
_WINDOWS: Final = 10_000
_MAIL_ITEMS: Final = 200
"""Messages in one digest; the rest follow in the next."""
_DIGEST_BYTES: Final = MIB
"""Words of one digest, of any length the first."""
_AHEAD: Final = 5
"""Mails of one person that may wait for the server: what is said then waits as it is, which is
small, and in order."""
_AHEAD_BYTES: Final = 256 * MIB
"""Of everybody's mails that wait for it."""


class Postman:
    """Composes for all places of one network."""

    def __init__(
        self, network: EmailNetwork, host: Host, store: Store, submitter: Submitter
    ) -> None:
        self._network = network
        self._host = host
        self._store = store
        self._submitter = submitter
        self._patience = network.settings.give_up_hours * HOUR_MS
        self._windows: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self._ahead: Counter[str] = Counter()
        self._ahead_bytes = 0
        self._crowded: set[str] = set()
        """Whose mails wait for those before them."""
        self._held_back: set[tuple[str, str]] = set()
        """Whose mails waited for longer than anything needs."""
        self._resting: dict[tuple[str, str], int] = {}
        """Whose mail could not be made, and when it is tried again."""
        self._away: dict[RoomId, int] = {}
        """Rooms whose relay did not answer, and until when it is not asked again."""
        self.changed = trio.Event()

    def stir(self) -> None:
        """Something waits now."""
        self.changed.set()
        self.changed = trio.Event()

    def note_done(self, address: str) -> None:
        """A mail to somebody waits for the server no longer: others may."""
        self._ahead[address] -= 1
        if address in self._crowded and self._ahead[address] <= 1:
            self._crowded.discard(address)
            self.stir()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            changed = self.changed
            wait = await self._round()
            with trio.move_on_after(wait):
                await changed.wait()

    async def _round(self) -> float:
        """All that is due is posted; seconds until something may be due next."""
        wait = _IDLE_SECONDS
        ahead = [one for _, one in self._store.posted(self._host.vault)]
        self._ahead = Counter(one.to for one in ahead)
        self._ahead_bytes = sum(one.size for one in ahead)
        for place in self._network.places:
            for one in self._store.subscribers(self._host.vault, place):
                due = await self._serve_safely(place, one)
                if due is not None:
                    wait = min(wait, max(0.001, (due - self._host.now()) / 1000))
        return wait

    async def _serve_safely(self, place: str, one: Subscriber) -> int | None:
        """A mistake of ours costs one person's mail a wait, and not everybody's."""
        again = self._resting.get((place, one.address), 0)
        if self._host.now() < again:
            return again
        try:
            return await self._serve(place, one)
        except Offline:
            self._held_back.add((place, one.address))
            return self._host.now() + _AWAY_MS  # what waits stays, and so does its order
        except VaultUnwritable as error:
            self._network.hourly.disk(error)
            self._resting[place, one.address] = self._host.now() + _REST_MS
            return self._host.now() + _REST_MS
        except Exception as error:  # whatever it is: the others are served
            trace = traceback_of(error)
            self._network.hourly.operator(trace[-200:], "a mail could not be made", trace=trace)
            return self._rest(place, one)

    def _rest(self, place: str, one: Subscriber) -> int:
        """Somebody's mail is tried again later; what could not be made for too long has failed."""
        now = self._host.now()
        items = self._store.items(self._host.vault, place, one.address, _MAIL_ITEMS)
        for item in items[:1]:
            pace = self._network.places[place].options.pace(one.wish, full=True)
            self._give_up_old(place, one, [item], pace, NOT_MADE)
        self._resting[place, one.address] = now + _REST_MS
        return now + _REST_MS

    async def _serve(self, place: str, one: Subscriber) -> int | None:
        """Post what is due for somebody; when more will be, None: nothing waits."""
        while items := self._store.items(self._host.vault, place, one.address, _MAIL_ITEMS):
            if not one.on or one.suspended:
                self._forget(items)
                return None
            room = items[0][1].room
            mine = [item for item in items if item[1].room == room]
            full = self._network.is_full(room)
            pace = self._network.places[place].options.pace(one.wish, full=full)
            now = self._host.now()
            due = _due(pace, mine, one, now, full=full)
            free = self._free_at(place, one.address, now)
            held_until = max(due, free)
            if held_until > now:
                if held_until - mine[0][1].due_from > int(pace.hold * 1000) + _LATE_MS:
                    self._held_back.add((place, one.address))
                return held_until
            if self._submitter.is_failing and self._give_up_old(place, one, mine, pace):
                continue
            if self._ahead[one.address] >= _AHEAD or self._ahead_bytes >= _AHEAD_BYTES:
                self._crowded.add(one.address)
                return now + int(_IDLE_SECONDS * 1000)
            # What was held back (too much at once, quiet hours) comes together; what only waited
            # for the server does not.
            late = (place, one.address) in self._held_back
            together = pace.delivery is Delivery.DIGEST or late
            batch = mine if not full else _fitting(mine) if together else mine[:1]
            await self._post(place, one, room, batch, full=full)
            one = self._store.subscriber(self._host.vault, place, one.address) or one
        self._held_back.discard((place, one.address))
        return None

    def _give_up_old(
        self,
        place: str,
        one: Subscriber,
        mine: Sequence[tuple[bytes, Waiting]],
        pace: Pace,
        why: str = NOT_REACHED,
    ) -> bool:
        """What waited too long for its turn: the originals say so, as of mails that did (G2)."""
        now = self._host.now()
        gathered = pace.every if pace.delivery is Delivery.DIGEST else 0.0
        patience = self._patience + int(max(pace.hold, gathered) * 1000)
        patience += 24 * HOUR_MS if pace.quiet is not None else 0
        old = [item for item in mine if now - item[1].due_from > patience]
        self._forget(old)
        events = tuple((w.event, w.number) for _, w in old if w.event is not None)
        self._submitter.fail_events(place, one.address, why, events)
        return bool(old)

    def _forget(self, items: Sequence[tuple[bytes, Waiting]]) -> None:
        with self._host.transaction() as tx:
            for key, _ in items:
                self._store.replace_item(tx, key, None)

    def _free_at(self, place: str, address: str, now: int) -> int:
        """When somebody may get another mail: at most so many an hour (M4); then together."""
        limit = self._network.settings.per_hour
        good, times = may_pass(self._windows.get(f"{place}/{address}", ()), now, limit)
        if good:
            return now
        self._network.hourly.notice(
            place,
            f"crowded/{address}",
            f"Over {limit} mails in an hour to {masked(address)}: what is said meanwhile comes "
            "together.",
        )
        return times[0] + HOUR_MS

    def _note_sent(self, place: str, address: str, now: int) -> None:
        key = f"{place}/{address}"
        limit = self._network.settings.per_hour
        self._windows[key] = may_pass(self._windows.get(key, ()), now, limit)[1]
        self._windows.move_to_end(key)
        if len(self._windows) > _WINDOWS:
            self._windows.popitem(last=False)

    async def _post(
        self,
        place: str,
        one: Subscriber,
        room: RoomId,
        batch: Sequence[tuple[bytes, Waiting]],
        *,
        full: bool,
    ) -> None:
        options: EmailPlace = self._network.places[place].options
        wanted = batch if full else ()
        files, missing = await self._files(room, wanted, options.attachment_bytes)
        now = self._host.now()
        waiting = [_without_file(item) if key in missing else item for key, item in batch]
        single = len(waiting) == 1
        last = waiting[-1]
        message_id = last.message_id if single and full else self._network.new_id()
        letter = self._letter(place, one, room, waiting, message_id, files, full=full)
        bounce = token_text(secrets.token_bytes(TOKEN_BYTES))
        events = tuple((w.event, w.number) for w in waiting if w.event is not None)
        posted = Posted(
            place=place, to=one.address, bounce=bounce, born=now, due=now, events=events
        )
        raw = compose(letter)
        with self._host.transaction() as tx:
            # What was taken back, or changed, while files were fetched is looked at anew.
            if any(self._store.item(tx, key) != item for key, item in batch):
                return
            self._store.post(tx, posted, raw)
            self._store.keep_references(tx, message_id, letter.references, now)
            if message_id != last.message_id:
                known = self._store.alias(tx, last.message_id) or last.message_id
                self._store.keep_alias(tx, message_id, known, now)
            for key, _ in batch:
                self._store.replace_item(tx, key, None)
            if not full:
                self._store.keep_subscriber(tx, place, evolve(one, last_notice=now))
        self._ahead[one.address] += 1
        self._ahead_bytes += len(raw)
        self._note_sent(place, one.address, now)
        self._submitter.stir()

    def _letter(
        self,
        place: str,
        one: Subscriber,
        room: RoomId,
        waiting: Sequence[Waiting],
        message_id: str,
        files: tuple[Attachment, ...],
        *,
        full: bool,
    ) -> Letter:
        settings = self._network.settings
        single = full and len(waiting) == 1
        items = tuple(
            Item(author=w.author, ts=w.ts, plain=w.plain, html=w.html, late=w.late) for w in waiting
        )
        url = settings.unsubscribe.url
        return Letter(
            place=place,
            domain=settings.domain,
            room=self._host.room_name(room),
            to=one.address,
            message_id=message_id,
            date=self._host.now(),
            items=items if full else (),
            count=len(waiting),
            sender=waiting[0].author if single else "",
            subject=waiting[0].subject if single else "",
            reply_token=one.token,
            references=waiting[0].references if single else (),
            path=waiting[-1].path,
            unsubscribe_url=f"{url.rstrip('/')}/{one.token}" if url else "",
            attachments=files,
            digest=self._network.places[place].options.delivery_to(one.wish) is Delivery.DIGEST,
        )

    async def _files(
        self, room: RoomId, batch: Sequence[tuple[bytes, Waiting]], limit: int
    ) -> tuple[tuple[Attachment, ...], frozenset[bytes]]:
        """The files that go along, no more than one mail's limit; and whose are not to be had.

        Raises `Offline`: the relay has them, and they may be asked for later, for `give_up_hours`.
        """
        found: list[Attachment] = []
        missing: set[bytes] = set()
        left = limit
        for key, waiting in batch:
            if waiting.file is None or waiting.file[2] > left or len(found) == _FILES:
                continue
            if waiting.event is None:
                continue  # no message has it
            name, media_type, size, _ = waiting.file
            try:
                content = await self._fetch(room, waiting.event, size)
            except Offline:
                if self._host.now() - waiting.due_from < self._patience:
                    raise
                content = None
            if content is None:
                missing.add(key)
                continue
            try:
                content, kind = await as_it_may_leave(content, media_type)
            except Unclean:
                continue  # the mail says that there is a file, and not what a camera wrote
            if len(content) > left:
                continue  # a picture that is made anew may be larger than it was
            kept = kind if kind in CLEANABLE else media_type
            found.append(Attachment(name, kept, content))
            left -= len(content)
        return tuple(found), frozenset(missing)

    async def _fetch(self, room: RoomId, event_id: EventId, size: int) -> bytes | None:
        if self._host.now() < self._away.get(room, 0):
            raise Offline("the relay did not answer a moment ago")
        try:
            return await self._host.read_file(room, event_id, size)
        except Offline:
            self._away[room] = self._host.now() + _AWAY_MS
            raise
        except ClientError:
            return None


def _fitting(mine: Sequence[tuple[bytes, Waiting]]) -> Sequence[tuple[bytes, Waiting]]:
    """As many of them as go into one mail; the rest follow."""
    size = 0
    for count, (_, item) in enumerate(mine):
        size += len(item.plain) + len(item.html)
        if count and size > _DIGEST_BYTES:
            return mine[:count]
    return mine


def _without_file(item: Waiting) -> Waiting:
    plain, html = f"{item.plain}\n{_MISSING}", f"{item.html}<p>{_MISSING}</p>"
    return evolve(item, plain=plain, html=html)


def _due(
    pace: Pace, mine: Sequence[tuple[bytes, Waiting]], one: Subscriber, now: int, *, full: bool
) -> int:
    first = mine[0][1].due_from
    if full:
        return flush_at(pace, first, len(mine), now)
    # The first notice comes at once (after the hold); further ones wait their time from that one.
    calm = evolve(pace, delivery=Delivery.EACH)
    due = flush_at(calm, first, len(mine), now)
    return max(due, one.last_notice + int(pace.every * 1000))
