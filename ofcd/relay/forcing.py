"""A room whose hub is gone for good, and relays that have not heard of a move (protocol.md, 19).

Root hands the record to the relay that is to be the hub, and that takes it at the end of its copy:
`check_away`, `run_away`. Whoever else has the room is told. It then has to take back what it has
behind the place where the record stands, and to ask the new hub for what comes next: `step_back`.
So does the hub of before, should it come back.
"""

from __future__ import annotations

from attrs import evolve, field, frozen

from ofcd.protocol import frames
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import Hash32, RelayId
from ofcd.protocol.records import HubMove, LoggedRecord
from ofcd.relay.control import check_control, run_control
from ofcd.relay.effects import Decision, Effect, Push
from ofcd.relay.facts import Fact, LogCut, SenderLearnt
from ofcd.relay.following import freeze, replicate
from ofcd.relay.forwarding import check_forward, run_forward
from ofcd.relay.moving import change_hub, return_all
from ofcd.relay.outbox import require_thawed
from ofcd.relay.request import Core, Request, Signatures
from ofcd.relay.room_log import RoomLog
from ofcd.relay.verifying import Entry, HubLied, Verified, verify_entries
from ofcd.themis.moves import Moves, Parting
from ofcd.themis.signed import peek

__all__ = ["Retreat", "check_away", "prepare", "run_away", "stand_still", "step_back"]

Ask = Request[frames.Control, LoggedRecord]


# -- the new hub ---------------------------------------------------------------------------------


def check_away(request: Ask) -> Signatures:
    """A control record in a room that another relay orders: for that one, but for a forced move."""
    if not _is_forced(request):
        return check_forward(request)
    require_thawed(request.core, request.room)
    return check_control(request)


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
    cut: LogCut | None = None
    """What is void here; None where there is nothing."""
    room: RoomLog | None = None
    """The room without it."""
    senders: tuple[SenderLearnt, ...] = ()
    next: tuple[Verified, ...] = field(default=(), repr=False)
    """The HUB_MOVE, where it is the next entry."""


def prepare(
    room: RoomLog,
    moves: Moves,
    parting: Parting,
    cut: tuple[LogCut, RoomLog, tuple[SenderLearnt, ...]] | None,
) -> Retreat:
    """Verify that root moves the room, and that the first fits. `cut`: what is void, and the rest.

    That the moves bear the name and signature of who is root here now was checked before.

    Raises `ProtocolError`, `HubLied`. Changes nothing: for a worker thread.
    """
    fact, rest, senders = (None, None, ()) if cut is None else cut
    base = rest or room
    parting.check_root(base.state, room.state)
    entries: list[Verified] = []
    if parting.is_next:
        entry = Entry(parting.base + 1, parting.first.envelope)
        entries = verify_entries(base, [entry])
    told = tuple(one.envelope for one in moves.signed)
    return Retreat(told, parting, room.seq, room.log, fact, rest, senders, tuple(entries))


def step_back(core: Core, held: RoomLog, found: Retreat, now: int) -> Decision:
    """Take back what is void, and follow the relay that the room was moved to.

    That may be this one, put back to before it was: until it has what was there before, it orders
    nothing. Raises `Refused` (try_again) where the room has changed since, and (forbidden) where
    this relay is to be the hub, and takes over no rooms.
    """
    if (held.seq, held.log) != (found.end, found.log):
        raise Refused(Code.TRY_AGAIN)
    if found.parting.hub == core.relay_id and not core.policy.hosts:
        raise Refused(Code.FORBIDDEN, "this relay takes over no rooms of others")
    facts: list[Fact] = []
    effects: list[Effect] = []
    before, room = held.hub, held
    if found.cut is not None and found.room is not None:
        effects += _tell_clients(core, held, found)
        facts += [evolve(found.cut, ts=now), *found.senders]
        room = core.rooms[held.room] = found.room
        for key in [key for key in core.acked if key[0] == room.room]:
            del core.acked[key]
    room.ahead, room.frozen = None, ""
    _take_moves(core, room, found, before, now, facts, effects)
    if found.cut is not None:
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
    last = peek(told[-1]).record
    if room.hub == core.relay_id and isinstance(last, HubMove):
        room.ahead = last.hub
        change_hub(core, room, core.relay_id, told, facts, effects)
    frozen = freeze(core, room, lied, None, now)
    return Decision((*facts, *frozen.facts), (*effects, *frozen.effects))


def _tell_clients(core: Core, room: RoomLog, found: Retreat) -> list[Effect]:
    """Before they are hung up on: who is let in nowhere any more hears why."""
    told = frames.Moved(room.room, found.told)
    links = (core.links.get(link_id) for link_id in core.links.attached(room.room))
    return [Push(link.id, told) for link in links if link is not None and link.peer is None]


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
    parting = found.parting
    room.ahead = parting.hub
    taken = replicate(core, room, found.next, now)
    if room.state.hub == parting.hub:
        room.ahead = None
    facts += taken.facts
    change_hub(core, room, before, found.told, facts, effects)
    effects += taken.effects
