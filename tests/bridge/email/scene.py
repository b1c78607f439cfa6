"""A room, its owner, and a mail bridge in it: the real one, its relay in memory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from email.message import Message as Mail
from pathlib import Path
from typing import Any

import trio
from attrs import evolve, frozen

from bridge.core import Engine, Portal, Settings
from bridge.core.links import LinksSettings
from bridge.core.settings import BridgeSettings
from bridge.email.network import EmailNetwork
from bridge.email.settings import EmailPlace, EmailSettings, Imap, Lmtp, Smtp
from ofcd.client import Client, Message, Room
from ofcd.protocol.records import Cap
from ofcd.testing import World
from tests.bridge.email.servers import PASSWORD, MailServers

__all__ = ["Scene", "email_settings", "mailed", "open_scene", "running", "settled", "until"]

NOW = EmailPlace(hold=0.0, notice_every=0.0)


@frozen
class Scene:
    world: World
    ana: Client
    room: Room
    bridge: Client
    engine: Engine
    network: EmailNetwork
    films: Room | None = None
    """A second room, at the place of that name, where it was asked for."""

    def texts(self, room: Room | None = None) -> list[str]:
        """What stands in the room of people who write mail, as `name: words`."""
        return [
            f"{m.via.name}: {m.text if m.file is None else '<' + m.file.name + '>'}"
            for m in (room or self.room).messages(since=0, limit=10_000)
            if m.via is not None
        ]

    def messages(self) -> list[Message]:
        return self.room.messages(since=0, limit=10_000)

    def notices(self) -> list[str]:
        return [m.text for m in self.messages() if not m.mine and m.via is None]

    async def do(self, *words: str) -> str:
        """`!bridge mail ...` by an owner."""
        answer = await self.network.command(self.room.id, ["mail", *words])
        assert answer is not None
        return answer


def email_settings(servers: MailServers, **more: Any) -> EmailSettings:
    """As an operator writes it: submission with TLS and a password, LMTP for the way in."""
    secret = servers.root / "password"
    secret.write_text(PASSWORD)
    values: dict[str, Any] = {
        "domain": "bridge.test",
        "authserv_id": "mx.test",
        "smtp": Smtp(
            host="localhost",
            port=servers.ports["submission"],
            user="bridge",
            password_file=str(secret),
            ca_file=str(servers.ca_file),
        ),
        "lmtp": Lmtp(port=int(servers.domains["bridge"].rpartition(":")[2])),
    }
    values.update(more)
    return EmailSettings(**values)


def imap_settings(servers: MailServers, user: str = "bridge", **more: Any) -> Imap:
    return Imap(
        host="localhost",
        port=servers.ports["imaps"],
        user=user,
        password_file=str(servers.root / "password"),
        ca_file=str(servers.ca_file),
        **more,
    )


@asynccontextmanager
async def open_scene(
    world: World,
    settings: EmailSettings,
    place: EmailPlace = NOW,
    *,
    name: str = "",
    films: bool = False,
    links: LinksSettings | None = None,
    portals: Sequence[Portal] = (),
) -> AsyncIterator[Scene]:
    """The owner founds a room (or two) and lets the bridge in."""
    ana, bridge = await world.client(f"ana{name}"), await world.client(f"bridge{name}")
    room = await ana.create_room(world.url, "Book club", my_name="Ana")
    await bridge.join(await room.invite(caps={Cap.BRIDGE}), name="Bridge")
    other = None
    if films:
        other = await ana.create_room(world.url, "Films", my_name="Ana")
        await bridge.join(await other.invite(caps={Cap.BRIDGE}), name="Bridge")
    async with running(
        world, ana, room, bridge, settings, place, films=other, links=links, portals=portals
    ) as scene:
        yield scene


@asynccontextmanager
async def running(
    world: World,
    ana: Client,
    room: Room,
    bridge: Client,
    settings: EmailSettings,
    place: EmailPlace = NOW,
    *,
    films: Room | None = None,
    links: LinksSettings | None = None,
    portals: Sequence[Portal] = (),
) -> AsyncIterator[Scene]:
    """One life of the bridge; `portals`: others than the room's own."""
    portals = [evolve(one, options=place) for one in portals]
    portals = portals or [Portal(room="Book club", network="mail", place="books", options=place)]
    if films is not None:
        portals.append(Portal(room="Films", network="mail", place="films", options=place))
    kinds, linked = {"mail": EmailNetwork}, links or LinksSettings()
    made = Settings(BridgeSettings(), (settings,), kinds, tuple(portals), links=linked)
    networks = made.make_networks()
    engine = Engine(made, bridge, networks)
    network = networks["mail"]
    assert isinstance(network, EmailNetwork)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.run)
        scene = Scene(world, ana, room, bridge, engine, network, films)
        await until(lambda: scene.notices())
        yield scene
        nursery.cancel_scope.cancel()


async def until(found: Callable[[], Any], seconds: float = 240.0) -> Any:
    """What `found` returns, once that is something."""
    with trio.fail_after(seconds):
        while not (value := found()):  # noqa: ASYNC110 - a process outside tells no Event
            await trio.sleep(0.05)
        return value


async def settled(servers: MailServers, seconds: float = 240.0) -> None:
    """Nothing is on its way in Postfix: what was to come, once or twice, is there."""
    quiet = 0
    with trio.fail_after(seconds):
        while quiet < 5:
            busy = await trio.to_thread.run_sync(servers.has_mail_on_its_way)
            quiet = 0 if busy else quiet + 1
            await trio.sleep(0.1)


async def mailed(
    servers: MailServers, user: str, count: int = 1, seconds: float = 240.0
) -> list[Mail[Any, Any]]:
    """Somebody's mailbox, once it holds this many."""
    look: Callable[[], Awaitable[list[Mail[Any, Any]]]] = lambda: trio.to_thread.run_sync(  # noqa: E731
        servers.mailbox, user
    )
    with trio.fail_after(seconds):
        while len(found := await look()) < count:  # noqa: ASYNC110 - as above
            await trio.sleep(0.2)
    return found


def answer_to(mail: Mail[Any, Any], text: str, **fields: str) -> bytes:
    """What a person's program makes of an answer."""
    head = {
        "From": str(mail["To"]),
        "To": str(mail["Reply-To"]),
        "Subject": f"Re: {mail['Subject']}",
        "In-Reply-To": str(mail["Message-ID"]),
        "References": str(mail["Message-ID"]),
        "Message-ID": f"<{abs(hash(text))}@people.test>",
        **fields,
    }
    quote = "\r\n".join(f"> {line}" for line in body_of(mail).splitlines())
    lines = [f"{name}: {value}" for name, value in head.items()]
    said = f"{text}\r\n\r\nOn 18/11/2026 13:37, Ana wrote:\r\n{quote}\r\n"
    return ("\r\n".join(lines) + f"\r\n\r\n{said}").encode()


def body_of(mail: Mail[Any, Any]) -> str:
    """The plain text of a mail, its signature left out."""
    part: Any = mail
    text = str(part.get_body(("plain",)).get_content())
    return re.split(r"^-- $", text.replace("\r\n", "\n"), flags=re.MULTILINE)[0].strip()


def folder_of(tmp_path: Path) -> Path:
    return tmp_path / "servers"
