"""What local people ask of one hub, in lanes, and what it answers and tells them.

A lane for each local member of each room, one for each local stranger who joins. All of them begin
anew on each link.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio
from attrs import define, evolve, field, frozen

from ofcd.daemon.connection import failure_of, rid_of
from ofcd.daemon.log import get_log
from ofcd.daemon.peers.cache import BlobCache
from ofcd.daemon.peers.hublink import HubLink, HubRooms
from ofcd.protocol import frames, limits
from ofcd.protocol.codes import Code
from ofcd.protocol.frames import (
    LaneAsk,
    LaneClose,
    LaneLost,
    LaneOpen,
    PeerFrame,
    RelayFrame,
    encode_frame,
)
from ofcd.protocol.ids import MemberId, RoomId
from ofcd.relay import Forward, LinkId, Relay
from ofcd.relay.facts import ChainRecord
from ofcd.relay.room_log import chain_size
from ofcd.themis.signed import peek

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub
    from ofcd.daemon.linkend import LinkEnd

__all__ = ["Asking", "last_word", "next_to_ask"]

_ANSWER_SECONDS: Final = 30
_UNDER_WAY: Final = 32
"""Requests in one lane: what the hub takes of one member at a time."""
_LANE_BYTES: Final = 256
"""More than a frame grows by in a lane."""
_CHAIN_BYTES: Final = limits.CHAIN_BYTES
_PUSHED_TO_MEMBERS: Final = (
    frames.JoinAsked,
    frames.JoinConfirmed,
    frames.KeyAsked,
    frames.KeyAnswered,
)
_PUSHED_TO_JOINERS: Final = (frames.JoinStatus, frames.JoinAnswer)

_GONE: Final = frozenset({Code.BLOB_GONE, Code.NOT_FOUND})
"""Answers to what was asked; relays of before say the second."""
_KEEPER_AWAY: Final = (
    "a relay that the room was at before, and that may have this, can not be reached now"
)

F = TypeVar("F")
LaneKey = tuple[RoomId, MemberId] | LinkId
Answered = Callable[[RelayFrame], Awaitable[None]]
Have = Callable[[RoomId, MemberId], Awaitable[bool]]


def _numbered(frame: F, rid: int) -> F:
    """The same request or answer under another number."""
    numbered: Any = frame
    renamed: F = evolve(numbered, rid=rid)
    return renamed


def next_to_ask(effect: Forward, code: str) -> Forward:
    """The same request, of the next relay that may have an answer, after one that said `code`."""
    missed = effect.missed or code not in _GONE
    return evolve(effect, hub=effect.others[0], others=effect.others[1:], missed=missed)


def last_word(effect: Forward, failure: frames.Failure) -> frames.Failure:
    """What to tell, when nobody else is left to ask: what could not be asked for is not gone."""
    if failure.code not in _GONE or not isinstance(effect.frame, frames.BlobGet):
        return failure
    if effect.missed:
        return evolve(failure_of(Code.HUB_AWAY), text=_KEEPER_AWAY)
    return failure_of(Code.BLOB_GONE)


@frozen
class _Asked:
    answered: Answered
    lane: int


@define(eq=False)
class _Lane:
    """A lane to the hub: what is under way in it, and what waits until some of that is answered."""

    number: int
    key: LaneKey
    under_way: set[int] = field(factory=set)
    waiting: dict[int, bytes] = field(factory=dict)
    opening: bool = False
    """Who it is of stands in the link's slow lane."""


class Asking:
    """All that is asked of one hub."""

    def __init__(
        self,
        rooms: HubRooms,
        hub: Hub,
        relay: Relay,
        cache: BlobCache,
        have: Have,
    ) -> None:
        """`have` waits until a room is here for a member, and tells whether it is."""
        self._rooms = rooms
        self._hub = hub
        self._relay = relay
        self._cache = cache
        self._have = have
        self._link: HubLink | None = None
        self._rids = count(1)
        self._asked: dict[int, _Asked] = {}
        self._lanes: dict[LaneKey, _Lane] = {}
        self._ends: dict[int, _Lane] = {}
        self._numbers = count(1)
        self._joiners: dict[tuple[LinkId, RoomId], MemberId] = {}
        self._entering: set[tuple[LinkId, RoomId]] = set()
        """Joiners that are told of their admission as soon as the room is here."""
        self._log = get_log()

    def link_up(self, link: HubLink) -> None:
        """A link is open."""
        self._link = link

    def link_down(self) -> None:
        """The link is gone: who asked something is told so."""
        self._link = None
        asked, self._asked = self._asked, {}
        self._lanes.clear()
        self._ends.clear()
        for question in asked.values():
            self._hub.start(question.answered, failure_of(Code.HUB_AWAY))

    # -- asking ------------------------------------------------------------------------------------

    def forward(self, connection: LinkEnd, effect: Forward) -> bool:
        """Ask the hub what a local link asked, and answer it; False without a link."""
        link = self._link
        if link is None:
            return False
        frame = effect.frame
        if isinstance(frame, frames.Lookup | frames.Join | frames.JoinConfirm):
            frame = evolve(frame, hub=None, hub_url="")
            if effect.joiner is not None:
                self._joiners[connection.link, effect.room] = effect.joiner
            lane = self._lane(connection.link)
        elif effect.mid is None:
            return False
        else:
            lane = self._lane((effect.room, effect.mid))
        rid = rid_of(frame)
        if not rid:
            if not link.is_behind:  # a hint for the screen: it may be lost
                self._send(LaneAsk(lane.number, encode_frame(frame)))
            return True

        async def answered(answer: RelayFrame) -> None:
            if not effect.quiet:
                await self._hand_back(connection, effect, rid, answer)

        self._ask(lane, frame, answered)
        return True

    def ask(
        self, room: RoomId, mid: MemberId, frame: frames.ClientFrame, answered: Answered
    ) -> None:
        """Ask the hub as this member."""
        self._ask(self._lane((room, mid)), frame, answered)

    def _ask(self, lane: _Lane, frame: frames.ClientFrame, answered: Answered) -> None:
        number = next(self._rids)
        encoded = encode_frame(_numbered(frame, number))
        if len(encoded) > limits.FRAME_BYTES - _LANE_BYTES:
            # In its lane it would be more than a frame may be, and our fault to the hub.
            self._hub.start(answered, failure_of(Code.TOO_LARGE))
            return
        self._asked[number] = _Asked(answered, lane.number)
        lane.waiting[number] = encoded
        self._send_on(lane)
        self._hub.start(self._give_up, number)

    def _send_on(self, lane: _Lane) -> None:
        """As many requests as may be under way at a time."""
        while lane.waiting and len(lane.under_way) < _UNDER_WAY:
            number = next(iter(lane.waiting))
            lane.under_way.add(number)
            self._send(LaneAsk(lane.number, lane.waiting.pop(number)))

    async def _give_up(self, number: int) -> None:
        await trio.sleep(_ANSWER_SECONDS)
        question = self._settle(number)
        if question is not None:
            await question.answered(failure_of(Code.HUB_AWAY))

    def _settle(self, number: int) -> _Asked | None:
        """This question has its answer: another may follow in its lane."""
        question = self._asked.pop(number, None)
        lane = None if question is None else self._ends.get(question.lane)
        if lane is not None:
            lane.waiting.pop(number, None)
            lane.under_way.discard(number)
            self._send_on(lane)
        return question

    def _send(self, frame: PeerFrame) -> None:
        link = self._link
        if link is not None:
            link.do(partial(link.hand_over, frame))

    def _lane(self, key: LaneKey) -> _Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._new_lane(key)
            self._open(lane)
        return lane

    def _new_lane(self, key: LaneKey) -> _Lane:
        lane = self._lanes[key] = _Lane(next(self._numbers), key)
        self._ends[lane.number] = lane
        return lane

    def _open(self, lane: _Lane) -> None:
        """Say whose lane it is, unless that is about to be said."""
        link = self._link
        if link is None or lane.opening or not isinstance(lane.key, tuple):
            return
        opened = LaneOpen(lane.number, *lane.key)
        lane.opening = True

        async def opening() -> None:
            lane.opening = False
            await link.hand_over(opened)

        link.do(opening)

    def came(self, room: RoomId, mid: MemberId) -> None:
        """A local member is here: have the hub say what waits for it."""
        if self._link is None or self._rooms.held(room) is None:
            return
        known = self._lanes.get((room, mid))
        if known is None:
            self._lane((room, mid))
        else:
            self._open(known)

    async def enter(self, room: RoomId, mids: Sequence[MemberId]) -> None:
        """In the slow lane: members who came before the link, or before the room had this hub.

        They may have nothing to ask of the hub, and it much to tell them.
        """
        for mid in mids:
            link = self._link
            if link is None or self._rooms.held(room) is None:
                return
            if (room, mid) not in self._lanes:
                lane = self._new_lane((room, mid))
                await link.hand_over(LaneOpen(lane.number, room, mid))

    def release(self, room: RoomId) -> None:
        """Another hub orders this room: who asked something of this one is told to ask again."""
        for key in [key for key in self._lanes if isinstance(key, tuple) and key[0] == room]:
            lane = self._lanes.pop(key)
            self._ends.pop(lane.number, None)
            self._send(LaneClose(lane.number))
            for number in [n for n, asked in self._asked.items() if asked.lane == lane.number]:
                question = self._asked.pop(number)
                self._hub.start(question.answered, failure_of(Code.TRY_AGAIN))

    def left(self, link: LinkId) -> None:
        """A local link is gone: with it goes the lane of a stranger."""
        lane = self._lanes.pop(link, None)
        if lane is not None:
            self._ends.pop(lane.number, None)
            self._send(LaneClose(lane.number))
        for key in [key for key in self._joiners if key[0] == link]:
            del self._joiners[key]

    # -- answers -----------------------------------------------------------------------------------

    async def _hand_back(
        self, connection: LinkEnd, effect: Forward, rid: int, answer: RelayFrame
    ) -> None:
        if isinstance(answer, frames.JoinStatus) and answer.state == frames.JoinState.ADMITTED:
            self._hub.start(self._admitted, connection, effect.room, evolve(answer, rid=rid))
            return
        if isinstance(answer, frames.Blob) and isinstance(effect.frame, frames.BlobGet):
            await self._cache.keep(effect.frame, answer)
        # The hub of now has asked those before it.
        is_gone = isinstance(answer, frames.Failure) and answer.code == Code.BLOB_GONE
        is_last = not effect.others or (is_gone and effect.hub == self._relay.hub_of(effect.room))
        if isinstance(answer, frames.Failure) and not is_last and self._hub.federation:
            self._hub.federation.forward(connection, next_to_ask(effect, answer.code))
            return
        if isinstance(answer, frames.Failure):
            answer = last_word(effect, answer)
        if isinstance(answer, frames.Failure) and answer.code != Code.HUB_AWAY:
            self._relay.refused(connection.link, self._hub.milliseconds())
        if rid_of(answer) or isinstance(answer, frames.Failure):
            self._hub.answer(connection, _numbered(answer, rid))
            connection.pump()

    async def _pushed_in(self, connection: LinkEnd, status: frames.JoinStatus) -> None:
        try:
            await self._admitted(connection, status.room, status)
        finally:
            self._entering.discard((connection.link, status.room))

    async def _admitted(self, connection: LinkEnd, room: RoomId, status: frames.JoinStatus) -> None:
        """Tell a joiner that it is a member once the room is here for it."""
        mid = self._joiners.get((connection.link, room))
        here = mid is not None and await self._have(room, mid)
        frame: RelayFrame = status
        if not here:
            frame = failure_of(Code.HUB_AWAY, status.rid)
        if status.rid:
            self._hub.answer(connection, frame)
        elif here:
            connection.push_encoded(encode_frame(status))
        connection.pump()

    # -- what the hub tells ------------------------------------------------------------------------

    async def told(self, lane: int, frame: RelayFrame) -> None:
        """The hub answers in this lane, or tells whom it is of something."""
        rid = rid_of(frame)
        if rid:
            known = self._asked.get(rid)
            if known is not None and known.lane == lane:
                self._settle(rid)
                await known.answered(frame)
            return
        end = self._ends.get(lane)
        key = None if end is None else end.key
        if isinstance(key, tuple) and isinstance(frame, _PUSHED_TO_MEMBERS):
            encoded = encode_frame(frame)
            for link in self._relay.links_of(*key):
                self._push(link, encoded)
        elif key is not None and not isinstance(key, tuple):
            self._joiner_told(key, frame)

    def _joiner_told(self, link: LinkId, frame: RelayFrame) -> None:
        connection = self._hub.find(link)
        if connection is None or not isinstance(frame, _PUSHED_TO_JOINERS):
            return
        if isinstance(frame, frames.JoinStatus) and frame.state == frames.JoinState.ADMITTED:
            if (link, frame.room) not in self._entering:  # a hub may say so again and again
                self._entering.add((link, frame.room))
                self._hub.start(self._pushed_in, connection, frame)
        else:
            self._push(link, encode_frame(frame))

    def signalled(self, frame: RelayFrame) -> None:
        """A hint for all who are in the room, but the one who gave it."""
        if not isinstance(frame, frames.Signalled):
            return
        if self._rooms.held(frame.room) is None:
            return
        encoded = encode_frame(frame)
        for link, mid in self._relay.links_in(frame.room):
            connection = None if mid == frame.mid else self._hub.find(link)
            if connection is not None and not connection.is_behind:
                connection.push_signal(encoded)
                connection.pump()

    def _push(self, link: LinkId, encoded: bytes) -> None:
        connection = self._hub.find(link)
        if connection is not None:
            connection.push_encoded(encoded)
            connection.pump()

    async def lost(self, frame: LaneLost) -> None:
        """The hub knows nobody of this lane: what was asked there has no answer."""
        lane = self._ends.pop(frame.lane, None)
        if lane is not None:
            self._lanes.pop(lane.key, None)
        for number in [n for n, asked in self._asked.items() if asked.lane == frame.lane]:
            question = self._asked.pop(number, None)
            if question is not None:
                await question.answered(frames.Failure(0, frame.code, "the hub closed your lane"))

    # -- a room that is new here -------------------------------------------------------------------

    async def read_chain(
        self, room: RoomId, mid: MemberId, start: int = 0, paged: Callable[[], None] = lambda: None
    ) -> list[ChainRecord]:
        """The room's control log from `start` on, as the hub tells it to this member.

        `paged` is called for each part of it that comes.
        """
        records: list[ChainRecord] = []
        size = 0
        while True:
            page = await self._answer_to(room, mid, frames.ChainGet(1, room, start))
            if not isinstance(page, frames.ChainPage) or len(page.seqs) != len(page.records):
                return []
            for seq, envelope in zip(page.seqs, page.records, strict=True):
                size += chain_size(envelope)
                if seq < start or size > _CHAIN_BYTES:
                    self._log.error("a hub shows a control log out of order, or without end")
                    return []
                records.append(ChainRecord(seq, peek(envelope).event_id, envelope))
                start = seq + 1
            if not page.more:
                return records
            if not page.seqs:
                return []
            paged()

    async def _answer_to(
        self, room: RoomId, mid: MemberId, frame: frames.ClientFrame
    ) -> RelayFrame | None:
        found: list[RelayFrame] = []
        done = trio.Event()

        async def answered(answer: RelayFrame) -> None:
            found.append(answer)
            done.set()

        self.ask(room, mid, frame, answered)
        with trio.move_on_after(_ANSWER_SECONDS):
            await done.wait()
        return found[0] if found else None
