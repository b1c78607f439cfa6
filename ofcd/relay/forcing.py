"""A room whose hub is gone for good, and relays that have not heard of a move (protocol.md, 19).

Root hands the record to the relay that is to be the hub, and that takes it at the end of its copy:
`check_away`, `run_away`. Whoever else has the room is told. It then has to take back what it has
behind the place where the record stands, and to ask the new hub for what comes next: `step_back`.
So does the hub of before, should it come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import field, frozen

from ofcd.protocol import frames
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import Hash32, RelayId
from ofcd.protocol.records import HubMove, LoggedRecord
from ofcd.protocol.room import RoomState
from ofcd.relay.control import check_control, run_control
from ofcd.relay.effects import Close, Decision, Effect, Push, Rewound
from ofcd.relay.facts import Fact, LogCut, ReplicaMoved
from ofcd.relay.following import freeze, replicate
from ofcd.relay.forwarding import check_forward, run_forward
from ofcd.relay.moving import change_hub, return_all
from ofcd.relay.outbox import require_thawed
from ofcd.relay.refusal import Refusal, failure_of
from ofcd.relay.request import Core, Request, Signatures
from ofcd.relay.room_log import RoomLog
from ofcd.relay.verifying import Entry, HubLied, Verified, verify_entries
from ofcd.themis.moves import Moves, Parting
from ofcd.themis.signed import SignedRecord, peek

__all__ = [
    "FORGET_ASKED_MS",
    "Retreat",
    "begin_anew",
    "check_away",
    "prepare",
    "run_away",
    "stand_still",
    "step_back",
]

Ask = Request[frames.Control, LoggedRecord]

_LEVEL_MS: Final = 60_000
"""How long the copy may take to come level with its hub, from when root has asked first."""
_AGAIN_MS: Final = 1_000
FORGET_ASKED_MS: Final = 30_000
"""How long it is known since when root asks, once root does not: its client asks each second."""
_NOT_LEVEL: Final = "the copy here does not have all that its hub, which is there, has yet"


# -- the new hub ---------------------------------------------------------------------------------


def check_away(request: Ask) -> Signatures:
    """A control record in a room that another relay orders: for that one, but for a forced move."""
    if not _is_forced(request):
        return check_forward(request)
    require_thawed(request.room)
    _require_level(request)
    return check_control(request)


def _require_level(request: Ask) -> None:
    """Nothing that the hub so far has ordered is on its way: it may be a HANDOVER.

    While there is a link to the hub, and it has more than the copy, or may. For a minute: whatever
    it says and gives, and however often it comes anew, it does not keep its room by that.
    """
    room, core, now = request.room, request.core, request.now
    if core.is_level(room):
        return
    first, last = core.force_asked.get(room.room, (now, now))
    if now - last > FORGET_ASKED_MS:  # asked for in vain once, it is no right to what comes later
        first = now
    if request.member.mid == room.state.root:
        core.force_asked[room.room] = first, now
    if now < first + _LEVEL_MS:
        raise Refusal(Code.TRY_AGAIN, _NOT_LEVEL, seq=room.seq, retry_after=_AGAIN_MS)


def run_away(request: Ask) -> None:
    """Pass it on; or be the hub from now on."""
    if _is_forced(request):
        run_control(request)
    else:
        run_forward(request)


def _is_forced(request: Ask) -> bool:
    record = request.record
    return isinstance(record, HubMove) and record.force


# -- whoever is told -----------------------------------------------------------------------------


@frozen
class Retreat:
    """What a relay that was told of a move is about to do, verified in a worker thread."""

    told: tuple[bytes, ...] = field(repr=False)
    parting: Parting
    end: int
    """Where the log ended when this was prepared, and its L there."""
    log: Hash32
    state: RoomState = field(repr=False)
    """The room's state there."""
    room: RoomLog | None = field(default=None, repr=False)
    """The room without what is void; None where nothing is."""
    next: tuple[Verified, ...] = field(default=(), repr=False)
    """The HUB_MOVE, where it is the next entry."""

    def check(self, held: RoomLog) -> None:
        """Raises `Refused` (try_again) where it does not fit any more.

        What was put behind the end of then is void as well, unless it changes who is root.
        """
        is_longer = held.seq > self.end and self.room is not None
        ours = held.log_at(self.end) if is_longer or held.seq == self.end else None
        now, then = held.state, self.state
        if ours != self.log or (now.root, now.moved) != (then.root, then.moved):
            raise Refused(Code.TRY_AGAIN)


def prepare(room: RoomLog, moves: Moves, parting: Parting, rest: RoomLog | None) -> Retreat:
    """Verify that root moves the room, and that the first fits. `rest`: without what is void.

    That the moves bear the name and signature of who is root here now was checked before. Raises
    `ProtocolError` (try_again where the room has grown meanwhile), `HubLied`. Changes nothing: for
    a worker thread.
    """
    base = rest or room
    parting.check_root(base.state, room.state)
    entries: list[Verified] = []
    if parting.is_next:
        entry = Entry(parting.base + 1, parting.first.envelope)
        try:
            entries = verify_entries(base, [entry])
        except HubLied as lied:
            if lied.kind is Code.TRY_AGAIN:
                raise Refused(Code.TRY_AGAIN) from lied
            raise
    told = _vouched_for(room, moves.signed)
    return Retreat(told, parting, room.seq, room.log, room.state, rest, tuple(entries))


def step_back(core: Core, held: RoomLog, found: Retreat, now: int) -> Decision:
    """Take back what is void, and follow the relay that the room was moved to.

    That may be this one, put back to before it was: until it has what was there before, it orders
    nothing. Raises `Refused` (try_again) where the room has changed since.
    """
    found.check(held)
    facts: list[Fact] = []
    effects: list[Effect] = []
    before, room = held.hub, held
    if found.room is not None:
        effects += [*_tell_clients(core, held, found), Rewound(held.room)]
        room = core.rooms[held.room] = found.room
        facts.append(LogCut(room.room, held.seq, room.seq, room.log, now))
        facts += room.take_over(held)
        for key in [key for key in core.acked if key[0] == room.room]:
            del core.acked[key]
    room.ahead, room.frozen, room.told, room.unwilling = None, "", (), False
    room.lost = {}  # what is being given back may be void too
    _take_moves(core, room, found, before, now, facts, effects)
    if found.room is not None:
        return_all(core, room, facts, effects)
    return Decision(tuple(facts), tuple(effects))


def stand_still(
    core: Core, room: RoomLog, told: tuple[bytes, ...], lied: HubLied, now: int
) -> Decision:
    """Root has signed another log than this one, before the room was moved: nothing holds here.

    A hub that was put back to a backup, and has given numbers away again, orders no more either.
    """
    facts: list[Fact] = []
    effects: list[Effect] = []
    told = _vouched_for(room, [peek(envelope) for envelope in told])
    last = peek(told[-1]).record
    if room.hub == core.relay_id and room.told != told and isinstance(last, HubMove):
        room.ahead, room.told = last.hub, told
        change_hub(core, room, core.relay_id, told, facts, effects)
    frozen = freeze(core, room, lied, None, now)
    return Decision((*facts, *frozen.facts), (*effects, *frozen.effects))


def begin_anew(held: RoomLog, rest: RoomLog | None, hub: RelayId, now: int) -> list[Fact]:
    """An operator's word for a copy that has no way back: all goes but GENESIS, and `hub` is asked.

    `rest` is the room with nothing else; None where nothing else is here.
    """
    facts: list[Fact] = []
    if rest is not None:
        facts.append(LogCut(held.room, held.seq, rest.seq, rest.log, now))
        facts += rest.take_over(held)
    return [*facts, ReplicaMoved(held.room, hub)]


def _vouched_for(room: RoomLog, told: Sequence[SignedRecord]) -> tuple[bytes, ...]:
    """These HUB_MOVEs as they may be kept, and told on.

    Of those that stand in the log here, what was told may bear any signature: only the others'
    were verified.
    """
    own = {peek(envelope).event_id: envelope for envelope in room.moves}
    here = {hub.event_id for hub in room.state.moved} - own.keys()
    return tuple(own.get(one.event_id, one.envelope) for one in told if one.event_id not in here)


def _tell_clients(core: Core, room: RoomLog, found: Retreat) -> list[Effect]:
    """Who is in the room hears why, and comes back: so does who has yet to ask where to read on."""
    told = frames.Moved(room.room, found.told)
    again = failure_of(0, Refused(Code.TRY_AGAIN))
    own = core.links.end(room.room)
    return [effect for link in own for effect in (Push(link, told), Close(link, again))]


def _take_moves(
    core: Core,
    room: RoomLog,
    found: Retreat,
    before: RelayId,
    now: int,
    facts: list[Fact],
    effects: list[Effect],
) -> None:
    """The first HUB_MOVE, where it is the next entry; and who is asked for all that follows."""
    room.ahead, room.told = found.parting.hub, found.told
    taken = replicate(core, room, found.next, now)
    facts += taken.facts
    change_hub(core, room, before, found.told, facts, effects)
    effects += taken.effects
