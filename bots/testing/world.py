"""The world of `bots.testing`: a relay in memory, people, and bots that can die and come back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define, evolve, field

from bots.bot import Bot
from bots.engine import Engine, open_engine
from bots.inbound import Inbox
from bots.log import configure
from bots.metrics import Metrics
from bots.runs import dead_letters
from ofcd.client import Client, Message, MessageReceived, Room, Vault, open_client
from ofcd.config import Settings
from ofcd.protocol.ids import EventId, MemberId
from ofcd.protocol.records import Cap, Role
from ofcd.testing import World, open_world
from ofcd.testing.crashes import Countdown

__all__ = ["BotWorld", "Person", "TestRoom", "open_bot_world"]

WAIT: Final = 600.0
"""Virtual seconds to wait for what a bot is expected to say."""
_QUIET: Final = 5.0
_HOUR: Final = 3600.0
_KEY: Final = bytes(range(32))


@define(eq=False)
class Person:
    """A member who is no bot. `say` and the like speak in the room joined last."""

    name: str
    client: Client = field(repr=False)
    world: BotWorld = field(repr=False)
    role: Role = Role.MEMBER

    @property
    def here(self) -> Room:
        """This person's own view of the room joined last."""
        return self.client.rooms[-1]

    async def say(self, text: str, *, mentions: Collection[MemberId] = ()) -> EventId:
        """Say something; returns once it is in the room's log."""
        return (await self.here.send(text, mentions=mentions)).event_id

    def post(self, text: str) -> None:
        """Say something without waiting for it to arrive: for what crosses on the way."""
        with self.client.transaction() as tx:
            self.here.queue(tx, text)

    async def react(self, target: EventId, emoji: str) -> EventId:
        """Put a reaction on a message."""
        return (await self.here.react(target, emoji)).event_id

    async def edit(self, target: EventId, text: str) -> EventId:
        """Change a message of one's own."""
        return (await self.here.edit(target, text)).event_id

    async def send_file(
        self, path: Path | bytes, caption: str = "", *, name: str | None = None
    ) -> EventId:
        """Send a file. Bytes (with a name) need no thread, which virtual time knows nothing of."""
        return (await self.here.send_file(path, caption=caption, name=name)).event_id


class TestRoom:
    """A room as its founder sees it."""

    __test__ = False  # not for pytest to collect

    def __init__(self, world: BotWorld, founder: Person, room: Room) -> None:
        """Use `BotWorld.room`."""
        self.world = world
        self.founder = founder
        self.room = room
        self._seen: dict[str, int] = {}

    async def add(
        self, who: Person | Bot, *, role: Role | None = None, caps: Collection[Cap] = ()
    ) -> None:
        """One more member, or bot; see `BotWorld.add`."""
        await self.world.add(self, who, role=role, caps=caps)

    def mid_of(self, who: Person | Bot) -> MemberId:
        """A member's id here."""
        name = who.name
        return next(m.mid for m in self.room.members() if m.name == name)

    def from_(self, who: Person | Bot) -> list[Message]:
        """What a member or bot has said so far, as it reads now, in order."""
        messages = self.room.messages(since=0, limit=100_000)
        return [message for message in messages if message.name == who.name]

    def texts_from(self, who: Person | Bot) -> list[str]:
        """The texts of that."""
        return [message.text for message in self.from_(who)]

    def count_from(self, who: Person | Bot) -> int:
        """How many messages that is."""
        return len(self.from_(who))

    async def next_from(self, who: Person | Bot, *, within: float = WAIT) -> Message:
        """The next message that was not asked for yet; fails after `within` virtual seconds."""
        after = self._seen.get(who.name, -1)
        with trio.fail_after(within):
            async for event in self.room.events_since(after):
                if isinstance(event, MessageReceived) and event.message.name == who.name:
                    self._seen[who.name] = event.seq
                    return event.message
        raise AssertionError("a room's events do not end")

    async def quiet(self, seconds: float = _QUIET) -> None:
        """Wait until nothing new has come for a while."""
        while True:
            head = self.room.head
            await trio.sleep(seconds)
            if self.room.head == head:
                return


@define(eq=False)
class _Running:
    """One life of a bot's process."""

    ready: trio.Event = field(factory=trio.Event)
    stopped: trio.Event = field(factory=trio.Event)
    stop: trio.Event = field(factory=trio.Event)
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    client: Client | None = None
    engine: Engine | None = None
    countdown: Countdown | None = None
    crashed: bool = False

    def parts(self) -> tuple[Client, Engine]:
        """The client and the engine. Raises RuntimeError while it does not run."""
        if self.client is None or self.engine is None:
            raise RuntimeError("this bot does not run")
        return self.client, self.engine


class BotWorld:
    """One relay, people and bots. Made by `open_bot_world`."""

    def __init__(self, world: World, nursery: trio.Nursery) -> None:
        """Use `open_bot_world`."""
        self.inner = world
        """The client core's world, for cutting lines and stopping the relay."""
        self.metrics = Metrics()
        self._nursery = nursery
        self._bots: dict[str, _Running] = {}
        self._rooms: list[TestRoom] = []

    # -- people and rooms ------------------------------------------------------------------------

    async def member(self, name: str, *, role: Role = Role.MEMBER) -> Person:
        """A person; `role` is what the first room gives them (founders are root)."""
        return Person(name, await self.inner.client(name), self, role)

    async def room(self, founder: Person, *others: Person | Bot, name: str = "room") -> TestRoom:
        """A room founded by a person, and joined by the others."""
        made = await founder.client.create_room(self.inner.url, name, my_name=founder.name)
        room = TestRoom(self, founder, made)
        self._rooms.append(room)
        for one in others:
            await self.add(room, one)
        return room

    async def add(
        self,
        room: TestRoom,
        who: Person | Bot,
        *,
        role: Role | None = None,
        caps: Collection[Cap] = (),
    ) -> None:
        """Let a person or a bot into a room; a bot that does not run is started.

        `role` and `caps` are what the invite gives; a bot has the cap `bot` in any case.
        """
        if isinstance(who, Person):
            invite = await room.room.invite(role=role or who.role, caps=caps)
            await who.client.join(invite, name=who.name)
        else:
            running = self._bots.get(who.name)
            if running is None:
                await self.start(who)
                running = self._bots[who.name]
            client, engine = running.parts()
            invite = await room.room.invite(role=role or Role.MEMBER, caps={Cap.BOT, *caps})
            await client.join(invite, name=who.name)
            engine.look_for_rooms()
        await _until(lambda: who.name in {member.name for member in room.room.members()})

    async def rotate(self, room: TestRoom, *, boxed: bool = False) -> int:
        """A new room key; returns its epoch."""
        return await room.room.rotate(boxed=boxed)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, virtually."""
        await trio.sleep(seconds)

    # -- a network that is not what it should be ---------------------------------------------------

    @contextmanager
    def cut_off(self, *whom: Person | Bot) -> Iterator[None]:
        """A partition: in this block nothing gets from these to the relay, or back.

        What they say meanwhile waits with them. Afterwards they look for the relay at once.
        """
        lines = [self.inner.lines[one.name] for one in whom]
        for line in lines:
            line.up = False
            line.cut()
        try:
            yield
        finally:
            for line in lines:
                line.up = True
            for one in whom:
                self._retry(one)

    @contextmanager
    def delayed(self, who: Person | Bot, seconds: float | Callable[[], float]) -> Iterator[None]:
        """In this block each piece of data on its line takes so long: others overtake it.

        `seconds` may be a function, for another delay each time.
        """
        line = self.inner.lines[who.name]
        line.delay = seconds if callable(seconds) else lambda: seconds
        try:
            yield
        finally:
            line.delay = None

    def cut_after(self, who: Person | Bot, count: int) -> None:
        """Break its link, once, after `count` more bytes, in the midst of whatever that is.

        What was under way is sent again on the next link, and may have arrived already.
        """
        self.inner.lines[who.name].cut_after(count)

    def _retry(self, who: Person | Bot) -> None:
        if isinstance(who, Person):
            who.client.retry_now()
            return
        running = self._bots.get(who.name)
        if running is not None and running.client is not None:
            running.client.retry_now()

    # -- bots that live and die ------------------------------------------------------------------

    async def start(self, bot: Bot, *, die_after: int | None = None) -> None:
        """Start a bot's process on its vault. `die_after`: it dies after that many steps."""
        running = self._bots[bot.name] = _Running()
        self._nursery.start_soon(self._live, bot, running, die_after)
        await _first(running.ready, running.stopped)

    async def stop(self, bot: Bot) -> None:
        """Stop it in order, as by SIGTERM."""
        running = self._bots.pop(bot.name)
        running.stop.set()
        await running.stopped.wait()

    async def crash(self, bot: Bot) -> None:
        """It dies where it stands, as by SIGKILL: nothing more is written or sent."""
        running = self._bots.pop(bot.name)
        self._kill(running)
        await running.stopped.wait()

    async def crash_and_restart(self, bot: Bot, *, after_steps: int | None = None) -> None:
        """It dies (at once, or after that many more steps), and is started again."""
        running = self._bots[bot.name]
        if after_steps is not None and running.countdown is not None:
            running.countdown.left = after_steps
            await running.stopped.wait()
            del self._bots[bot.name]
        else:
            await self.crash(bot)
        await self.start(bot)

    async def died(self, bot: Bot, within: float = WAIT) -> bool:
        """Wait for a bot that was started with `die_after`; whether it died within that time."""
        running = self._bots[bot.name]
        with trio.move_on_after(within):
            await running.stopped.wait()
        return running.stopped.is_set()

    def steps(self, bot: Bot) -> int:
        """How many steps, from await to await, its process has made."""
        countdown = self._bots[bot.name].countdown
        return 0 if countdown is None else countdown.made

    def client_of(self, bot: Bot) -> Client:
        """The client under a running bot."""
        return self._bots[bot.name].parts()[0]

    async def deliver(
        self,
        bot: Bot,
        handler: Callable[..., object],
        outside_id: str,
        payload: str = "",
        *,
        room: TestRoom,
    ) -> bool:
        """Bring a running bot something from outside; see `bots.Inbox.deliver`."""
        _, engine = self._bots[bot.name].parts()
        inbox = Inbox(bot, engine.workers)
        return await inbox.deliver(handler, outside_id, payload, room=room.room.id)

    def dead_letters(self, bot: Bot) -> list[dict[str, object]]:
        """What a running bot has given up."""
        client, _ = self._bots[bot.name].parts()
        return [dict(letter) for letter in dead_letters(client.vault)]

    async def _live(self, bot: Bot, running: _Running, die_after: int | None) -> None:
        root = trio.lowlevel.current_task()
        countdown = running.countdown = Countdown(root, partial(self._kill, running))
        countdown.left = -1 if die_after is None else die_after
        trio.lowlevel.add_instrument(countdown)
        try:
            with running.scope:
                await self._process(bot, running)
        except BaseException:
            # What a dead process would still have said is nobody's business.
            if not running.crashed:
                raise
        finally:
            trio.lowlevel.remove_instrument(countdown)
            running.stopped.set()

    async def _process(self, bot: Bot, running: _Running) -> None:
        path = self.inner.folder / f"{bot.name}.bot.vault"
        vault = Vault.open(path, _KEY) if path.exists() else Vault.create(path, _KEY)
        with vault:
            dial = partial(self.inner._dial, self.inner.lines[bot.name])
            async with open_client(
                vault, dial=dial, clock=self.inner.now, random=self.inner.random.random
            ) as client:
                running.client = client
                async with open_engine(bot, client, metrics=self.metrics) as engine:
                    running.engine = engine
                    running.ready.set()
                    await running.stop.wait()

    @staticmethod
    def _kill(running: _Running) -> None:
        running.crashed = True
        if running.client is not None:
            # From here on nothing reaches the disk, whatever cleaning up still runs.
            running.client.vault.close()
        running.scope.cancel()
        if running.engine is not None:
            running.engine.abandon()

    async def close(self) -> None:
        """Stop every bot."""
        for name in list(self._bots):
            running = self._bots.pop(name)
            running.stop.set()
            await running.stopped.wait()


async def _until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(WAIT):
        while not condition():  # noqa: ASYNC110 - it watches others from outside
            await trio.sleep(0.5)


async def _first(*events: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(_cancel_after, event, nursery.cancel_scope)


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _unhurried(settings: Settings) -> Settings:
    """A relay that does not slow anyone down: time is virtual, and no one is hurt.

    Idle links are pinged by the hour: of a day that passes at once, pings were most of the work.
    """
    limits = evolve(
        settings.limits,
        events_per_second_per_member=10_000,
        events_burst_per_member=100_000,
        events_per_second_per_room=100_000,
        control_per_minute_per_member=10_000,
        handshakes_per_minute_per_ip=1_000_000,
        idle_ping_seconds=_HOUR,
    )
    return evolve(settings, limits=limits)


@asynccontextmanager
async def open_bot_world(
    folder: Path, change: Callable[[Settings], Settings] = _unhurried
) -> AsyncIterator[BotWorld]:
    """A world whose relay runs; files go into `folder`. Wants trio's `autojump_clock`."""
    if not structlog.is_configured():
        configure("debug", "text")  # as a bot's process does; structlog's own takes seconds
    async with open_world(folder, change) as inner, trio.open_nursery() as nursery:
        world = BotWorld(inner, nursery)
        try:
            yield world
        finally:
            with trio.CancelScope(shield=True):
                await world.close()
        nursery.cancel_scope.cancel()
