"""`Relay`: the core's only entrance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ofcd.protocol import frames
from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.ids import Hash32, MemberId, PublicKey, RelayId, RoomId
from ofcd.relay import blobs, joining, keys, upkeep
from ofcd.relay.commands import COMMANDS, examine, read, reopen
from ofcd.relay.effects import Close, Decision, FindUpload, LinkId, Reply
from ofcd.relay.facts import RoomSnapshot
from ofcd.relay.links import Link
from ofcd.relay.policy import RelayPolicy
from ofcd.relay.rates import Rate, Rates
from ofcd.relay.refusal import failure_of
from ofcd.relay.request import Asked, Core, Examined
from ofcd.relay.room_log import RoomLog

__all__ = ["Relay"]

_NO_ANSWER: Final = 0


class Relay:
    """Takes client frames, returns facts to commit and effects to perform. Owned by one task.

    For each frame, in the order its link sent them:

        asked = relay.read(link, frame, now)            # may raise ProtocolError
        while (room := relay.needs(asked)) is not None:
            relay.load(room, <the room's snapshot, from the store>)
        examined = relay.examine(link, asked, now)      # may raise ProtocolError
        <verify examined.signatures in a worker thread> # may raise ProtocolError
        <needs(examined) and load again, if anything else ran in between>
        decision = relay.decide(link, examined, now)

    Tell it of each refusal by `refused`, and wait as long as `penance` says before the next frame.

    then commit `decision.facts` (of many decisions at once), and only then perform the effects.
    If the commit fails, `forget` the rooms of its facts: they are loaded anew. All times are
    milliseconds since 1970.
    """

    def __init__(self, relay_id: RelayId, policy: RelayPolicy, *, rooms: int = 0) -> None:
        """`rooms` is how many there are in the store, for the quota."""
        self._core = Core(relay_id, policy, Rates(policy), room_count=rooms)

    # -- links -----------------------------------------------------------------------------------

    def open_link(
        self, link: LinkId, transport_key: PublicKey, challenge: Hash32, now: int
    ) -> None:
        """A link is open: its session proved `transport_key`, its Welcome told `challenge`."""
        self._core.links.open(Link(link, transport_key, challenge))

    def close_link(self, link: LinkId) -> None:
        """A link is gone, and with it its feeds; what it has under way is not decided any more."""
        self._core.links.close(link)

    def is_attached(self, link: LinkId, room: RoomId, mid: MemberId) -> bool:
        """Whether the link is in the room as `mid`, who is a member now."""
        held = self._core.links.get(link)
        log = self._core.rooms.get(room) or self._core.forgotten.get(room)
        return bool(held and log and held.rooms.get(room) == mid and mid in log.state.members)

    def backlog(
        self, link: LinkId, room: RoomId, mid: MemberId, now: int
    ) -> list[frames.RelayFrame]:
        """What waits for a member who has come: joins, key requests. Nothing if it went again."""
        log = self._core.rooms.get(room)
        if log is None or not self.is_attached(link, room, mid):
            return []
        member = log.state.member(mid)
        days = self._core.policy.join_pending_days
        return [*joining.waiting_for(log, member, days, now), *keys.waiting_for(log, member)]

    def bad_signature(self, link: LinkId, now: int) -> Decision:
        """A signature of this link's was false: above the limit, close it."""
        if self._core.rates.spend(Rate.BAD_SIGNATURE, link, now):
            return Decision()
        error = Refused(Code.RATE_LIMITED, "too many false signatures on this connection")
        return Decision(effects=(Close(link, failure_of(_NO_ANSWER, error)),))

    # -- rooms -----------------------------------------------------------------------------------

    @property
    def rooms_in_memory(self) -> int:
        """How many rooms are held in memory now."""
        return len(self._core.rooms)

    @property
    def doubtful(self) -> tuple[RoomId, ...]:
        """Rooms that count, although it is not known that they exist: load them when possible."""
        return tuple(self._core.unsure - self._core.rooms.keys())

    def is_loaded(self, room: RoomId) -> bool:
        """Whether the room is in memory."""
        return room in self._core.rooms

    def needs(self, asked: Asked | Examined) -> RoomId | None:
        """The room that must be loaded before this frame is examined or decided, if any."""
        room = asked.room
        if room is None or room in self._core.rooms or room in self._core.absent:
            return None
        command = COMMANDS[type(asked.frame)]
        if command.attached and not self._core.links.attached(room):
            return None  # it will be refused without a look at the room
        return None if isinstance(asked.frame, frames.Detach) else room

    def load(self, room: RoomId, snapshot: RoomSnapshot | RoomLog | None) -> None:
        """Take a room into memory; None: there is no such room. Raises `BadSnapshot`.

        Reading a long control log takes time: `RoomLog.from_snapshot` may be called in a worker
        thread, and its result passed here. A room already in memory stays as it is.
        """
        if room in self._core.rooms:
            return
        upkeep.take_in(self._core, room, snapshot)

    def forget(self, rooms: Iterable[RoomId]) -> None:
        """A commit failed: what is in memory of these rooms is not true. Links stay attached."""
        for room in rooms:
            upkeep.forget(self._core, room)

    def doubt(self, examined: Examined) -> None:
        """Deciding this failed in a way nobody foresaw: what is in memory may not be true."""
        self.forget([] if examined.room is None else [examined.room])

    def freed(self, room: RoomId, mid: MemberId, size: int) -> None:
        """`size` bytes of attachments of `mid` are gone from the store: they no longer count."""
        log = self._core.rooms.get(room)
        if log is not None:
            log.free(mid, size)

    def uploaded(
        self, put: FindUpload, owner: tuple[MemberId, int] | None
    ) -> frames.Done | frames.Failure:
        """The answer to a chunk, now that the store says whose attachment of how many it is."""
        return blobs.settle(self._core.rooms.get(put.room), put, owner)

    # -- requests --------------------------------------------------------------------------------

    def read(self, link: LinkId, frame: frames.ClientFrame, now: int) -> Asked:
        """The cheapest checks, which need no room; the link's rates count it from here on.

        Raises `ProtocolError`: answer with `failure(frame, error)`.
        """
        return read(self._core, link, frame, now)

    def examine(self, link: LinkId, asked: Asked, now: int) -> Examined:
        """The cheap checks. Raises `ProtocolError`: answer with `failure(frame, error)`."""
        return examine(self._core, link, asked, now)

    def refused(self, link: LinkId, now: int) -> None:
        """Something that this link asked was refused."""
        self._core.rates.spend(Rate.REFUSAL, link, now)

    def penance(self, link: LinkId, now: int) -> int:
        """Milliseconds to wait before this link's next frame: 0 unless much of it was refused."""
        return self._core.rates.wait(Rate.REFUSAL, link, now)

    def decide(self, link: LinkId, examined: Examined, now: int) -> Decision:
        """What comes of a frame whose signatures are right. Never raises `ProtocolError`.

        A request gets exactly one answer: a `Reply` or a lookup. A frame without a number gets
        none, and what is wrong with it is passed over.
        """
        if self._core.links.get(link) is None:
            return Decision()
        try:
            command, request = reopen(self._core, link, examined, now)
            command.run(request)
        except ProtocolError as error:
            failure = self.failure(examined.frame, error)
            return Decision(effects=(Reply(link, failure),) if failure.rid else ())
        if request.room_log is not None:
            request.room_log.touched = now
        return request.decision()

    def failure(
        self, frame_or_rid: frames.ClientFrame | int, error: ProtocolError
    ) -> frames.Failure:
        """The answer to a request that failed. A false ATTACH never tells of room or member."""
        if isinstance(frame_or_rid, int):
            return failure_of(frame_or_rid, error)
        if isinstance(frame_or_rid, frames.Attach) and error.kind is Code.BAD_SIGNATURE:
            error = Refused(Code.NOT_FOUND)
        return failure_of(getattr(frame_or_rid, "rid", _NO_ANSWER), error)

    # -- time ------------------------------------------------------------------------------------

    def tick(self, now: int) -> Decision:
        """Drop joins that waited too long, and rooms nobody uses. For every few seconds."""
        return upkeep.tick(self._core, now)
