"""Rooms that were moved: whom this relay tells, and what it does when it is told.

(docs/protocol.md, "A hub that is gone for good".) Of a move by force nobody but the new hub need
have heard, and the hub of before can come back, also from a backup of before any move. So it is
told on every link to a relay that has to do with the room; the new hub dials those for it, for some
time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import trio
from attrs import evolve

from ofcd.daemon.connection import failure_of
from ofcd.daemon.linkend import Job
from ofcd.daemon.log import get_log
from ofcd.daemon.workers import Workers
from ofcd.protocol.codes import Code, Malformed, ProtocolError, Refused
from ofcd.protocol.frames import Failure, Moved, PeerFrame
from ofcd.protocol.ids import EventId, Hash32, RelayId, RoomId
from ofcd.protocol.rates import TokenBuckets
from ofcd.relay import BadSnapshot, Decision, HubLied, HubMoved, Relay, Retreat, RoomLog, prepare
from ofcd.relay.facts import EvidenceKept
from ofcd.store import MAX_PAST_HUBS, KeptMoves, Store, StoreError
from ofcd.themis.moves import Moves, Parting, check_claim, seen_of
from ofcd.themis.signed import peek

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub

__all__ = ["TWO_MOVES", "Telling"]

_TRIES: Final = 5
_AGAIN_SECONDS: Final = 10
"""Until what is told is tried once more, where the room grew too fast for it, or lacks something
that its hub has."""
_CUTS: Final = 3
_CUTS_PER_SECOND: Final = 1 / 60
"""How often at once, and then, the end of one room's log may be void; as often a move may be looked
at that comes to nothing."""
_ROOMS: Final = 10_000
"""Rooms of which that is remembered."""
_DIAL_MS: Final = 30 * 24 * 3600 * 1000
"""How long after a move others are dialled to be told of it."""
TWO_MOVES: Final = "two_moves"
"""The code of evidence that root has signed two moves of one term."""


class Hearer(Protocol):
    """A link to a relay that tells, or is told."""

    peer: RelayId
    told_back: set[RoomId]
    """Rooms of which what this relay told was answered by what is known here."""

    def do(self, job: Job) -> None:
        """Do this in the slow lane."""
        ...

    def do_once(self, room: RoomId, job: Job) -> None:
        """As `do`, unless it is still to be done for this room."""
        ...

    async def hand_over(self, frame: PeerFrame) -> None:
        """In the slow lane: queue a frame when the peer has taken most of what waits for it."""
        ...

    def refused(self) -> None:
        """Something that the peer said was refused."""
        ...

    def forged(self) -> None:
        """The peer passed on a false signature."""
        ...

    def offend(self, reason: str) -> None:
        """The peer does what no honest relay does."""
        ...

    def end(self, failure: Failure) -> None:
        """Say why, and close."""
        ...


class Telling:
    """The moves that this relay knows of."""

    def __init__(
        self, hub: Hub, relay: Relay, store: Store, workers: Workers, own_id: RelayId
    ) -> None:
        self._hub = hub
        self._relay = relay
        self._store = store
        self._workers = workers
        self._own_id = own_id
        self._moves: dict[RoomId, KeptMoves] = {}
        self._hubs: dict[RoomId, RelayId] = {}
        """By room, who orders it as these moves say."""
        self._hearers: dict[RoomId, frozenset[RelayId]] = {}
        """By room, who has to do with it."""
        self._past: dict[RoomId, frozenset[RelayId]] = {}
        """By room, who had it before; also in a time that is void, and is in no log."""
        self._flagged: set[tuple[RoomId, EventId]] = set()
        self._settled: set[RoomId] = set()
        """Rooms in whose log here all of their moves were found."""
        limit = partial(TokenBuckets, burst=_CUTS, per_second=_CUTS_PER_SECOND, max_keys=_ROOMS)
        self._cuts, self._failures = limit(), limit()
        self._aside: dict[RoomId, tuple[Hearer, Moves]] = {}
        """Of rooms where it is not the time: what counts most of what is told, and who told it."""
        self._turn = trio.CapacityLimiter(1)
        self._threads = trio.CapacityLimiter(1)
        self._log = get_log()

    # -- telling -----------------------------------------------------------------------------------

    async def load(self) -> tuple[list[KeptMoves], bool]:
        """What the store has of it and is not known yet, when the relay starts; and if that is all.

        Again later where it is not: the store failed.
        """
        try:
            kept = await self._workers.run(self._store.moves, self._threads)
        except StoreError as error:
            self._log.error("a reading of the store failed", error=str(error))
            return [], False
        found, is_all = list[KeptMoves](), True
        for one in kept:
            await trio.lowlevel.checkpoint()  # there may be many
            hearers = one.hearers
            try:
                if hearers is None and one.room not in self._moves:
                    hearers = await self._read_who(one)  # its last move was not noted to its end
            except StoreError as error:
                self._log.error("reading a room failed", error=str(error))
                is_all = False
                continue
            if self._recall(one, hearers):
                found.append(one)
        return found, is_all

    def _recall(self, kept: KeptMoves, hearers: frozenset[RelayId] | None) -> bool:
        """What the store had of a room when it was read; whether others are to be told for it."""
        room, before = kept.room, self._hearers.get(kept.room)
        if room not in self._moves:
            if hearers is None:
                return False
            self._keep(kept)
            self._hearers[room] = hearers
            if kept.hearers is None:
                self._hub.start(self._note, room)
        self._past[room] = self._past.get(room, frozenset()) | kept.past
        self.members_changed(room)  # it may have been moved, or somebody may have come, meanwhile
        return self._hearers[room] != before

    async def _read_who(self, kept: KeptMoves) -> frozenset[RelayId] | None:
        """Who has to do with a room that may have to come from the disk. Raises `StoreError`.

        None where what is stored of it makes no room.
        """
        try:
            held = await self._hub.room(kept.room)
        except BadSnapshot as error:
            self._log.error("reading a room failed", error=str(error))
            return None
        return frozenset() if held is None else self._who(held, kept.past)

    def _hear(self, room: RoomId, hearers: frozenset[RelayId]) -> None:
        """They are told from now on, and after a restart without the room being read for it."""
        self._hearers[room] = hearers
        self._hub.start(self._note, room)

    async def _note(self, room: RoomId) -> None:
        put = partial(self._store.put_hearers, room, self._hearers[room])
        try:
            await self._hub.with_writer(put)
        except StoreError as error:
            self._log.error("whom to tell of a move was not kept", error=str(error))

    def _who(self, room: RoomLog, past: frozenset[RelayId]) -> frozenset[RelayId]:
        """Where members are at home, and who had the room before."""
        hubs = {term.relay_id for term in room.state.hubs}
        return frozenset({*room.state.homes.values(), *hubs, *past} - {self._own_id})

    def heard(self, effect: HubMoved) -> frozenset[RelayId]:
        """A room has another hub: who is to be told."""
        room = self._relay.room(effect.room)
        if not effect.told or room is None:
            return frozenset()
        self._settled.discard(effect.room)
        self._keep(KeptMoves(effect.room, effect.ts, effect.told))
        past = self._past.get(effect.room, frozenset())
        if len(past) < MAX_PAST_HUBS:  # as the store has it already
            past |= {effect.before}
        self._past[effect.room] = past
        self._hear(effect.room, self._who(room, past))
        return self._hearers[effect.room]

    def _keep(self, kept: KeptMoves) -> None:
        """The time is root's: one to come is not dialled for the longer."""
        ts = min(kept.ts, self._hub.milliseconds())
        self._moves[kept.room] = evolve(kept, ts=ts)
        self._hubs[kept.room] = Moves.read(kept.room, kept.records).hub

    def members_changed(self, room: RoomId) -> None:
        """Somebody came, went, or moved home."""
        held = self._relay.room(room)
        if room not in self._moves or held is None:
            return
        hearers = self._who(held, self._past[room])
        if hearers != self._hearers[room]:
            self._hear(room, hearers)

    def wants(self, peer: RelayId) -> bool:
        """Whether this relay is to be dialled, to be told of a room that is ordered here now."""
        return any(peer in hearers for hearers in self._dialled())

    def to_dial(self) -> frozenset[RelayId]:
        """The relays of which `wants` holds."""
        return frozenset[RelayId]().union(*self._dialled())

    def _dialled(self) -> Iterator[frozenset[RelayId]]:
        since = self._hub.milliseconds() - _DIAL_MS
        for room, hearers in self._hearers.items():
            if self._hubs.get(room) == self._own_id and self._moves[room].ts > since:
                yield hearers

    def tell(self, link: Hearer, room: RoomId | None = None) -> None:
        """Tell the other relay of this room, or of every one that it has to do with.

        As fast as it reads: all of it at once may be more than a link holds.
        """

        async def tell(rooms: Iterable[RoomId]) -> None:
            for one in rooms:
                if link.peer in self._hearers.get(one, ()):
                    await link.hand_over(Moved(one, self._moves[one].records))

        if room is None:
            link.do(lambda: tell(list(self._hearers)))
        else:
            link.do_once(room, lambda: tell([room]))

    async def answer(self, link: Hearer, room: RoomId) -> None:
        """In the slow lane: who asked for this room, and may not, hears where it went.

        Of its members this log may not know any more: nobody tells their relay.
        """
        if room in self._moves:
            await link.hand_over(Moved(room, self._moves[room].records))

    # -- being told --------------------------------------------------------------------------------

    async def take(self, link: Hearer, frame: Moved, *, is_again: bool = False) -> None:
        """Another relay tells that a room was moved. `is_again`: it was set aside."""
        kept = self._moves.get(frame.room)
        if frame.room in self._settled and kept is not None and kept.records == frame.records:
            return  # as on each link: the room need not even be read
        try:
            async with self._turn:
                await self._take(link, frame, is_again=is_again)
        except Malformed as error:
            link.offend(str(error))
        except ProtocolError as error:
            if error.kind is Code.BAD_SIGNATURE:
                link.forged()
            link.refused()
            self._log.info("what is told of a move is not taken", why=str(error))
        except HubLied as error:
            link.refused()  # root has signed what can not stand there: it may not be told again
            self._log.error("a room could not be moved", error=str(error))
        except StoreError as error:
            self._log.error("a room could not be moved", error=str(error))
            link.end(failure_of(Code.STORAGE_FAILED))  # it is told again on the next one
        except BadSnapshot as error:
            self._log.error("a room could not be moved", error=str(error))

    async def _take(self, link: Hearer, frame: Moved, *, is_again: bool) -> None:
        moves = Moves.read(frame.room, frame.records)
        for left in reversed(range(_TRIES)):
            room = await self._hub.room(frame.room)
            if room is None:
                return  # nothing to do with it
            try:
                parting = await self._part(link, room, moves)
            except Refused as error:
                await self._contradicted(link, room, moves, error)
                return
            if parting is None:  # it is here, or on its way
                if not room.told:
                    self._settled.add(frame.room)
                return
            if wait := self._wait(room, parting, is_again=is_again):
                self._set_aside(link, frame.room, moves, wait)
                return
            try:
                await self._step_back(link, room, await self._prepare(room, moves, parting))
                return
            except (ProtocolError, HubLied) as error:
                if error.kind is not Code.TRY_AGAIN:
                    self._failures.take(frame.room, self._hub.milliseconds())
                    raise
                if not left:
                    self._set_aside(link, frame.room, moves, _AGAIN_SECONDS)
                    return
            await self._hub.do(Decision)  # until what was decided before is stored

    def _wait(self, room: RoomLog, parting: Parting, *, is_again: bool) -> float:
        """Seconds until these are taken, or looked at again.

        A HANDOVER may be on its way from the hub so far: that is waited for once. And root may
        sign moves without end, of which each costs a reading of the room, and its readers.
        """
        if not is_again and not self._relay.is_level(room.room):
            return _AGAIN_SECONDS
        if parting.base == room.seq:
            return 0
        key, now = room.room, self._hub.milliseconds()
        return max(self._cuts.wait(key, now), self._failures.wait(key, now)) / 1000

    def _set_aside(self, link: Hearer, room: RoomId, moves: Moves, seconds: float) -> None:
        """Take these, or what counts more and is told meanwhile, after so long."""
        aside = self._aside.get(room)
        if aside is None:
            self._hub.start(self._take_later, room, seconds)
        if aside is None or aside[1].counts_less(moves):
            self._aside[room] = link, moves

    async def _take_later(self, room: RoomId, seconds: float) -> None:
        await trio.sleep(seconds)
        link, moves = self._aside.pop(room)
        told = Moved(room, tuple(one.envelope for one in moves.signed))
        await self.take(link, told, is_again=True)

    async def _part(self, link: Hearer, room: RoomLog, moves: Moves) -> Parting | None:
        """What follows from it. Nothing is read before it is known that root has signed it."""
        await self._flag(link, room, moves)
        missing = moves.news(room.state, room.last_told, link.peer)
        if not missing:
            return None
        await self._workers.run(partial(check_claim, missing, room.state), self._threads)
        if moves.hub == self._own_id and not self._relay.hosts:
            raise Refused(Code.FORBIDDEN, "this relay takes over no rooms of others")
        ours = await self._log_at(room, seen_of(missing[0]).seq)
        return moves.part(missing, room.state, room.seq, ours)

    async def _log_at(self, room: RoomLog, seq: int) -> Hash32 | None:
        """The own L there, where it is known."""
        known = None if seq > room.seq else room.log_at(seq)
        if known is not None or seq > room.seq:
            return known
        read = partial(self._store.log_before, room.room, seq + 1)
        return await self._workers.run(read, self._threads)

    async def _prepare(self, room: RoomLog, moves: Moves, parting: Parting) -> Retreat:
        log = await self._log_at(room, parting.base)
        if log is None:
            if not parting.is_next:
                raise Refused(Code.HUB_AWAY, "this copy does not reach back to where it parted")
            log = parting.move.seen.log
        end = room.seq

        def verified() -> Retreat:
            if parting.base == end:
                return prepare(room, moves, parting, None)
            kept = self._store.load_before(room.room, parting.base, log)
            if kept is None:
                raise Refused(Code.TRY_AGAIN)
            return prepare(room, moves, parting, RoomLog.from_snapshot(kept))

        return await self._workers.run(verified, self._threads)

    async def _step_back(self, link: Hearer, room: RoomLog, found: Retreat) -> None:
        now = self._hub.milliseconds()
        decide = partial(self._relay.step_back, room.room, found, link.peer, now)
        await self._hub.do(decide, room.room)
        self._hub.deliver_soon()
        if found.room is not None:
            self._cuts.take(room.room, now)
            self._log.warning(
                "the end of a room's log is void: the room was moved without it",
                room=room.room.hex()[:16],
                hub=found.parting.hub.hex()[:16],
                entries=found.end - found.parting.base,
            )

    async def _contradicted(
        self, link: Hearer, room: RoomLog, moves: Moves, error: Refused
    ) -> None:
        """Another move counts, which they are told; or root has signed another log than is here.

        Two relays that do not agree, each for its own reasons, tell each other so once a link.
        """
        if error.kind is Code.CONFLICT:
            if room.room not in link.told_back:
                link.told_back.add(room.room)
                self.tell(link, room.room)
            return
        if error.kind is not Code.FORK:
            raise error
        lied = HubLied(error.kind, str(error), (moves.signed[-1].envelope, room.head))
        told = tuple(one.envelope for one in moves.signed)
        now = self._hub.milliseconds()
        await self._hub.do(lambda: self._relay.stand_still(room.room, told, lied, now), room.room)
        self._hub.deliver_soon()

    async def _flag(self, link: Hearer, room: RoomLog, moves: Moves) -> None:
        """Root has signed two moves of one term: keep both, whichever counts; once for a term."""
        for own, rival in moves.rivals(room.state):
            key = room.room, own.event_id
            if key in self._flagged:
                continue
            try:
                await self._workers.run(partial(check_claim, [rival], room.state), self._threads)
            except ProtocolError:
                link.refused()  # nothing but what root has signed tells of root
                continue
            ours = next((one for one in room.moves if peek(one).event_id == own.event_id), b"")
            self._flagged.add(key)
            known = await self._workers.run(self._store.evidence, self._threads)
            if any(ours in kept.records for kept in known if kept.code == TWO_MOVES):
                continue  # before a restart
            records = tuple(filter(None, (ours, rival.envelope)))
            kept = EvidenceKept(room.room, self._hub.milliseconds(), TWO_MOVES, records)
            await self._hub.do(partial(Decision, (kept,)), room.room)
