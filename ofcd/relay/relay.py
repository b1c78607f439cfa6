"""`Relay`: the core's only entrance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ofcd.protocol import frames
from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.ids import Hash32, MemberId, PublicKey, RelayId, RoomId
from ofcd.relay import upkeep
from ofcd.relay.commands import COMMANDS, examine, reopen, require_patience, room_of
from ofcd.relay.effects import Close, Decision, LinkId, Reply, Unsubscribe
from ofcd.relay.facts import RoomSnapshot
from ofcd.relay.links import Link
from ofcd.relay.policy import RelayPolicy
from ofcd.relay.rates import Rate, Rates
from ofcd.relay.refusal import failure_of
from ofcd.relay.request import Core, Examined
from ofcd.relay.room_log import RoomLog

__all__ = ["Relay"]

_NO_ANSWER: Final = 0


class Relay:
    """Takes client frames, returns facts to commit and effects to perform. Owned by one task.

    For each frame, in the order its link sent them:

        relay.require_patience(link, frame, now)        # may raise ProtocolError
        while (room := relay.needs(frame)) is not None:
            relay.load(room, <the room's snapshot, from the store>)
        examined = relay.examine(link, frame, now)      # may raise ProtocolError
        <verify examined.signatures in a worker thread> # may raise ProtocolError
        <needs and load again, if anything else ran in between>
        decision = relay.decide(link, examined, now)

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

    def close_link(self, link: LinkId, now: int) -> Decision:
        """A link is gone; what it still has under way is not decided any more."""
        closed = self._core.links.get(link)
        rooms = list(closed.rooms) if closed else []
        self._core.links.close(link)
        return Decision(effects=tuple(Unsubscribe(link, room) for room in rooms))

    def is_attached(self, link: LinkId, room: RoomId, mid: MemberId) -> bool:
        """Whether the link is in the room as `mid`, who is a member now."""
        held = self._core.links.get(link)
        log = self._core.rooms.get(room) or self._core.forgotten.get(room)
        return bool(held and log and held.rooms.get(room) == mid and mid in log.state.members)

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

    def needs(self, frame: frames.ClientFrame) -> RoomId | None:
        """The room that must be loaded before this frame is examined or decided, if any."""
        room = room_of(frame)
        if room is None or room in self._core.rooms or room in self._core.absent:
            return None
        command = COMMANDS.get(type(frame))
        if command is None or (command.attached and not self._core.links.attached(room)):
            return None  # it will be refused without a look at the room
        return None if isinstance(frame, frames.Detach) else room

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

    def freed(self, room: RoomId, mid: MemberId, size: int) -> None:
        """`size` bytes of attachments of `mid` are gone from the store: they no longer count."""
        log = self._core.rooms.get(room)
        left = 0 if log is None else log.blob_bytes.pop(mid, 0) - size
        if log is not None and left > 0:
            log.blob_bytes[mid] = left

    # -- requests --------------------------------------------------------------------------------

    def require_patience(self, link: LinkId, frame: frames.ClientFrame, now: int) -> None:
        """Ask before a room is loaded for a frame. Raises `Refused` for who asks too often."""
        require_patience(self._core, link, frame, now)

    def examine(self, link: LinkId, frame: frames.ClientFrame, now: int) -> Examined:
        """The cheap checks. Raises `ProtocolError`: answer with `failure(frame, error)`."""
        return examine(self._core, link, frame, now)

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
