"""A relay that lies, at the client's machine: recorded truth, then changed before it is delivered.

Bo's vault is copied while he is away; what the real relay delivers meanwhile is recorded. Each test
gives a machine on that copy a false version of it, and looks at what Bo is shown.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attrs import evolve, field, frozen

from ofcd.client import Alarm, AlarmKind, Message, RoomStatus, Vault
from ofcd.client.events import AppEvent
from ofcd.client.link import RelayMachine
from ofcd.client.room import RoomMachine
from ofcd.client.turn import Turn
from ofcd.e2e.bodies import Text
from ofcd.e2e.events import Outgoing, seal_event
from ofcd.e2e.keys import EpochKeys, MemberKeys, new_sid
from ofcd.e2e.log import RoomLog
from ofcd.protocol import frames
from ofcd.protocol.ids import EventId, Hash32, PublicKey, RoomId, relay_id_of
from ofcd.protocol.room import RoomState
from ofcd.testing import open_world
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.signed import sign_record
from tests.client.world import KEY, Town, settled

NOW = 1_800_000_000_000


@frozen
class Scene:
    """What was recorded."""

    vault: Path
    """Bo's, from before the deliveries."""
    room: RoomId
    relay: KeyPair = field(repr=False)
    ana: MemberKeys = field(repr=False)
    bo: MemberKeys = field(repr=False)
    state: RoomState = field(repr=False)
    keys: EpochKeys = field(repr=False)
    """Ana's view at the moment of the copy."""
    log: RoomLog = field(repr=False)
    next_own: tuple[int, EventId]
    truth: tuple[frames.Delivery, ...] = field(repr=False)
    """Ana says one, two, three; Bo's own are among them not."""
    eviction: frames.Delivery = field(repr=False)
    """Then she evicts Bo."""


async def record(folder: Path) -> Scene:
    async with open_world(folder) as world:
        town = Town(world)
        mine, theirs = await town.pair()
        await settled(mine, theirs)
        bo = theirs._client._core(theirs.id).mine
        await town.stop("bo")
        shutil.copy(folder / "bo.vault", folder / "copy.vault")
        core = mine._client._core(mine.id)
        state, keys, log, own = core.state, core.keys, core.log, core.next_own()
        heard = listen(mine._client._connection(mine.id).machine)
        for text in ("one", "two", "three"):
            await mine.send(text)
        await mine.evict(bo.mid)
        await settled(mine)
        *truth, eviction = heard
        assert world.daemon is not None
        return Scene(
            vault=folder / "copy.vault",
            room=mine.id,
            relay=world.daemon.identity.keys,
            ana=core.mine,
            bo=bo,
            state=state,
            keys=keys,
            log=log,
            next_own=own,
            truth=tuple(truth),
            eviction=eviction,
        )


def listen(machine: RelayMachine) -> list[frames.Delivery]:
    """Everything delivered to this machine from now on."""
    heard: list[frames.Delivery] = []
    receive = machine.receive

    def receiving(turn: Turn, frame: frames.RelayFrame) -> None:
        if isinstance(frame, frames.Delivery):
            heard.append(frame)
        receive(turn, frame)

    machine.receive = receiving  # type: ignore[method-assign]
    return heard


class Bo:
    """Bo's machine, on his vault, and a relay made by hand."""

    def __init__(self, scene: Scene, vault: Vault) -> None:
        self.scene = scene
        self.vault = vault
        self.now = NOW
        self.chance = 0.0
        self.machine = RelayMachine(lambda: self.chance)
        self.events: list[AppEvent] = []
        self.dropped = ""
        self.syncs: list[frames.Sync] = []
        self.machine.load(vault, [scene.room], [])

    @property
    def room(self) -> RoomMachine:
        return self.machine.rooms[self.scene.room]

    @property
    def status(self) -> RoomStatus:
        return self.room.core.head.status

    @property
    def alarms(self) -> list[AlarmKind]:
        return [event.kind for event in self.events if isinstance(event, Alarm)]

    def connect(
        self,
        attached: tuple[int, Hash32] | None = None,
        floor: int = 0,
        last: tuple[int, EventId | None] = (0, None),
        through: KeyPair | None = None,
    ) -> None:
        """A link is opened: attach, sync. `last`: what the relay says of Bo's last event.

        `through`: another relay than the room's hub, which has a copy.
        """
        head = self.room.core.head
        limits = frames.RelayLimits(65536, 1 << 26, 500, 20, 64)
        welcome = frames.Welcome(1, Hash32(bytes(32)), limits, NOW)
        key = PublicKey((through or self.scene.relay).public)
        own = PublicKey(generate_keypair().public)
        [attach] = self.turn(
            lambda turn: self.machine.link_up(turn, relay_id_of(key), key, own, welcome)
        )
        seq, log = attached or (head.seq, self.scene.log.log)
        assert isinstance(attach, frames.Attach)
        asked = self.feed(frames.Attached(attach.rid, self.scene.room, seq, log, 0, *last))
        for sync in asked:
            assert isinstance(sync, frames.Sync)
            start = max(sync.start, floor)
            before = self.scene.log.log
            self.feed(frames.Synced(sync.rid, self.scene.room, sync.start, start, before, seq))

    def feed(self, *given: frames.RelayFrame) -> list[frames.ClientFrame]:
        """Frames come in, one turn each; what Bo's client answers."""
        answers: list[frames.ClientFrame] = []
        for frame in given:
            answers += self.turn(partial(self.machine.receive, frame=frame))
        return answers

    def turn(self, action: Callable[[Turn], None]) -> list[frames.ClientFrame]:
        with self.vault.transaction() as tx:
            turn = Turn(self.now, tx, lambda: self.chance, self.machine)
            action(turn)
            self.machine.pump(turn)
        self.events += turn.events
        self.dropped = self.dropped or turn.drop
        if turn.drop:
            self.machine.link_down()
        return turn.frames

    def shown(self) -> list[Message]:
        """The messages of the archive."""
        core = self.room.core
        entries = core.archive.entries(self.vault, self.scene.log.seq + 1)
        return [core.archive.message(e) for e in entries if e.kind in SHOWN]

    @property
    def texts(self) -> list[str]:
        return [m.text for m in self.shown() if not m.unreadable]


SHOWN = ("message", "invalid", "parked", "unreadable")


class open_bo:
    """A copy of Bo's vault, and his machine."""

    def __init__(self, scene: Scene, path: Path) -> None:
        shutil.copy(scene.vault, path)
        self._vault = Vault.open(path, KEY)
        self._bo = Bo(scene, self._vault)

    def __enter__(self) -> Bo:
        return self._bo

    def __exit__(self, *_: object) -> None:
        self._vault.close()


def say(scene: Scene, text: str, **changes: object) -> frames.Delivery:
    """What Ana (or whoever signs) could have said next, with a header changed at will."""
    counter, prev = scene.next_own
    message = Outgoing(content=Text(text), sid=new_sid(), counter=counter, prev=prev, ts=NOW)
    sealed = seal_event(scene.state, scene.ana, scene.keys, message, scene.log.seen)
    record = sign_record(scene.ana.sign.private, evolve(sealed.event, **changes))  # type: ignore[arg-type]
    return frames.Delivery(scene.room, scene.log.seq + 1, record.envelope, sealed.cell)


def attach_at(bo: Bo, scene: Scene, seq: int, log: Hash32) -> None:
    """As `connect`, but Sync stays unanswered, in `bo.syncs`."""
    limits = frames.RelayLimits(65536, 1 << 26, 500, 20, 64)
    welcome = frames.Welcome(1, Hash32(bytes(32)), limits, NOW)
    key, own = PublicKey(scene.relay.public), PublicKey(generate_keypair().public)
    [attach] = bo.turn(lambda turn: bo.machine.link_up(turn, relay_id_of(key), key, own, welcome))
    assert isinstance(attach, frames.Attach)
    answers = bo.feed(frames.Attached(attach.rid, scene.room, seq, log, 0))
    bo.syncs = [a for a in answers if isinstance(a, frames.Sync)]
