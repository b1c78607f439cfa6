"""An IRC server in memory that follows the IRCv3 texts, for what no server of Debian's offers.

It does what it was told to offer (`caps`), and misbehaves on demand: links that break before, or
after, a line was taken.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import trio
from attrs import define, field
from trio.testing import memory_stream_pair

from bridge.irc.connection import Lost
from bridge.irc.wire import Framer, Line, encode

__all__ = ["ALL_CAPS", "Guest", "Scripted"]

ALL_CAPS = (
    "batch",
    "draft/chathistory",
    "draft/message-redaction",
    "draft/multiline=max-bytes=4096,max-lines=24",
    "draft/relaymsg=/",
    "echo-message",
    "labeled-response",
    "message-tags",
    "msgid",
    "server-time",
)
_ISUPPORT = "NICKLEN=30 CASEMAPPING=rfc1459 CHATHISTORY=100 MSGREFTYPES=msgid,timestamp"


@define(eq=False)
class Guest:
    """One connection to it."""

    stream: trio.abc.Stream
    tls: bool
    port: int
    nick: str = ""
    user: str = "u"
    host: str = "host.example"
    caps: set[str] = field(factory=set)
    lines: list[Line] = field(factory=list)
    """What it said."""
    ready: bool = False
    channels: set[str] = field(factory=set)
    batches: dict[str, tuple[Line, list[Line]]] = field(factory=dict)
    sending: trio.Lock = field(factory=trio.Lock)

    @property
    def mask(self) -> str:
        return f"{self.nick}!{self.user}@{self.host}"

    def said(self, command: str) -> list[tuple[str, ...]]:
        """The parameters of its lines with this command."""
        return [one.params for one in self.lines if one.command == command]


@define
class Kept:
    """One line of a channel's history."""

    source: str
    command: str
    params: tuple[str, ...]
    tags: dict[str, str]
    inner: tuple[Line, ...] = ()
    """The lines of one that has several."""


class Scripted:
    """The server."""

    def __init__(
        self,
        caps: list[str] | tuple[str, ...] = (),
        isupport: str = _ISUPPORT,
        now: Callable[[], int] = lambda: 0,
    ) -> None:
        self.caps = list(caps)
        self.isupport = isupport
        self.now = now
        self.guests: list[Guest] = []
        self.everybody: list[Guest] = []
        """Those who are gone too."""
        self.history: dict[str, list[Kept]] = {}
        self.refuse: dict[tuple[str, str], str] = {}
        """(nick, command) -> the numeric that answers, or FAIL."""
        self.refusal = "it is refused"
        """The words that come with it."""
        self.people: dict[str, str] = {}
        """Others with a nick (in small letters), and their user@host."""
        self.accounts: dict[str, str] = {}
        """Those of them (in small letters) who are logged in, and their account."""
        self.privately: list[tuple[str, str, str]] = []
        """What was said to them: by whom, to whom, what."""
        self.page = 1000
        """Lines of history that it gives at once, however many it is asked for."""
        self.no_batches = False
        """It offers draft/multiline, and takes none."""
        self.dead = False
        self.swallow: Callable[[Guest, Line], str] = lambda _guest, _line: ""
        """"" : go on; "before" / "after": the link breaks before or after the line is taken;
        "lost": it is passed over."""
        self.turn_away: Callable[[Guest], str] = lambda _guest: ""
        """Why somebody is not let in."""
        self._nursery: trio.Nursery | None = None
        self._number = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def open(self, _settings: object, *, tls: bool, port: int) -> trio.abc.Stream:
        """In place of `open_stream`."""
        if self.dead or self._nursery is None:
            raise Lost("nobody answers")
        ours, theirs = memory_stream_pair()
        guest = Guest(ours, tls, port)
        self.guests.append(guest)
        self.everybody.append(guest)
        self._nursery.start_soon(self._serve, guest)
        return theirs

    async def die(self) -> None:
        """All links break."""
        self.dead = True
        for guest in list(self.guests):
            await guest.stream.aclose()
        self.guests.clear()

    # -- one guest -------------------------------------------------------------------------------

    async def _serve(self, guest: Guest) -> None:
        framer = Framer()
        try:
            while data := await guest.stream.receive_some(65536):
                for line in framer.feed(bytes(data)):
                    fate = self.swallow(guest, line)
                    if fate == "before":
                        raise trio.BrokenResourceError
                    guest.lines.append(line)
                    if fate != "lost":
                        await self._take(guest, line)
                    if fate == "after":
                        raise trio.BrokenResourceError
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await self.drop(guest, "gone")

    async def drop(self, guest: Guest, why: str) -> None:
        """End a guest's connection."""
        if guest not in self.guests:
            return
        self.guests.remove(guest)
        for one in list(self.guests):
            if one.channels & guest.channels:
                await self.to(one, guest.mask, "QUIT", why)
        await guest.stream.aclose()

    async def to(self, guest: Guest, source: str, command: str, *params: str, **tags: Any) -> None:
        """Say something to one guest; `tags` are filtered by its capabilities."""
        await self._to(guest, source, command, params, dict(tags))

    async def _to(
        self, guest: Guest, source: str, command: str, params: tuple[str, ...], tags: dict[str, str]
    ) -> None:
        allowed = {}
        for name, value in tags.items():
            needs = {"time": "server-time", "label": "labeled-response", "batch": "batch"}
            if name == "draft/multiline-concat":
                needs[name] = "draft/multiline"
            if needs.get(name, "message-tags") in guest.caps:
                allowed[name] = value
        raw = encode(command, params, allowed)
        if source:
            head, _, rest = raw.partition(b" ") if raw.startswith(b"@") else (b"", b"", raw)
            raw = (head + b" " if head else b"") + b":" + source.encode() + b" " + rest
        try:
            async with guest.sending:
                await guest.stream.send_all(raw)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _numeric(self, guest: Guest, code: str, *params: str, label: str = "") -> None:
        tags = {"label": label} if label else {}
        await self._to(guest, "irc.example", code, (guest.nick or "*", *params), tags)

    def _stamp(self) -> dict[str, str]:
        self._number += 1
        at = datetime.fromtimestamp(self.now() / 1000, UTC)
        tags = {"time": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"}
        if "msgid" in self.caps:
            tags["msgid"] = f"id{self._number}"
        return tags

    # -- people of the test ----------------------------------------------------------------------

    async def say(self, nick: str, channel: str, text: str, **tags: str) -> str:
        """Somebody else says something; its msgid."""
        return await self.act(nick, "PRIVMSG", (channel, text), **tags)

    async def act(self, nick: str, command: str, params: tuple[str, ...], **tags: str) -> str:
        """Somebody else does something in a channel."""
        stamp = {**self._stamp(), **tags}
        await self._spread(f"{nick}!{nick}@there.example", command, params, stamp, None, "")
        return stamp.get("msgid", "")

    async def _spread(
        self,
        source: str,
        command: str,
        params: tuple[str, ...],
        tags: dict[str, str],
        sender: Guest | None,
        label: str,
    ) -> None:
        channel = params[0].lower()
        if command in ("PRIVMSG", "NOTICE"):
            self.history.setdefault(channel, []).append(Kept(source, command, params, tags))
        for guest in list(self.guests):
            if guest is sender:
                if "echo-message" in guest.caps:
                    await self._to(
                        guest,
                        source,
                        command,
                        params,
                        {**tags, **({"label": label} if label else {})},
                    )
                elif label:
                    await self._to(guest, "irc.example", "ACK", (), {"label": label})
            elif channel in guest.channels:
                await self._to(guest, source, command, params, tags)

    # -- commands --------------------------------------------------------------------------------

    async def _take(self, guest: Guest, line: Line) -> None:
        label = line.tags.get("label", "")
        refused = self.refuse.get((guest.nick, line.command)) or self.refuse.get(
            ("*", line.command)
        )
        if refused == "FAIL":
            words = (line.command, "CANNOT_SEND", line[0], "it is refused")
            await self._to(guest, "irc.example", "FAIL", words, {})
            return
        if refused:
            await self._numeric(guest, refused, line[0], self.refusal, label=label)
            return
        match line.command:
            case "CAP":
                await self._cap(guest, line)
            case "NICK":
                await self._nick(guest, line[0])
            case "USER":
                guest.user = line[0]
                await self._welcome(guest)
            case "AUTHENTICATE" if line[0].isupper():
                await self._to(guest, "", "AUTHENTICATE", ("+",), {})
            case "AUTHENTICATE":
                await self._numeric(guest, "903", "SASL authentication successful")
            case "WEBIRC":
                guest.host = line[2]
            case "PING":
                await self._to(
                    guest, "irc.example", "PONG", ("irc.example", line[0]), self._stamp()
                )
            case "JOIN":
                guest.channels.add(line[0].lower())
                for one in list(self.guests):
                    if line[0].lower() in one.channels:
                        await self._to(one, guest.mask, "JOIN", (line[0],), self._stamp())
                await self._numeric(guest, "366", line[0], "End of NAMES")
            case "PART":
                for one in list(self.guests):
                    if line[0].lower() in one.channels:
                        await self._to(one, guest.mask, "PART", (line[0],), self._stamp())
                guest.channels.discard(line[0].lower())
            case "QUIT":
                await self._to(guest, "", "ERROR", ("Closing Link: bye",), {})
                await self.drop(guest, "bye")
            case "PRIVMSG" | "NOTICE" | "TAGMSG" if line.tags.get("batch") in guest.batches:
                guest.batches[line.tags["batch"]][1].append(line)
            case "PRIVMSG" | "NOTICE" | "TAGMSG":
                passed = {k: v for k, v in line.tags.items() if k.startswith("+")}
                params = tuple(line.params)
                if line[0].startswith("#"):
                    tags = {**self._stamp(), **passed}
                    await self._spread(guest.mask, line.command, params, tags, guest, label)
                else:
                    found = [one for one in self.guests if one.nick.lower() == line[0].lower()]
                    for one in found:
                        await self._to(one, guest.mask, line.command, params, self._stamp())
                    if line[0].lower() in self.people and line.command == "PRIVMSG":
                        self.privately.append((guest.nick, line[0], line[1]))
                    elif not found and line[0].lower() not in self.people:
                        await self._numeric(guest, "401", line[0], "No such nick", label=label)
            case "USERHOST":
                own = (f"{x.user}@{x.host}" for x in self.guests if x.nick == line[0])
                where = self.people.get(line[0].lower(), "") or next(own, "")
                await self._numeric(guest, "302", f"{line[0]}=+{where}" if where else "")
            case "WHO" | "WHOIS":
                await self._who(guest, line)
            case "BATCH":
                await self._batch(guest, line, label)
            case "RELAYMSG":
                source = f"{line[1]}!relay@relayed.example"
                tags = {**self._stamp(), "draft/relaymsg": guest.nick}
                await self._spread(source, "PRIVMSG", (line[0], line[2]), tags, guest, label)
            case "REDACT":
                stamp = self._stamp()
                await self._spread(guest.mask, "REDACT", tuple(line.params), stamp, guest, label)
            case "CHATHISTORY":
                await self._chathistory(guest, line)

    async def _who(self, guest: Guest, line: Line) -> None:
        """WHOX, as far as it is asked for; or WHOIS."""
        nick = line[0].lower()
        user, _, host = self.people.get(nick, "").partition("@")
        account = self.accounts.get(nick, "")
        if line.command == "WHO":
            if user:
                token = line[1].rpartition(",")[2]
                await self._numeric(guest, "354", token, user, host, line[0], account or "0")
            await self._numeric(guest, "315", line[0], "End of /WHO list")
            return
        if user:
            await self._numeric(guest, "311", line[0], user, host, "*", "somebody")
            if account:
                await self._numeric(guest, "330", line[0], account, "is logged in as")
        else:
            await self._numeric(guest, "401", line[0], "No such nick")
        await self._numeric(guest, "318", line[0], "End of /WHOIS list")

    async def _cap(self, guest: Guest, line: Line) -> None:
        if line[0] == "LS":
            if self.caps:
                await self._numeric_cap(guest, "LS", " ".join(x for x in self.caps if x != "msgid"))
            else:
                await self._numeric(guest, "421", "CAP", "Unknown command")
        elif line[0] == "REQ":
            guest.caps.update(line[1].split())
            await self._numeric_cap(guest, "ACK", line[1])
        elif line[0] == "END":
            guest.ready = True
            await self._welcome(guest)

    async def _numeric_cap(self, guest: Guest, what: str, text: str) -> None:
        await self._to(guest, "irc.example", "CAP", (guest.nick or "*", what, text), {})

    async def _nick(self, guest: Guest, nick: str) -> None:
        if any(one.nick.lower() == nick.lower() for one in self.guests if one is not guest):
            await self._numeric(guest, "433", nick, "in use")
            return
        if guest.channels:
            for one in list(self.guests):
                if one is guest or one.channels & guest.channels:
                    await self._to(one, guest.mask, "NICK", (nick,), self._stamp())
        guest.nick = nick
        await self._welcome(guest)

    async def _welcome(self, guest: Guest) -> None:
        named = guest.nick and guest.user != "u"
        if named and (guest.ready or not self.caps) and "001" not in guest.batches:
            why = self.turn_away(guest)
            if why:
                await self._to(guest, "", "ERROR", (why,), {})
                await self.drop(guest, why)
                return
            guest.batches["001"] = (Line("001"), [])
            await self._numeric(guest, "001", "Welcome")
            await self._numeric(guest, "005", *self.isupport.split(), "are supported")

    async def _batch(self, guest: Guest, line: Line, label: str) -> None:
        if line[0].startswith("+"):
            guest.batches[line[0][1:]] = (line, [])
            return
        opened, inner = guest.batches.pop(line[0][1:])
        label, channel = opened.tags.get("label", ""), opened[2]
        wrong = self._wrong_with(inner, channel)
        if wrong:
            tags = {"label": label} if label else {}
            await self._to(guest, "irc.example", "FAIL", ("BATCH", *wrong), tags)
            return
        passed = {k: v for k, v in opened.tags.items() if k.startswith("+")}
        stamp = {**self._stamp(), **passed}
        kept = Kept(guest.mask, inner[0].command, (channel, ""), stamp, tuple(inner))
        self.history.setdefault(channel.lower(), []).append(kept)
        for one in list(self.guests):
            if channel.lower() not in one.channels:
                continue
            if one is not guest:
                await self.several(one, kept, {})
            elif "echo-message" in one.caps:
                await self.several(one, kept, {"label": label} if label else {})

    def _wrong_with(self, inner: list[Line], channel: str) -> tuple[str, ...]:
        """Why a batch of several lines is refused."""
        value = next(
            (x.partition("=")[2] for x in self.caps if x.startswith("draft/multiline")), ""
        )
        limits = {k: int(v) for k, _, v in (one.partition("=") for one in value.split(","))}
        size = sum(len(one[1].encode()) for one in inner)
        size += sum("draft/multiline-concat" not in one.tags for one in inner[1:])
        if size > limits["max-bytes"]:
            return ("MULTILINE_MAX_BYTES", str(limits["max-bytes"]), "too long")
        if len(inner) > limits["max-lines"]:
            return ("MULTILINE_MAX_LINES", str(limits["max-lines"]), "too many lines")
        if any(one[0] != channel for one in inner):
            return ("MULTILINE_INVALID_TARGET", channel, inner[0][0], "another target")
        odd = len({one.command for one in inner}) != 1 or not any(one[1] for one in inner)
        return ("MULTILINE_INVALID", "not like that") if odd or self.no_batches else ()

    async def several(self, guest: Guest, kept: Kept, tags: dict[str, str]) -> None:
        """A message of several lines, kept together where the guest knows that."""
        self._number += 1
        ref = f"m{self._number}"
        together = "draft/multiline" in guest.caps
        if together:
            params = (f"+{ref}", "draft/multiline", kept.params[0])
            await self._to(guest, kept.source, "BATCH", params, {**kept.tags, **tags})
        for at, each in enumerate(kept.inner):
            mine = {"batch": ref} if together else {**tags, **(kept.tags if not at else {})}
            if together and "draft/multiline-concat" in each.tags:
                mine["draft/multiline-concat"] = ""
            await self._to(guest, kept.source, each.command, tuple(each.params), mine)
        if together:
            await self._to(guest, "irc.example", "BATCH", (f"-{ref}",), {})

    async def _chathistory(self, guest: Guest, line: Line) -> None:
        kept = self.history.get(line[1].lower(), [])
        kind, _, value = line[2].partition("=")
        if line[0] == "AFTER" and kind == "msgid":
            at = next((n for n, one in enumerate(kept) if one.tags.get("msgid") == value), -1)
            found = kept[at + 1 :]
        elif line[0] == "AFTER":
            found = [one for one in kept if one.tags["time"] > value]
        else:
            await self._to(
                guest, "irc.example", "FAIL", ("CHATHISTORY", "INVALID_PARAMS", line[1], "no"), {}
            )
            return
        self._number += 1
        ref = f"h{self._number}"
        await self._to(guest, "irc.example", "BATCH", (f"+{ref}", "chathistory", line[1]), {})
        for one in found[: min(self.page, int(line[3]))]:
            if one.inner:
                await self.several(guest, one, {"batch": ref})
                continue
            await self._to(guest, one.source, one.command, one.params, {**one.tags, "batch": ref})
        await self._to(guest, "irc.example", "BATCH", (f"-{ref}",), {})
