"""A relay made by hand, with real keys, that says whatever a test has it say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import trio
from attrs import evolve

from ofcd.client import Room
from ofcd.config import Settings
from ofcd.daemon.connection import failure_of
from ofcd.daemon.identity import Identity
from ofcd.e2e.bodies import Text
from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import Hash32, MemberId, RelayId, RoomId, relay_id_of
from ofcd.session import ClientSession, SessionState
from ofcd.testing import World
from ofcd.testing.line import Line
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.signed import sign_record
from ofcd.wire import Closed, MessageStream
from tests.world.scene import join, quick, settle

__all__ = [
    "Double",
    "dialling",
    "federated",
    "given",
    "identity",
    "part",
    "quickly",
    "rejoin",
    "say",
    "shared",
    "shared_by_three",
]

F = TypeVar("F", bound=frames.PeerFrame)


def identity(world: World) -> Identity:
    """The relay's own keys: who has them is that relay."""
    assert world.daemon is not None
    return world.daemon.identity


def given(**changes: object) -> Callable[[str, Settings], Settings]:
    """Quick relays with these settings of `[federation]`."""

    def change(name: str, settings: Settings) -> Settings:
        settings = quickly(name, settings)
        return evolve(settings, federation=evolve(settings.federation, **changes))  # type: ignore[arg-type]

    return change


def quickly(name: str, settings: Settings) -> Settings:
    """Relays that slow nobody down: for tests of something else."""
    return quick(settings)


async def shared(hub: World, home: World) -> tuple[Room, Room]:
    """A room of Ana's at the hub, which Bo has joined through the other relay."""
    ana = await (await hub.client("ana")).create_room(hub.url, "tea", my_name="ana")
    bo = await (await home.client("bo")).join(await ana.invite(), name="bo", via=home.url)
    await settle([ana, bo])
    return ana, bo


def part(one: World, other: World) -> None:
    """No link between the two relays any more; members still reach both."""
    one.to_relays[other.url].up = other.to_relays[one.url].up = False
    assert one.daemon is not None
    assert one.daemon.federation is not None
    link = one.daemon.federation.roster.peer(identity(other).relay_id).link
    if link is not None:
        link.end(failure_of(Code.TRY_AGAIN))


def rejoin(one: World, other: World) -> None:
    """They may have one again."""
    one.to_relays[other.url].up = other.to_relays[one.url].up = True


async def shared_by_three(hub: World, home: World, other: World) -> tuple[Room, Room, Room]:
    """The same, and Cai, who came through a third relay, or the same one; all quiet."""
    ana, bo = await shared(hub, home)
    cai = await federated(hub, other, "cai", ana)
    await settle([ana, bo, cai])
    return ana, bo, cai


async def federated(hub: World, home: World, name: str, host: Room) -> Room:
    """One more member, at home at the other relay."""
    client = await home.client(name)
    return await client.join(await host.invite(), name=name, via=home.url)


async def local(world: World, host: Room, name: str) -> Room:
    """One more member at the hub."""
    return await join(world, host, name)


async def say(room: Room, *words: str) -> None:
    """Queue these, without waiting for anything."""
    for word in words:
        with room._client.transaction() as tx:
            room.queue(tx, Text(word))


class Double:
    """The dialling end of a link between relays."""

    def __init__(self, stream: MessageStream, session: ClientSession, keys: KeyPair) -> None:
        self.stream = stream
        self.session = session
        self.keys = keys
        self.seen: list[frames.PeerFrame] = []
        self.refusal: frames.Failure | None = None
        self._rids = 0

    @property
    def relay_id(self) -> RelayId:
        return relay_id_of(self.session.peer)

    def rid(self) -> int:
        self._rids += 1
        return self._rids

    async def introduce(
        self, now: int, succession: tuple[bytes, ...] = (), **changes: object
    ) -> frames.RelayFrame | None:
        """PEER, as an honest relay signs it but for `changes`; the answer."""
        welcome = self.session.welcome
        assert welcome is not None
        fields = {
            "v": 1,
            "relay_id": relay_id_of(self.keys.public),  # type: ignore[arg-type]
            "peer_id": self.relay_id,
            "challenge": welcome.challenge,
            "ts": now,
            **changes,
        }
        record = records.Peer(**fields)  # type: ignore[arg-type]
        envelope = sign_record(self.keys.private, record).envelope
        await self.stream.send(self.session.send([frames.Peer(1, envelope, succession)]))
        try:
            answer = self.session.receive(await self.stream.receive()).frames
        except Closed:
            return None
        return answer[0] if answer else None

    async def send(self, *sent: frames.PeerFrame) -> None:
        await self.stream.send(self.session.send(sent))

    async def expect(
        self, kind: type[F], fits: Callable[[F], bool] = lambda _: True, seconds: float = 60
    ) -> F:
        """The next frame of this kind; what comes before it is kept in `seen`."""
        with trio.fail_after(seconds):
            while True:
                for index, frame in enumerate(self.seen):
                    if isinstance(frame, kind) and fits(frame):
                        del self.seen[index]
                        return frame
                self.seen += self.session.receive_peer(await self.stream.receive())

    async def ended(self, seconds: float = 60) -> frames.Failure | None:
        """Wait for the other side to end the link; its last words."""
        last: frames.Failure | None = None
        with trio.fail_after(seconds):
            try:
                while True:
                    for frame in self.session.receive_peer(await self.stream.receive()):
                        self.seen.append(frame)
                        if isinstance(frame, frames.Failure) and not frame.rid:
                            last = frame
            except Closed:
                return last

    async def ask(self, lane: int, frame: frames.ClientFrame) -> frames.RelayFrame:
        """A frame in a lane, and its answer."""
        await self.send(frames.LaneAsk(lane, frames.encode_frame(frame)))
        rid = getattr(frame, "rid", 0)

        def answers(told: frames.LaneTell) -> bool:
            return getattr(frames.decode_relay_frame(told.frame), "rid", 0) == rid

        told = await self.expect(frames.LaneTell, lambda t: t.lane == lane and answers(t))
        return frames.decode_relay_frame(told.frame)

    async def follow(
        self, room: RoomId, start: int, log: Hash32 | None = None
    ) -> frames.Synced | frames.Failure:
        rid = self.rid()
        await self.send(frames.Follow(rid, room, start, log))
        with trio.fail_after(60):
            while True:
                for frame in self.seen:
                    answer = isinstance(frame, frames.Synced | frames.Failure)
                    if answer and getattr(frame, "rid", 0) == rid:
                        self.seen.remove(frame)
                        return frame  # type: ignore[return-value]
                self.seen += self.session.receive_peer(await self.stream.receive())

    async def enter(self, lane: int, room: RoomId, mid: MemberId) -> str | None:
        """Open a lane; the code of what was wrong with it, None if nothing was."""
        await self.send(frames.LaneOpen(lane, room, mid))
        answer = await self.ask(lane, frames.ChainGet(self.rid(), room, 0))
        return answer.code if isinstance(answer, frames.Failure) else None


@asynccontextmanager
async def dialling(
    world: World,
    keys: KeyPair | None = None,
    *,
    introduce: bool = True,
    line: Line | None = None,
) -> AsyncIterator[Double]:
    """A relay with these keys (new ones) has dialled this world's, and introduced itself."""
    keys = keys or generate_keypair()
    async with world._dial(line or Line(), world.url) as stream:
        session = ClientSession(keys, None, "double")
        await stream.send(session.connect())
        while session.state is not SessionState.OPEN:
            for reply in session.receive(await stream.receive()).replies:
                await stream.send(reply)
        double = Double(stream, session, keys)
        if introduce:
            answer = await double.introduce(world.now())
            if isinstance(answer, frames.Failure):
                double.refusal = answer
            else:
                assert isinstance(answer, frames.Peered), answer
        yield double
