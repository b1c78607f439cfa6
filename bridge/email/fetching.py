"""A mailbox read over IMAP (trio): each mail handed on, and marked once it is committed.

A mail that can not be taken now stays where it is, and those behind it have their turn; it is tried
again after a while. One that fails for ever is set aside, for who runs the bridge to look at.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, auto
from math import inf
from typing import Final

import trio
from attrs import define, evolve, frozen

from bridge.email import limits
from bridge.email.imap import ImapError, ImapReader, ImapRefused, Response, quoted
from bridge.email.links import REPLY_SECONDS, connect, receive_some
from bridge.email.settings import Imap
from bridge.email.smtp import without_secrets

__all__ = ["Answer", "Cursor", "Later", "Mailbox", "Reading", "Taken"]

IDLE_SECONDS: Final = 28 * 60.0
"""Servers end an IDLE of half an hour (RFC 2177): it is begun anew before."""
_COMMAND_SECONDS: Final = 1800.0
"""For all of the answer to one command, whatever a server says meanwhile; a mail may be in it."""
_AT_ONCE: Final = 1000
_ANSWER_BYTES: Final = 32 * limits.MIB
"""Of all that a server says to one command, beside a mail: half a million lines of what is new."""
_WAITS: Final = (60, 300, 900, 1800)
"""Seconds until a mail that could not be taken is tried again; the last one from then on."""
_FAILURES: Final = 5
"""Of a mail that makes us (or the server) fail: then it is set aside."""
LATER_AT_ONCE: Final = 200
"""Mails that wait to be tried again: with more, the oldest has to give way before one is read."""
_GIVES_WAY_MS: Final = 3_600_000
"""How long a mail waits before it gives way: a room that is only slow has taken it by then, and
one that is closed stops its neighbours no longer than this."""
_LATER_MS: Final = 5 * 24 * 3_600_000
"""How long a mail is tried again: as long as a mail server would."""


class Taken(Enum):
    """What became of a mail that was read."""

    DONE = auto()
    """All of it that is for us is on disk, or it is refused for good."""
    LATER = auto()
    """No room takes it now."""
    ASIDE = auto()
    """It is not tried again, and who runs the bridge is to look at it."""
    BROKEN = auto()
    """Something went wrong over it."""


@frozen
class Answer:
    """What became of a mail, and where."""

    taken: Taken
    places: frozenset[str] = frozenset()
    """With `LATER`: which places it is still for. With `ASIDE`: which it was for; none: any."""
    why: str = "too much waits for an owner's word"
    """With `ASIDE`."""


_FAILED: Final = Answer(Taken.BROKEN)


@frozen
class Later:
    """A mail that is tried again."""

    uid: int
    tries: int
    failures: int
    """How many of them were `BROKEN`."""
    due: int
    """Milliseconds since 1970, as `first`."""
    first: int
    places: frozenset[str] = frozenset()
    """Where it is waited for: no later mail goes before it there."""


@frozen
class Cursor:
    """How far a mailbox is read."""

    validity: int = 0
    """UIDVALIDITY: with another one, all ids are others."""
    last: int = 0
    """The highest UID that was read."""
    later: tuple[Later, ...] = ()
    """Those of them that are not done with."""


class Mailbox:
    """One link to one mailbox. All of it may raise `ImapError`, `OSError`, `trio.TooSlowError`."""

    def __init__(self, stream: trio.abc.Stream, settings: Imap, max_bytes: int) -> None:
        self._stream = stream
        self._settings = settings
        self._reader = ImapReader(max_literal=max_bytes + limits.KIB)
        self._max_bytes = max_bytes
        self._waiting: list[Response] = []
        self._tag = 0
        self._capabilities: set[bytes] = set()
        self._told = False
        """The server has told of new mail since it was last looked for."""
        self.validity = 0

    async def open(self, password: str) -> None:
        """Log in and select."""
        greeting = await self._next(REPLY_SECONDS)
        if not greeting.is_ok:
            raise ImapError(f"the server says {greeting.text}")
        user = self._settings.user
        if user:
            secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
            try:
                await self._login(user, password, secret)
            except ImapError as error:
                raise type(error)(without_secrets(str(error), user, password)) from None
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

    @property
    def can_idle(self) -> bool:
        """Whether the server tells of new mail by itself."""
        return b"IDLE" in self._capabilities

    async def has(self, name: str) -> None:
        """Raises `ImapRefused` where there is no such mailbox."""
        await self.command(f"STATUS {quoted(name)} (UIDVALIDITY)")

    async def _login(self, user: str, password: str, secret: str) -> None:
        try:
            await self.command(f"LOGIN {quoted(user)} {quoted(password)}")
        except ImapError as error:
            if "ASCII" not in str(error):
                raise
            await self.command("AUTHENTICATE PLAIN", then=secret)

    async def command(self, line: str, *, then: str = "") -> list[Response]:
        """Send a command; its untagged responses. `then` answers a `+`."""
        with trio.fail_after(_COMMAND_SECONDS):
            return await self._command(line, then)

    async def _command(self, line: str, then: str) -> list[Response]:
        self._tag += 1
        tag = f"A{self._tag}"
        await self._stream.send_all(f"{tag} {line}\r\n".encode("ascii"))
        made: list[Response] = []
        left = self._max_bytes + _ANSWER_BYTES
        while True:
            response = await self._next(REPLY_SECONDS)
            left -= 100 + len(response.line) + sum(map(len, response.literals))
            if left < 0:
                raise ImapError(f"{_verb(line)}: the server does not come to an end")
            if response.tag == tag.encode():
                if not response.is_ok:
                    raise ImapRefused(f"{_verb(line)}: the server says {response.text}")
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
        response = self._waiting.pop(0)
        # A server tells of it once, in the midst of whatever it is saying, and not in IDLE again.
        self._told = self._told or response.number(b"EXISTS") is not None
        return response

    async def news(self, after: int) -> list[tuple[int, int]]:
        """UID and size of what came after a UID, in order, some at once."""
        found = []
        self._told = False
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

    async def head(self, uid: int, name: str) -> bytes:
        """The fields of one name in a mail's header; it is not marked as read."""
        for one in await self.command(f"UID FETCH {uid} (UID BODY.PEEK[HEADER.FIELDS ({name})])"):
            if one.item(b"UID") == uid and one.literals:
                return one.literals[-1]
        return b""

    async def done(self, uid: int) -> None:
        """It is in the room: mark it as seen, or move it away."""
        await self.command(f"UID STORE {uid} +FLAGS.SILENT (\\Seen)")
        await self._move(uid, self._settings.done)

    async def set_aside(self, uid: int) -> None:
        """It can not be brought in: mark it, or move it away, for a person to look at."""
        await self.command(f"UID STORE {uid} +FLAGS.SILENT (\\Flagged)")
        await self._move(uid, self._settings.failed)

    async def _move(self, uid: int, target: str) -> None:
        if not target:
            return
        verb = "MOVE" if b"MOVE" in self._capabilities else "COPY"
        try:
            await self.command(f"UID {verb} {uid} {quoted(target)}")
        except ImapRefused:
            # Where it is not there, it is made; any other reason comes again.
            with suppress(ImapRefused):
                await self.command(f"CREATE {quoted(target)}")
            await self.command(f"UID {verb} {uid} {quoted(target)}")
        if verb == "COPY":
            await self.command(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)")

    async def wait(self, seconds: float) -> None:
        """Until something may have come, and no longer than this: IDLE, or a while without it."""
        if not self.can_idle:
            await trio.sleep(min(self._settings.poll, seconds))
            return
        if self._told:
            # Whoever waits in a loop may not look for news each time: then this has to be a wait.
            self._told = False
            await trio.lowlevel.checkpoint()
            return
        self._tag += 1
        tag = f"A{self._tag}".encode()
        with trio.fail_after(REPLY_SECONDS):
            await self._stream.send_all(tag + b" IDLE\r\n")
            while (begun := await self._next(REPLY_SECONDS)).tag == b"*":
                pass
        if begun.tag != b"+":
            raise ImapError(f"IDLE: the server says {begun.text}")
        with trio.move_on_after(min(IDLE_SECONDS, seconds)):
            while not self._told:
                await self._next(2 * IDLE_SECONDS)
        with trio.fail_after(REPLY_SECONDS):
            await self._stream.send_all(b"DONE\r\n")
            while (await self._next(REPLY_SECONDS)).tag != tag:
                pass


@define(eq=False)
class Reading:
    """Reads a mailbox until the link ends (which raises)."""

    settings: Imap
    max_bytes: int
    now: Callable[[], int]
    cursor: Cursor
    keep: Callable[[Cursor], None]
    """Keeps it, before anything more is read."""
    take: Callable[[bytes, frozenset[str]], Awaitable[Answer]]
    """Brings a mail in, but not to these places: there an earlier one has to go first."""
    too_large: Callable[[int, int], Awaitable[None]]
    aside: Callable[[int, str, frozenset[str]], None]
    """A mail was set aside, why, and for which places it was (none: it may be for any)."""
    unmarked: Callable[[int, str], None]
    """A mail is in the room, and the server refuses to mark it; why."""
    up: Callable[[], None]
    """All that was there has been read: the mailbox works."""

    async def run(self, password: str) -> None:
        """Log in and read.

        Another UIDVALIDITY means that all ids are new: everything is read again, and what was taken
        before is known by its Message-ID.
        """
        async with await connect(self.settings.server) as stream:
            mailbox = Mailbox(stream, self.settings, self.max_bytes)
            await mailbox.open(password)
            if self.cursor.validity != mailbox.validity:
                self.cursor = Cursor(mailbox.validity)
            while True:
                due = [one.uid for one in self.cursor.later if one.due <= self.now()]
                for uid in sorted(due):
                    await self._read(mailbox, uid, 0)
                found = await self._read_news(mailbox)
                if not found:
                    self.up()
                    await mailbox.wait(self._until_due())

    async def _read_news(self, mailbox: Mailbox) -> bool:
        """What has come since; whether that was anything that could be read now."""
        if not await self._has_room(mailbox):
            return False
        found = await mailbox.news(self.cursor.last)
        for uid, size in found:
            if not await self._has_room(mailbox):
                return False
            await self._read(mailbox, uid, size)
        return bool(found)

    async def _has_room(self, mailbox: Mailbox) -> bool:
        """Whether few enough wait, once the oldest gave way."""
        while len(self.cursor.later) > LATER_AT_ONCE:
            oldest = min(self.cursor.later, key=lambda one: one.first)
            if self.now() - oldest.first < _GIVES_WAY_MS:
                return False
            why = "no room took it, and too many wait"
            await self._set_aside(mailbox, oldest.uid, why, oldest.places)
        return True

    def _until_due(self) -> float:
        first = min((one.due for one in self.cursor.later), default=None)
        return inf if first is None else max(0.001, (first - self.now()) / 1000)

    async def _read(self, mailbox: Mailbox, uid: int, size: int) -> None:
        known = next((one for one in self.cursor.later if one.uid == uid), None)
        if known is not None and known.failures >= _FAILURES:
            # It has ended as many links: it is not asked for any more.
            why = "the link ended whenever it was read"
            await self._set_aside(mailbox, uid, why)
            return
        try:
            answer = await self._take(mailbox, uid, size)
            taken = answer.taken
            if taken is Taken.DONE:
                await self._mark(mailbox, uid)
        except ImapRefused as error:
            await self._again(mailbox, uid, _FAILED, str(error))
        except (ImapError, OSError, trio.TooSlowError, trio.BrokenResourceError):
            # This mail may be why the link ended: the next link begins with another.
            self._note(self._later(uid, _FAILED), uid)
            raise
        else:
            if taken is Taken.DONE:
                self._note(None, uid)
            elif taken is Taken.ASIDE:
                await self._set_aside(mailbox, uid, answer.why, answer.places)
            else:
                await self._again(mailbox, uid, answer, "it could not be handled")

    async def _take(self, mailbox: Mailbox, uid: int, size: int) -> Answer:
        if size > self.max_bytes:
            await self.too_large(uid, size)
            return Answer(Taken.DONE)
        raw = await mailbox.fetch(uid)
        earlier = [one.places for one in self.cursor.later if one.uid < uid]
        behind = frozenset[str]().union(*earlier)
        return Answer(Taken.DONE) if raw is None else await self.take(raw, behind)

    async def _mark(self, mailbox: Mailbox, uid: int) -> None:
        """It is in the room, whether the server lets us say so or not."""
        try:
            await mailbox.done(uid)
        except ImapRefused as error:
            self.unmarked(uid, str(error))

    async def _again(self, mailbox: Mailbox, uid: int, answer: Answer, why: str) -> None:
        """It is tried again in a while; or, once that is of no use, set aside."""
        later = self._later(uid, answer)
        if later.failures < _FAILURES and self.now() - later.first <= _LATER_MS:
            self._note(later, uid)
            return
        why = why if later.failures >= _FAILURES else "no room took it for days"
        await self._set_aside(mailbox, uid, why, later.places)

    async def _set_aside(
        self, mailbox: Mailbox, uid: int, why: str, places: frozenset[str] = frozenset()
    ) -> None:
        # Before the server is asked: one that ends the link over it would be asked on every link,
        # and nothing else would be read.
        self._note(None, uid)
        try:
            await mailbox.set_aside(uid)
        except ImapRefused as error:
            why = f"{why}; {error}"
        finally:
            self.aside(uid, why, places)

    def _later(self, uid: int, answer: Answer) -> Later:
        now = self.now()
        known = next((one for one in self.cursor.later if one.uid == uid), Later(uid, 0, 0, 0, now))
        wait = _WAITS[min(known.tries, len(_WAITS) - 1)]
        failures = known.failures + (answer.taken is Taken.BROKEN)
        due = now + wait * 1000
        tries = known.tries + 1
        return evolve(known, tries=tries, failures=failures, due=due, places=answer.places)

    def _note(self, later: Later | None, uid: int) -> None:
        others = tuple(one for one in self.cursor.later if one.uid != uid)
        before = next((one.places for one in self.cursor.later if one.uid == uid), frozenset())
        gone = before if later is None else before - later.places
        # Those behind it had to wait for nothing else.
        others = tuple(
            evolve(one, due=min(one.due, self.now())) if one.places & gone else one
            for one in others
        )
        self.cursor = evolve(
            self.cursor,
            last=max(self.cursor.last, uid),
            later=others if later is None else (*others, later),
        )
        self.keep(self.cursor)


def _verb(line: str) -> str:
    """The command without what it says: a password, perhaps."""
    words = line.split()
    return " ".join(words[:2]) if words[0] == "UID" else words[0]
