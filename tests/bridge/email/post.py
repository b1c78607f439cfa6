"""A mail server in memory, and a mail bridge that has it, on a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import trio
import trio.testing
from attrs import define, field

from bridge.core import Portal
from bridge.core.links import LinksSettings
from bridge.email.lmtp import LmtpServer
from bridge.email.parsing import Mail, parse
from bridge.email.settings import EmailPlace, EmailSettings, Lmtp, Server, Smtp
from tests.bridge.email.corpus import mail, part
from tests.bridge.email.scene import Scene, running
from tests.bridge.pair import open_pair

__all__ = [
    "PROOF",
    "SETTINGS",
    "Post",
    "bring",
    "by_bo",
    "lives",
    "read",
    "scene_of",
    "secret",
    "with_file",
    "with_files",
]

PROOF = b"Authentication-Results: mx.example; dmarc=pass header.from=example.org\r\n"
SETTINGS = EmailSettings(
    domain="bridge.example",
    authserv_id="mx.example",
    smtp=Smtp(tls="none"),
    lmtp=Lmtp(port=1),
    dkim=False,
)


@define
class Post:
    """A mail server: takes what it is given, refuses and dies as it is told."""

    mails: list[tuple[str, Mail, bytes]] = field(factory=list)
    replies: dict[str, tuple[int, str]] = field(factory=dict)
    down: bool = False
    die_after_data: int = 0
    """How many times it takes a mail and dies before it says so."""
    poison: dict[str, str] = field(factory=dict)
    """What it does at a RCPT for somebody: "421" or "550 ..." and go, or "drip"."""
    tries: list[tuple[float, str]] = field(factory=list)
    """When somebody's poison was tried."""

    async def connect(self, server: Server) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if self.down:
            raise OSError("no route to host")
        ours, theirs = trio.testing.memory_stream_pair()
        trio.lowlevel.spawn_system_task(self._serve, theirs)
        return ours

    async def _serve(self, stream: trio.abc.Stream) -> None:
        server = LmtpServer("mx", lambda _: True)
        async with stream:
            while not server.closing:
                await stream.send_all(server.to_send())
                raw = await stream.receive_some(65536)
                if not raw:
                    return
                for who, what in self.poison.items():
                    if f"RCPT TO:<{who}>".encode() in raw:
                        self.tries.append((trio.current_time(), who))
                        if what.startswith("550"):
                            await stream.send_all(f"{what}\r\n421 too many errors\r\n".encode())
                        elif what == "drip":
                            await _drip(stream)
                        else:
                            await stream.send_all(b"421 4.3.2 going away\r\n")
                        return
                for arrived in server.receive(bytes(raw)):
                    [to] = arrived.recipients
                    code, text = self.replies.get(to, (250, "2.0.0 ok"))
                    if code == 250:
                        self.mails.append((to, parse(arrived.content), arrived.content))
                    if self.die_after_data:
                        self.die_after_data -= 1
                        return
                    server.answer(0, code, text)

    def words(self, to: str = "bo@example.org") -> list[str]:
        """What somebody was mailed, without the foot."""
        found = []
        for who, one, _ in self.mails:
            if who == to:
                text = "\n".join(line.plain for line in one.lines)
                found.append(text.partition("\n--")[0].strip())
        return found


async def _drip(stream: trio.abc.Stream) -> None:
    """A line that never ends, a byte in a minute."""
    with suppress(trio.BrokenResourceError):
        for one in b"250-" + b"x" * 4000:
            await stream.send_all(bytes([one]))
            await trio.sleep(60)


@asynccontextmanager
async def scene_of(
    tmp_path: Path,
    settings: EmailSettings = SETTINGS,
    *,
    links: LinksSettings | None = None,
    portals: Sequence[Portal] = (),
    **place: Any,
) -> AsyncIterator[Scene]:
    values = {"subscribers": ("bo@example.org",), "hold": 0.0, "notice_every": 0.0, **place}
    async with (
        open_pair(tmp_path / "world", "Book club") as pair,
        running(
            pair.world,
            pair.ana,
            pair.room,
            pair.bridge,
            settings,
            EmailPlace(**values),
            links=links,
            portals=portals,
        ) as scene,
    ):
        yield scene


def secret(scene: Scene, who: str = "bo@example.org") -> str:
    one = scene.network.store.subscriber(scene.bridge.vault, "books", who)
    assert one is not None
    return f"books+{one.token}@bridge.example"


async def bring(scene: Scene, raw: bytes, to: str = "", sender: str = "bo@example.org") -> int:
    """What LMTP brings; the code of the answer."""
    return (await scene.network.incoming.take(PROOF + raw, sender, to or secret(scene)))[0]


def by_bo(text: str, number: int | str = 1, **fields: str | None) -> bytes:
    return mail(
        f"{text}\n", From="Bo <bo@example.org>", Message_ID=f"<{number}@example.org>", **fields
    )


async def read(scene: Scene, name: str) -> bytes:
    """A file of the room, as a member gets it."""
    seq = next(m.seq for m in scene.messages() if m.file is not None and m.file.name == name)
    return await scene.room.read_file(seq)


def with_file(text: str, number: int) -> bytes:
    return with_files(text, number, ("a.txt", b"data"))


def with_files(text: str, number: int, *files: tuple[str, bytes]) -> bytes:
    body = f"--b\n\n{text}\n"
    for name, content in files:
        how = f'Content-Disposition: attachment; filename="{name}"'
        body += "--b\n" + part("text/plain", content, how)
    return by_bo(body + "--b--\n", number, Content_Type="multipart/mixed; boundary=b")


def lives(scene: Scene, raw: bytes, count: int) -> None:
    """The bridge ended that often while these bytes were read."""
    scene.network.incoming._readers._note(f"parse {sha256(raw).hexdigest()}", count)
