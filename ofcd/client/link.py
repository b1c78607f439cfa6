"""One relay of this client: all its rooms and joins there, on one link at a time (sans-IO).

The shell opens links and hands over what comes in; each call is one turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from ofcd.client.joins import JoinMachine, PendingJoin
from ofcd.client.lineages import dispute, follow, is_old_news, lineage_of
from ofcd.client.phase import LinkFacts
from ofcd.client.room import RoomMachine
from ofcd.client.turn import Handler, Turn
from ofcd.client.vault import Reader
from ofcd.protocol import frames
from ofcd.protocol.codes import Code, ProtocolError
from ofcd.protocol.ids import InviteId, PublicKey, RelayId, RoomId
from ofcd.themis.lineage import Lineage, TwoSuccessors

__all__ = ["RelayMachine"]

_IN_FLIGHT: Final = 16
"""Requests unanswered at once, until the relay says what it takes."""
_ANSWER_WITHIN: Final = 120_000
"""Milliseconds for an answer. A link may look alive and be deaf: where a message's length was
damaged on the way, all that follows is taken for the rest of it."""
_HELD: Final = 10_000
"""Requests that wait for others to be answered: more than all rooms of a link ask for at once."""

_SHOWN: Final = 16
"""Frames that tell of a hub's keys before HUB_MOVE tells of the hub: a few moves' at once."""


class RelayMachine:
    """This client's dealings with one relay."""

    def __init__(self, random: Callable[[], float]) -> None:
        """Rooms and joins are added by `add_room` and `add_join`."""
        self.rooms: dict[RoomId, RoomMachine] = {}
        self.joins: dict[tuple[RoomId, InviteId], JoinMachine] = {}
        self.welcome: frames.Welcome | None = None
        self._random = random
        self._facts: LinkFacts | None = None
        self._requests: dict[int, tuple[int, Handler]] = {}
        """When each was asked, the oldest first, and who takes the answer."""
        self._held: deque[tuple[Callable[[int], frames.ClientFrame], Handler]] = deque()
        self._next_rid = 1
        self._shown: deque[frames.Successions] = deque(maxlen=_SHOWN)
        """Of relays that are no room's hub yet."""

    @property
    def is_up(self) -> bool:
        """A link is open."""
        return self._facts is not None

    def is_by_replaced_key(self, relay: Lineage) -> bool:
        """Whether the link that is open is by a key that this relay has replaced."""
        facts = self._facts
        if facts is None or facts.relay_id != relay.relay_id:
            return False
        return not relay.is_current(facts.relay_key)

    # -- rooms and joins -------------------------------------------------------------------------

    def add_room(self, turn: Turn, room: RoomId) -> RoomMachine:
        """Open a room that stands in the vault."""
        machine = RoomMachine(turn.records, room, self._random)
        self.rooms[room] = machine
        if self._facts is not None:
            machine.link_up(turn, self._facts)
        return machine

    def add_join(self, turn: Turn, pending: PendingJoin) -> JoinMachine:
        """Go on with a join that stands in the vault."""
        machine = JoinMachine(pending, self._random)
        self.joins[machine.room, machine.invite.invite_id] = machine
        if self._facts is not None:
            machine.link_up(turn, self._facts.relay_id)
        return machine

    def load(self, records: Reader, rooms: list[RoomId], joins: list[PendingJoin]) -> None:
        """Take everything from the vault, anew: after opening, and after a turn that failed."""
        self.rooms = {room: RoomMachine(records, room, self._random) for room in rooms}
        machines = [JoinMachine(pending, self._random) for pending in joins]
        self.joins = {(m.room, m.invite.invite_id): m for m in machines}
        self._forget_link()

    # -- requests --------------------------------------------------------------------------------

    def ask(self, turn: Turn, make: Callable[[int], frames.ClientFrame], handler: Handler) -> None:
        """Send a request, now or when fewer are unanswered. Part of `turn.Asker`."""
        if self._facts is None:
            return  # asked again when a link is open
        if len(self._requests) >= self._allowance:
            self._held.append((make, handler))
            if len(self._held) > _HELD:
                turn.drop = "the relay does not answer"
            return
        rid = self._next_rid
        self._next_rid += 1
        self._requests[rid] = turn.now, handler
        turn.send(make(rid))

    @property
    def _allowance(self) -> int:
        if self.welcome is None:
            return _IN_FLIGHT
        return max(1, min(_IN_FLIGHT, self.welcome.relay_limits.requests_in_flight))

    def _answer(self, turn: Turn, rid: int, frame: frames.RelayFrame) -> None:
        asked = self._requests.pop(rid, None)
        if asked is not None:
            _, handler = asked
            handler(turn, frame)
        while self._held and len(self._requests) < self._allowance:
            self.ask(turn, *self._held.popleft())

    # -- the link --------------------------------------------------------------------------------

    def link_up(
        self,
        turn: Turn,
        relay_id: RelayId,
        relay_key: PublicKey,
        transport_key: PublicKey,
        welcome: frames.Welcome,
    ) -> None:
        """A link is open and the relay has said welcome."""
        self.welcome = welcome
        self._facts = LinkFacts(relay_id, relay_key, transport_key, welcome.challenge)
        # A relay counts what is asked in vain: where one is no member any more, that is last.
        last = [room for room in self.rooms.values() if room.is_out]
        for room in self.rooms.values():
            if room not in last:
                room.link_up(turn, self._facts)
        for join in list(self.joins.values()):
            join.link_up(turn, relay_id)
        for room in last:
            room.link_up(turn, self._facts)

    def link_down(self) -> None:
        """The link is gone; what was asked on it is forgotten."""
        self._forget_link()
        for room in self.rooms.values():
            room.link_down()
        for join in self.joins.values():
            join.link_down()

    def _give_up_at(self) -> int | None:
        """When the oldest request has waited for too long."""
        return next((asked + _ANSWER_WITHIN for asked, _ in self._requests.values()), None)

    def _forget_link(self) -> None:
        self._facts = None
        self.welcome = None
        self._requests.clear()
        self._held.clear()
        self._shown.clear()

    def receive(self, turn: Turn, frame: frames.RelayFrame) -> None:
        """Take one frame; `settle_turn` ends the batch."""
        match frame:
            case frames.Failure(rid=0):
                turn.drop = frame.code
            case frames.JoinAnswer(rid=0):
                for (room, _), join in list(self.joins.items()):
                    if room == frame.room:
                        join.answered(turn, frame.record)
            case frames.JoinStatus(rid=0):
                join_machine = self.joins.get((frame.room, frame.invite_id))
                if join_machine is not None:
                    join_machine.status(turn, frame)
            case (
                frames.Delivery()
                | frames.Box()
                | frames.Head()
                | frames.JoinAsked()
                | frames.JoinConfirmed()
                | frames.KeyAsked()
                | frames.KeyAnswered()
                | frames.Signalled()
                | frames.Removed()
                | frames.Returned()
                | frames.Evidence()
                | frames.Moved()
            ):
                machine = self.rooms.get(frame.room)
                if machine is not None:
                    machine.receive(turn, frame)
            case frames.Successions():
                self._shown.append(frame)
            case frames.Welcome() | frames.FeedKey() | frames.Bulk():
                turn.drop = Code.BAD_FRAME.value  # the session takes these in
            case _:
                self._answer(turn, frame.rid, frame)
        if self._shown:
            self._judge_shown(turn)

    def _judge_shown(self, turn: Turn) -> None:
        """Take what was shown of rooms' hubs; a room may come to another one only after that."""
        hubs = {room.core.state.hub for room in self.rooms.values()}
        for frame in [one for one in self._shown if one.relay_id in hubs]:
            self._shown.remove(frame)
            self._judge(turn, frame)

    def _judge(self, turn: Turn, frame: frames.Successions) -> None:
        """How the relay of a room here came to its key: judged by its statements alone."""
        what = "the relay of a room that you reach through yours"
        try:
            if is_old_news(turn.records, frame.relay_id, frame.records):
                return
            relay = lineage_of(turn.records, frame.relay_id).followed(frame.records)
            # Of use here only: its people are told by their own link.
            if follow(turn.records, relay, what) is not None:
                turn.renewed.append(relay)
        except TwoSuccessors as proof:
            news = dispute(turn.records, proof, what)
            if news is not None:
                turn.tell(news)
        except ProtocolError as error:
            turn.drop = error.code

    def pump(self, turn: Turn) -> None:
        """Everything that is due: after each batch, and when `deadline` has come."""
        give_up_at = self._give_up_at()
        if give_up_at is not None and turn.now >= give_up_at:
            turn.drop = "the relay does not answer"
        for key, join in list(self.joins.items()):
            join.pump(turn)
            if join.over:
                del self.joins[key]
            if join.admitted:
                self._open_joined(turn, join)
        for room in self.rooms.values():
            room.pump(turn)

    def _open_joined(self, turn: Turn, join: JoinMachine) -> None:
        machine = self.add_room(turn, join.room)
        turn.opened.append(join.room)
        for ticket in join.tickets:
            machine.await_live(ticket)

    def deadline(self) -> int | None:
        """When to call `pump`, even if nothing comes in."""
        if self._facts is None:
            return None
        due = [room.deadline() for room in self.rooms.values()]
        due += [join.deadline() for join in self.joins.values()]
        due.append(self._give_up_at())
        return min((at for at in due if at is not None), default=None)
