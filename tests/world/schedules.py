"""A relay's core and its clients' machines, joined by queues: every order of events is one seed.

No task, no socket, no session and no disk: what the shells do between frames is done here in
steps, and a random generator says whose step is next. The relay's core decides, the machines of
the clients react, and all that is signed or sealed is so for real.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from random import Random

from attrs import define, field

from ofcd.client import Alarm
from ofcd.client.admitting import keep_token
from ofcd.client.controls import Change, Made
from ofcd.client.events import AppEvent
from ofcd.client.founding import found_room
from ofcd.client.joins import PendingJoin, keep_join
from ofcd.client.link import RelayMachine
from ofcd.client.room import RoomMachine
from ofcd.client.turn import Ticket, Turn
from ofcd.e2e.bodies import Text
from ofcd.e2e.controls import make_grant
from ofcd.e2e.invites import InviteCode, make_invite
from ofcd.e2e.keys import new_sid
from ofcd.protocol import frames
from ofcd.protocol.codes import ProtocolError
from ofcd.protocol.ids import PublicKey, relay_id_of
from ofcd.protocol.records import Record, Role
from ofcd.relay import Decision, Examined, LinkId, RelayPolicy, Reply, RoomLog
from ofcd.themis.signed import peek
from tests.relay.world import World, challenge, keypair, transport_key

__all__ = ["Crowd", "Party"]

URL = "ws://relay.test:5103"
_UNHURRIED = RelayPolicy(
    events_per_second_per_member=10_000,
    events_burst_per_member=100_000,
    events_per_second_per_room=10_000,
    events_burst_per_room=100_000,
    control_per_minute_per_member=10_000,
)
"""Slows nobody down: that is tested elsewhere."""
_STEPS = 20_000
"""Far more than any schedule takes: one that takes as many never ends."""


class Shelf:
    """Records in memory: what a turn writes is there at once (`ofcd.client.vault.Records`)."""

    def __init__(self) -> None:
        self._values: dict[str, dict[bytes, bytes]] = defaultdict(dict)
        self._ids: dict[str, list[bytes]] = defaultdict(list)
        self._actions: list[Callable[[], None]] = []

    def get(self, table: str, record_id: bytes) -> bytes | None:
        return self._values[table].get(record_id)

    def items(
        self,
        table: str,
        start: bytes | None = None,
        end: bytes | None = None,
        *,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        ids = self._ids[table]
        first = 0 if start is None else bisect_left(ids, start)
        found = ids[first : None if end is None else bisect_left(ids, end)]
        for record_id in (found[::-1] if reverse else found)[:limit]:
            yield record_id, self._values[table][record_id]

    def put(self, table: str, record_id: bytes, value: bytes) -> None:
        if record_id not in self._values[table]:
            insort(self._ids[table], record_id)
        self._values[table][record_id] = value

    def delete(self, table: str, record_id: bytes) -> None:
        if self._values[table].pop(record_id, None) is not None:
            self._ids[table].remove(record_id)

    def on_commit(self, action: Callable[[], None]) -> None:
        self._actions.append(action)

    def scrub(self) -> None:
        """What was deleted is in no file."""

    def commit(self) -> None:
        actions, self._actions = self._actions, []
        for action in actions:
            action()


class Party:
    """One client: its machine, its records, and what is on its way from and to it."""

    def __init__(self, crowd: Crowd, name: str) -> None:
        self.crowd = crowd
        self.name = name
        self.records = Shelf()
        self.machine = RelayMachine(crowd.random.random)
        self.link: LinkId | None = None
        self.sent: deque[frames.ClientFrame] = deque()
        """On its way to the relay."""
        self.examined: Examined | None = None
        """Arrived there, and examined: it is decided in a later step."""
        self.events: list[AppEvent] = []
        self.refusals: Counter[str] = Counter()
        """How often the relay gave which code."""

    @property
    def room(self) -> RoomMachine:
        [room] = self.machine.rooms.values()
        return room

    @property
    def incoming(self) -> list[frames.RelayFrame]:
        """On its way from the relay."""
        return [] if self.link is None else self.crowd.relay.inbox[self.link]

    @property
    def alarms(self) -> list[Alarm]:
        return [event for event in self.events if isinstance(event, Alarm)]

    def turn(self, action: Callable[[Turn], None]) -> None:
        """As the shell takes one: a transaction, and then its outcome."""
        crowd = self.crowd
        turn = Turn(crowd.relay.now, self.records, crowd.random.random, self.machine)
        action(turn)
        self.machine.pump(turn)
        self.records.commit()
        self.events += turn.events
        if self.link is not None:
            self.sent += turn.frames
        if turn.drop:
            self.cut()
        elif turn.again:
            self.turn(lambda _: None)

    # -- the link --------------------------------------------------------------------------------

    def connect(self) -> None:
        """A new link; its handshake is over."""
        relay = self.crowd.relay
        self.link = link = relay.open_link(self.name)
        limits = frames.RelayLimits(1 << 16, 1 << 26, 500, 20, 64)
        welcome = frames.Welcome(1, challenge(link), limits, relay.now)
        theirs, ours = PublicKey(keypair("relay").public), transport_key(self.name)
        self.turn(
            lambda turn: self.machine.link_up(turn, relay_id_of(theirs), theirs, ours, welcome)
        )

    def cut(self) -> None:
        """The link breaks: what is on its way, either way, never arrives."""
        if self.link is not None:
            self.crowd.relay.close_link(self.link)
            self.crowd.relay.inbox.pop(self.link, None)
        self.link = self.examined = None
        self.sent.clear()
        self.machine.link_down()

    # -- one step each ---------------------------------------------------------------------------

    def steps(self) -> list[Callable[[], None]]:
        """What can happen next here."""
        if self.link is None:
            return [self.connect]
        steps = [self._receive] if self.incoming else []
        if self.examined is not None:
            steps.append(self._decide)
        elif self.sent:
            steps.append(self._examine)
        return steps

    def _receive(self) -> None:
        """Some of what the relay sent arrives, in one turn."""
        waiting = self.incoming
        count = self.crowd.random.randint(1, len(waiting))
        batch = waiting[:count]
        del waiting[:count]
        self.refusals.update(frame.code for frame in batch if isinstance(frame, frames.Failure))

        def take(turn: Turn) -> None:
            for frame in batch:
                self.machine.receive(turn, frame)
                if turn.drop:
                    return

        self.turn(take)

    def _examine(self) -> None:
        """A frame arrives at the relay, and waits while its signatures are verified.

        By each client, that is, for itself: here they are right by construction.
        """
        frame, relay, link = self.sent.popleft(), self.crowd.relay, self.link
        assert link is not None
        try:
            self.examined = relay.examine(link, frame)
        except ProtocolError as error:
            relay.commit(Decision(effects=(Reply(link, relay.relay.failure(frame, error)),)))

    def _decide(self) -> None:
        relay, examined, link = self.crowd.relay, self.examined, self.link
        assert examined is not None
        assert link is not None
        self.examined = None
        relay.load(examined)
        relay.commit(relay.relay.decide(link, examined, relay.now))

    # -- what people do --------------------------------------------------------------------------

    def say(self, text: str) -> None:
        def queue(turn: Turn) -> None:
            self.room.outbox.queue(turn.records, Text(text), new_sid(), turn.now)

        self.turn(queue)

    def change(self, what: str, make: Callable[[Turn], Made | None]) -> Ticket:
        """Ask for a change of the room, as `Room` does."""
        ticket = Ticket(what)
        self.room.controls.add(Change(what, make, ticket))
        self.turn(lambda _: None)
        return ticket

    def rotate(self, *, once: bool) -> Ticket:
        """Renew the key; `once`: only if no other has by then (`Room.rotate(since=...)`)."""
        room, since = self.room, self.room.core.state.epoch

        def make(turn: Turn) -> Made | None:
            overtaken = room.core.state.epoch != since
            return None if once and overtaken else room.rekeys.make(turn)

        return self.change("rotate", make)

    def texts(self, start: int) -> list[str]:
        """What is read here of the log from seq `start` on; "?" for what can not be read."""
        archive = self.room.core.archive
        entries = archive.entries(self.records, start)
        shown = [archive.message(entry) for entry in entries if entry.kind in _SHOWN]
        return ["?" if message.unreadable else message.text for message in shown]


@define
class Crowd:
    """A relay and some clients in one room."""

    random: Random
    relay: World = field(factory=lambda: World(_UNHURRIED))
    parties: list[Party] = field(factory=list)

    def found(self, *names: str) -> None:
        """A room of the first of these, which the others have joined by invites of hers."""
        self.parties = [Party(self, name) for name in names]
        founder, *others = self.parties
        self._found(founder)
        for party in others:
            self._bring(founder, party)

    def _found(self, founder: Party) -> None:
        founder.connect()

        def found(turn: Turn) -> None:
            room = found_room(turn, URL, self.relay.relay_id, my_name="", policy=None)
            founder.machine.add_room(turn, room)

        founder.turn(found)
        self.run([founder])

    def _bring(self, founder: Party, party: Party) -> None:
        core = founder.room.core

        def invite(turn: Turn) -> Made:
            expires = turn.now + 3_600_000
            made = make_invite(
                core.state, core.mine, core.log.seen, turn.now, relay_url=URL, expires=expires
            )
            keep_token(turn.records, core, made.code.invite_id, made.code.token)
            return Made(made.signed, (), made.code)

        asked = founder.change("invite", invite)
        self.run([founder])
        code = asked.value
        assert isinstance(code, InviteCode)

        def join(turn: Turn) -> None:
            pending = PendingJoin(code.text, party.name, turn.now)
            keep_join(turn.records, pending)
            party.machine.add_join(turn, pending)

        party.connect()
        party.turn(join)
        self.run([founder, party])

    def promote(self, party: Party) -> None:
        """Have the founder make a co-owner of another."""
        founder, mid = self.parties[0], party.room.core.me
        core = founder.room.core

        def make(turn: Turn) -> Made:
            seen, role = core.log.seen, Role.CO_OWNER
            return Made(make_grant(core.state, core.mine, seen, turn.now, member=mid, role=role))

        founder.change("grant", make)
        self.run(self.parties)

    @property
    def log(self) -> RoomLog:
        """The room, as the relay has it."""
        log = self.relay.relay.room(self.parties[0].room.core.room)
        assert log is not None
        return log

    def records(self, start: int) -> list[Record]:
        """What stands in the relay's store from seq `start` on."""
        stored = self.relay.store.rooms[self.log.room].log
        return [peek(stored[seq].record).record for seq in range(start, len(stored))]

    def run(self, parties: list[Party], doing: list[Callable[[], None]] | None = None) -> None:
        """Step by step, in a random order, until nothing is under way any more.

        `doing` is done in this order, each at a random moment.
        """
        doing = list(doing or [])
        for _ in range(_STEPS):
            steps = [step for party in parties for step in party.steps()]
            if doing and (not steps or self.random.random() < _EAGERNESS):
                doing.pop(0)()
            elif steps:
                self.random.choice(steps)()
                self.relay.now += self.random.randint(0, 20)
            elif not self._wait(parties):
                return
        raise AssertionError("it never ends")

    def _wait(self, parties: list[Party]) -> bool:
        """Nothing moves: time passes until a client does something by itself. False: done."""
        if all(_is_done(party, self) for party in parties):
            return False
        due = {p.name: at for p in parties if (at := p.machine.deadline()) is not None}
        assert due, "stuck: " + "; ".join(_state(party) for party in parties)
        self.relay.now = max(self.relay.now, min(due.values()))
        for party in parties:
            if due.get(party.name, self.relay.now + 1) <= self.relay.now:
                party.turn(lambda _: None)
        return True


_EAGERNESS = 0.15
_SHOWN = ("message", "invalid", "parked", "unreadable")


def _is_done(party: Party, crowd: Crowd) -> bool:
    if party.machine.joins or not party.machine.rooms or not party.room.is_live:
        return False
    busy = party.room.outbox.items or party.room.controls._changes
    return not busy and party.room.core.head.seq == crowd.log.seq


def _state(party: Party) -> str:
    if not party.machine.rooms:
        return f"{party.name} is not in"
    room = party.room
    return (
        f"{party.name} {room.phase.name} at {room.core.head.seq}, "
        f"{len(room.outbox.items)} to say, {len(room.controls._changes)} to change"
    )
