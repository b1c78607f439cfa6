"""A room, an IRC network of the bridge and a scripted server, all in memory and on one clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import define, evolve, field

from bridge.core import Engine, Portal, Settings
from bridge.core.links import LinksSettings
from bridge.core.settings import BridgeSettings
from bridge.irc import IrcNetwork
from bridge.irc.settings import IrcPlace, IrcSettings
from ofcd.client import Client, Message, Room
from ofcd.testing import World
from tests.bridge.irc.scripted import Guest, Scripted
from tests.bridge.pair import open_pair

__all__ = ["CHANNEL", "IrcScene", "irc_scene", "portal", "until"]

CHANNEL = "#books"


def portal(**more: object) -> Portal:
    """The room, joined to #books."""
    options = more.pop("options", IrcPlace())
    base = Portal(room="books", network="irc", place=CHANNEL, hold=0.0, options=options)
    return evolve(base, **more)  # type: ignore[arg-type]


@define
class IrcScene:
    """All of it."""

    world: World
    ana: Client
    room: Room
    bridge: Client
    server: Scripted
    settings: IrcSettings
    portals: tuple[Portal, ...]
    links: LinksSettings = field(factory=LinksSettings)
    network: IrcNetwork | None = None
    engine: Engine | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[IrcNetwork]:
        """One life of the bridge."""
        kinds = {"irc": IrcNetwork}
        made = Settings(BridgeSettings(), (self.settings,), kinds, self.portals, links=self.links)
        network = IrcNetwork(self.settings, made._places("irc"))
        network.open_stream = self.server.open
        self.network, self.engine = network, Engine(made, self.bridge, {"irc": network})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.engine.run)
            yield network
            nursery.cancel_scope.cancel()

    def messages(self) -> list[Message]:
        return self.room.messages(since=0, limit=100_000)

    def bridged(self) -> list[str]:
        """What stands in the room of people outside."""
        return [f"{m.via.name}: {m.text}" for m in self.messages() if m.via is not None]

    def notices(self) -> list[str]:
        """What the bridge says itself."""
        return [m.text for m in self.messages() if not m.mine and m.via is None]

    def heard(self) -> list[str]:
        """What the channel has as said by the bridge and its puppets, as `nick: words`."""
        return [
            f"{one.source.partition('!')[0]}: {words}"
            for one in self.server.history.get(CHANNEL, [])
            if not one.source.endswith("@there.example")
            for words in ([each[1] for each in one.inner] or [one.params[1]])
        ]

    def guest(self, nick: str) -> Guest:
        """The connection that bears a nick now."""
        return next(one for one in self.server.guests if one.nick == nick)

    async def up(self) -> None:
        """The bridge is in the channel and speaks."""
        assert self.engine is not None
        queue = self.engine.places["irc", CHANNEL]
        await until(lambda: queue.is_ready)


@asynccontextmanager
async def irc_scene(
    folder: Path,
    *portals: Portal,
    caps: list[str] | tuple[str, ...] = (),
    settings: IrcSettings | None = None,
    isupport: str = "",
    links: LinksSettings | None = None,
) -> AsyncIterator[IrcScene]:
    """A scene in which the bridge is a member; it does not run yet."""
    made = settings or IrcSettings(
        name="irc", server="irc.example", nick="ofc", line_seconds=0.01, burst=100
    )
    async with open_pair(folder) as pair, trio.open_nursery() as nursery:
        more = {"isupport": isupport} if isupport else {}
        server = Scripted(caps, now=pair.bridge.now, **more)
        await nursery.start(server.run)
        linked = links or LinksSettings()
        yield IrcScene(
            pair.world,
            pair.ana,
            pair.room,
            pair.bridge,
            server,
            made,
            portals or (portal(),),
            linked,
        )
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait, on the test's clock."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - it watches others from outside
            await trio.sleep(0.05)
