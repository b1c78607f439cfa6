"""What a command works with: the client, the person's words for things, and where output goes."""

from __future__ import annotations

import contextlib
import getpass
from typing import Any, Final

import trio
from attrs import define, evolve, field, frozen

from ofcd.client import (
    AppEvent,
    Client,
    LinkState,
    LinkStateChanged,
    MemberInfo,
    MemberJoined,
    Message,
    MessageReceived,
    Offline,
    Room,
    RoomStatus,
    Stage,
    TooSlow,
    display_name,
)
from ofcd.errors import OfcError
from ofcd.ofc.console import Input, Output, Shape
from ofcd.ofc.errors import NotKnown, UsageError
from ofcd.ofc.markup import words
from ofcd.ofc.names import Candidate, find, short
from ofcd.ofc.records import Who, delivery_record, event_record, void_record
from ofcd.ofc.text import one_line
from ofcd.protocol.codec import build, dump_json, parse_json, unbuild
from ofcd.protocol.ids import EventId, MemberId
from ofcd.protocol.records import Cap

__all__ = ["Context", "Defaults", "who_in"]

DEFAULT_RELAY: Final = "ws://127.0.0.1:5103"
"""Where `make run` starts a relay."""
_TABLE: Final = "app/ofc"
_KEY: Final = b"defaults"
_FLUSH_SECONDS: Final = 10
_QUOTED: Final = 80
_NAME_SECONDS: Final = 3.0
_JUST: Final = 8
"""Entries after which someone has not just joined."""
_SEQ_DIGITS: Final = 15
_ID_DIGITS: Final = 64


@frozen
class Defaults:
    """What is remembered from one command to the next; kept in the vault."""

    name: str = ""
    relay: str = ""


@define(eq=False)
class Context:
    """One command under way."""

    client: Client
    output: Output
    inputs: Input
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    """Ends the command when its time is up."""
    patience: float = float("inf")
    """Seconds without progress before the time is up."""
    relay_url: str | None = None
    """The relay that this command waits for, once known."""

    # -- output ----------------------------------------------------------------------------------

    async def say(self, shape: Shape, **fields: Any) -> None:
        """One object of the result."""
        await self.output.record(shape, fields)

    async def note(self, text: str) -> None:
        """Something the person should know meanwhile."""
        await self.output.note(text)

    async def progress(self, what: str, done: int, total: int) -> None:
        """Show it, and give the command its whole time again."""
        self.scope.deadline = trio.current_time() + self.patience
        await self.output.progress(what, done, total)

    def take_all_the_time(self) -> None:
        """From here on the command waits for a person: its time is without limit."""
        self.patience = self.scope.deadline = float("inf")

    def event(self, room: Room, event: AppEvent, *, named: bool = False) -> dict[str, Any] | None:
        """The object for a room's event; `named` puts the room's name into it."""
        made = event_record(event, who_in(room))
        if made is None:
            return None
        made["room"] = room.id.hex()
        if "reply_to" in made:
            made["reply"] = _answered(room, made["reply_to"])
        if isinstance(event, MessageReceived) and event.message.mine:
            made["delivery"] = delivery_record(room.delivery(event.seq))
        return {**made, "in": room_label(room)} if named else made

    def void(self, room: Room, message: Message) -> dict[str, Any]:
        """The object for a message that came to nothing, and was not said again."""
        return {**void_record(message, who_in(room)), "room": room.id.hex()}

    async def name_arrives(self, room: Room, event: AppEvent) -> None:
        """Wait a moment for the name of who has just joined: it comes a little later."""
        if not isinstance(event, MemberJoined) or room.head - event.seq > _JUST:
            return
        with (
            room.events() as told,
            trio.move_on_after(_NAME_SECONDS),
            contextlib.suppress(TooSlow),
        ):
            if not room.name_of(event.member):
                async for _ in told:
                    if room.name_of(event.member):
                        return

    def now(self) -> int:
        """Milliseconds since 1970."""
        return self.client.now()

    # -- what words mean -------------------------------------------------------------------------

    def room(self, word: str, *, local: bool = False) -> Room:
        """The room that a word names; raises `NotKnown` or `Ambiguous`.

        `local`: nothing is asked of its relay, so it does not matter whether that is there.
        """
        rooms = {room.id.hex(): room for room in self.client.rooms}
        found = find("room", word, (Candidate(key, room.name) for key, room in rooms.items()))
        room = rooms[found.hex_id]
        if not local:
            self.relay_url = room.relay_url
        return room

    async def live_room(self, word: str) -> Room:
        """`room`, attached and caught up. Raises what keeps it from being so."""
        room = self.room(word)
        await room.wait_live()
        return room

    def member(self, room: Room, word: str) -> MemberInfo:
        """The current member that a word names; raises `NotKnown` or `Ambiguous`."""
        members = {member.mid.hex(): member for member in room.members()}
        candidates = (Candidate(key, member.name) for key, member in members.items())
        return members[find("member", word, candidates).hex_id]

    def message(self, room: Room, word: str) -> Message:
        """The message with this number (`12` or `#12`) or event id; raises `NotKnown`."""
        bare = word.removeprefix("#").lower()
        if bare.isdecimal() and len(bare) <= _SEQ_DIGITS:
            near = room.messages(since=int(bare), limit=1)
            if near and near[0].seq == int(bare):
                return near[0]
        elif len(bare) == _ID_DIGITS and all(digit in "0123456789abcdef" for digit in bare):
            found = room.message(EventId(bytes.fromhex(bare)))
            if found is not None:
                return found
        raise NotKnown(
            f"there is no message {word!r} here: name it by its number, as `ofc read` shows it "
            "(#12), or by its event id"
        )

    # -- defaults --------------------------------------------------------------------------------

    @property
    def defaults(self) -> Defaults:
        """What is remembered."""
        raw = self.client.vault.get(_TABLE, _KEY)
        return Defaults() if raw is None else build(Defaults, parse_json(raw, max_bytes=len(raw)))

    def my_name(self, given: str | None) -> str:
        """The name to go by: as given (and remembered), else as before, else the login name."""
        if given is None:
            return self.defaults.name or display_name(getpass.getuser())
        name = display_name(given)
        if not name:
            raise UsageError("that name shows nothing: choose another --name")
        self._remember(name=name)
        return name

    def relay(self, given: str | None) -> str:
        """The relay for a new room: as given, else the last one used, else this machine's."""
        self.relay_url = given or self.defaults.relay or DEFAULT_RELAY
        return self.relay_url

    def remember_relay(self, url: str) -> None:
        """The next room is made there too, unless told otherwise."""
        self._remember(relay=url)

    def _remember(self, **changes: str) -> None:
        defaults = self.defaults
        changed = evolve(defaults, **changes)
        if changed != defaults:
            with self.client.transaction() as tx:
                tx.put(_TABLE, _KEY, dump_json(unbuild(changed)))

    # -- waiting ---------------------------------------------------------------------------------

    async def flush(self, room: Room) -> None:
        """Wait for a moment until what is queued in this room is sent."""
        with trio.move_on_after(_FLUSH_SECONDS), room.events() as events:
            while any(item.stage in (Stage.QUEUED, Stage.SENT) for item in room.outbox()):
                await anext(events)

    async def catch_up(self, room: Room) -> OfcError | None:
        """None once the room is up to date; why not, as soon as that is clear.

        Unlike `live_room` this does not go on trying: what is here can be shown without a relay.
        """
        if not room.status.is_open and room.status is not RoomStatus.HIDDEN:
            return None  # nothing more will come
        found: list[OfcError | None] = []
        async with trio.open_nursery() as nursery:

            async def until_live() -> None:
                try:
                    await room.wait_live()
                    found.append(None)
                except OfcError as error:
                    found.append(error)
                nursery.cancel_scope.cancel()

            async def until_offline() -> None:
                found.append(await self._offline(room))
                nursery.cancel_scope.cancel()

            nursery.start_soon(until_live)
            nursery.start_soon(until_offline)
        return found[0]

    async def _offline(self, room: Room) -> Offline:
        """Returns once another try to reach the room's relay has failed."""
        with self.client.events() as events:
            self.client.retry_now()
            async for event in events:
                here = isinstance(event, LinkStateChanged) and event.url == room.relay_url
                if here and getattr(event, "state", None) is LinkState.OFFLINE:
                    break
        detail = self.offline_detail(room.relay_url) or "no link"
        return Offline(f"{room.relay_url} can not be reached: {detail}")

    def offline_detail(self, url: str | None) -> str:
        """Why this relay can not be reached, if it is known that it can not."""
        for relay in self.client.relays:
            if relay.url == url and not relay.online and relay.detail:
                return relay.detail
        return ""

    def put_off(self, url: str | None) -> str:
        """What this relay, which is there, gives as its reason not to take what is sent yet."""
        if self.offline_detail(url):
            return ""
        waiting = (
            item
            for room in self.client.rooms
            if room.relay_url == url
            for item in room.outbox()
            if item.stage is not Stage.FAILED
        )
        said = (f"{item.text} ({item.code})" for item in waiting if item.text)
        return next(said, "") or next((r.put_off for r in self.client.relays if r.url == url), "")


def room_label(room: Room) -> str:
    """How a room is called."""
    return room.name or short(room.id.hex())


def _answered(room: Room, event_id: str) -> dict[str, Any] | None:
    """The beginning of the message that another one answers, if it is here."""
    found = room.message(EventId(bytes.fromhex(event_id)))
    if found is None:
        return None
    said = words({"text": found.text, "format": found.format})
    return {
        "seq": found.seq,
        "member": found.mid.hex(),
        "name": found.name,
        "text": one_line(said or (found.file.name if found.file else ""))[:_QUOTED],
    }


def who_in(room: Room) -> Who:
    """The members of a room, as its events need them."""
    caps = {member.mid: member.caps for member in room.members()}
    names = {member.mid: member.name for member in room.members()}

    def name(mid: MemberId) -> str:
        return names.get(mid) or room.name_of(mid)

    def caps_of(mid: MemberId) -> frozenset[Cap]:
        return caps.get(mid, frozenset())

    return Who(name, caps_of, room.me, room.sponsor_of)
