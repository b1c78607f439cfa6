"""A mailbox read over IMAP (trio): each mail handed on, and marked once it is committed."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from bridge.email import limits
from bridge.email.imap import ImapError, ImapReader, Response, quoted
from bridge.email.links import REPLY_SECONDS, connect, receive_some
from bridge.email.settings import Imap

__all__ = ["Cursor", "Mailbox", "watch"]

IDLE_SECONDS: Final = 28 * 60.0
"""Servers end an IDLE of half an hour (RFC 2177): it is begun anew before."""
_AT_ONCE: Final = 100

Cursor = tuple[int, int]
"""UIDVALIDITY, and the highest UID that is done with."""


class Mailbox:
    """One link to one mailbox. All of it may raise `ImapError`, `OSError`, `trio.TooSlowError`."""

    def __init__(self, stream: trio.abc.Stream, settings: Imap, max_bytes: int) -> None:
        self._stream = stream
        self._settings = settings
        self._reader = ImapReader(max_literal=max_bytes + limits.KIB)
        self._waiting: list[Response] = []
        self._tag = 0
        self._capabilities: set[bytes] = set()
        self.validity = 0

    async def open(self, password: str) -> None:
        """Log in and select."""
        greeting = await self._next(REPLY_SECONDS)
        if not greeting.is_ok:
            raise ImapError(f"the server says {greeting.text}")
        user = self._settings.user
        if user:
            secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
            await self._login(user, password, secret)
        self._capabilities = {
            word.upper()
            for one in await self.command("CAPABILITY")
            if one.line.upper().startswith(b"* CAPABILITY")
            for word in one.line.split()[2:]
        }
        for one in await self.command(f"SELECT {quoted(self._settings.mailbox)}"):
            self.validity = one.code_number(b"UIDVALIDITY") or self.validity
        if not self.validity:
            raise ImapError("the server names no UIDVALIDITY: its ids can not be relied on")

    async def _login(self, user: str, password: str, secret: str) -> None:
        try:
            await self.command(f"LOGIN {quoted(user)} {quoted(password)}")
        except ImapError as error:
            if "ASCII" not in str(error):
                raise
            await self.command("AUTHENTICATE PLAIN", then=secret)

    async def command(self, line: str, *, then: str = "") -> list[Response]:
        """Send a command; its untagged responses. `then` answers a `+`."""
        self._tag += 1
        tag = f"A{self._tag}"
        await self._stream.send_all(f"{tag} {line}\r\n".encode("ascii"))
        made: list[Response] = []
        while True:
            response = await self._next(REPLY_SECONDS)
            if response.tag == tag.encode():
                if not response.is_ok:
                    raise ImapError(f"{line.split()[0]}: the server says {response.text}")
                return made
            if response.tag == b"+":
                await self._stream.send_all(then.encode("ascii") + b"\r\n")
                then = ""
            elif response.line.upper().startswith(b"* BYE"):
                raise ImapError(f"the server ended the link: {response.text}")
            else:
                made.append(response)

    async def _next(self, seconds: float) -> Response:
        with trio.fail_after(seconds):
            while not self._waiting:
                raw = await receive_some(self._stream)
                if not raw:
                    raise ImapError("the server closed the link")
                self._waiting += self._reader.receive(raw)
        return self._waiting.pop(0)

    async def news(self, after: int) -> list[tuple[int, int]]:
        """UID and size of what came after a UID, in order, some at once."""
        found = []
        for one in await self.command(f"UID FETCH {after + 1}:* (UID RFC822.SIZE)"):
            uid, size = one.item(b"UID"), one.item(b"RFC822.SIZE")
            # `n:*` names the last one also where its UID is below n.
            if uid is not None and size is not None and uid > after:
                found.append((uid, size))
        return sorted(found)[:_AT_ONCE]

    async def fetch(self, uid: int) -> bytes | None:
        """All of one mail; None: it is gone."""
        for one in await self.command(f"UID FETCH {uid} (UID BODY.PEEK[])"):
            if one.item(b"UID") == uid and one.literals:
                return one.literals[-1]
        return None

    async def done(self, uid: int) -> None:
        """It is in the room: mark it as seen, or move it away."""
        target = self._settings.done
        await self.command(f"UID STORE {uid} +FLAGS.SILENT (\\Seen)")
        if not target:
            return
        if b"MOVE" in self._capabilities:
            await self.command(f"UID MOVE {uid} {quoted(target)}")
        else:
            await self.command(f"UID COPY {uid} {quoted(target)}")
            await self.command(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)")

    async def wait(self) -> None:
        """Until something may have come: IDLE, or a while where the server has none."""
        if b"IDLE" not in self._capabilities:
            await trio.sleep(self._settings.poll)
            return
        self._tag += 1
        tag = f"A{self._tag}".encode()
        await self._stream.send_all(tag + b" IDLE\r\n")
        begun = await self._next(REPLY_SECONDS)
        while begun.tag == b"*":
            begun = await self._next(REPLY_SECONDS)
        if begun.tag != b"+":
            raise ImapError(f"IDLE: the server says {begun.text}")
        with trio.move_on_after(IDLE_SECONDS):
            while (await self._next(2 * IDLE_SECONDS)).number(b"EXISTS") is None:
                pass
        await self._stream.send_all(b"DONE\r\n")
        while (await self._next(REPLY_SECONDS)).tag != tag:
            pass


async def watch(
    settings: Imap,
    password: str,
    *,
    max_bytes: int,
    cursor: Callable[[], Cursor],
    keep: Callable[[Cursor], None],
    take: Callable[[bytes], Awaitable[bool]],
    too_large: Callable[[int, int], Awaitable[None]],
    up: Callable[[], None],
) -> None:
    """Read a mailbox until the link ends (which raises).

    `take` says whether a mail is committed; where it is not, the link is ended and the mail comes
    again. Another UIDVALIDITY means that all ids are new: everything is read again, and what was
    taken before is known by its Message-ID.
    """
    async with await connect(settings.server) as stream:
        mailbox = Mailbox(stream, settings, max_bytes)
        await mailbox.open(password)
        validity, last = cursor()
        if validity != mailbox.validity:
            last = 0
        up()
        while True:
            found = await mailbox.news(last)
            for uid, size in found:
                if size > max_bytes:
                    await too_large(uid, size)
                else:
                    raw = await mailbox.fetch(uid)
                    if raw is not None and not await take(raw):
                        raise ImapError("a mail can not be taken now")
                await mailbox.done(uid)
                last = uid
                keep((mailbox.validity, last))
            if not found:
                await mailbox.wait()
