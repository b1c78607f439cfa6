"""One connection to a server: TLS, lines both ways, the pace of what is said, proofs (trio)."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import trio
from attrs import define, field

from bridge.core.errors import NetworkError
from bridge.irc.login import Login
from bridge.irc.multiline import CONCAT, MULTILINE, Limits, limits_of
from bridge.irc.rendering import Piece
from bridge.irc.settings import IrcSettings
from bridge.irc.wire import Framer, Line, encode, fold, said_there
from ofcd.client.applog import Log, traceback_of

__all__ = ["Connection", "Fence", "Lost", "Said", "guarded", "open_stream"]

_CONNECT_SECONDS: Final = 30.0
_LOGIN_SECONDS: Final = 60.0
_READ_BYTES: Final = 65536
_REFUSALS: Final = frozenset(
    {
        "401",
        "403",
        "404",
        "407",
        "408",
        "411",
        "412",
        "413",
        "414",
        "415",
        "442",
        "477",
        "482",
        "531",
    }
)
"""Errors that answer a message, a notice or a topic, and name the place."""
_SAYING: Final = frozenset({"PRIVMSG", "NOTICE", "TOPIC", "RELAYMSG", "REDACT", "TAGMSG"})
_ECHOED: Final = frozenset({"PRIVMSG", "NOTICE", "TAGMSG", "REDACT", "TOPIC"})
_ISUPPORT: Final = 200
"""What a server says of itself that is noted."""
_BATCHES: Final = 100
"""Batches that may be open at once."""
_WHERE_SECONDS: Final = 30.0
_MSGID: Final = 200
"""Characters of an id that are kept."""


class Lost(NetworkError):
    """The connection is gone."""

    code = "bridge_lost"


_LABELS: Final = frozenset({"labeled-response", "echo-message"})
_LAST_WORDS_SECONDS: Final = 1.0
_CAP_SECONDS: Final = 10.0
"""A server silent for so long about its capabilities has none."""


@define(eq=False)
class Said:
    """One line that was said, and what came back of it."""

    text: str
    label: str = ""
    batch: bool = False
    """It is a message of several lines."""
    answered: bool = False
    msgid: str = ""


@define(eq=False)
class Fence:
    """What was said, and whether it arrived.

    Where the server answers each line (labels and echoes), those answers are the proof. Elsewhere
    a PING stands behind what was said: its answer proves that the server has taken all before it.
    """

    token: str
    place: str
    done: trio.Event = field(factory=trio.Event)
    proven: bool = False
    closed: bool = False
    """All of it was said."""
    said: list[Said] = field(factory=list)
    batch_refused: bool = False
    """The server took no message of several lines: it is to be said line by line."""
    errors: list[str] = field(factory=list)
    """What the server said against what stands between the fence before and this one."""

    @property
    def began(self) -> bool:
        """Something of it was said."""
        return bool(self.said)

    @property
    def ids(self) -> tuple[str, ...]:
        """The msgids of the lines that came back."""
        return tuple(one.msgid for one in self.said if one.msgid)

    @property
    def all_answered(self) -> bool:
        """Each line came back."""
        return self.closed and all(one.answered for one in self.said)

    def look(self) -> None:
        """One more line came back."""
        if self.all_answered and self.said and not self.errors:
            self.proven = True
            self.done.set()


async def open_stream(settings: IrcSettings, *, tls: bool, port: int) -> trio.abc.Stream:
    """Connect; raises `Lost` with a sentence that says why not."""
    try:
        with trio.fail_after(_CONNECT_SECONDS):
            stream: trio.abc.Stream = await trio.open_tcp_stream(settings.server, port)
            if not tls:
                return stream
            context = ssl.create_default_context(cafile=settings.ca_file or None)
            if settings.client_cert_file:
                context.load_cert_chain(settings.client_cert_file)
            secured = trio.SSLStream(
                stream, context, server_hostname=settings.server, https_compatible=True
            )
            await secured.do_handshake()
            return secured
    except trio.TooSlowError:
        raise Lost(f"{settings.server}:{port} does not answer") from None
    except trio.BrokenResourceError as error:
        raise Lost(f"{settings.server}:{port}: {_why(error.__cause__)}") from None
    except (OSError, ssl.SSLError) as error:
        raise Lost(f"{settings.server}:{port}: {_why(error)}") from None


async def guarded(log: Log, take: Callable[[Line], Awaitable[None]], line: Line) -> None:
    """Take a line; a mistake of ours costs this line, and neither the connection nor the bridge."""
    try:
        await take(line)
    except NetworkError:
        raise
    except Exception as error:
        log.error("a line could not be taken", trace=traceback_of(error))


def _refused(line: Line) -> None:
    if line.command == "ERROR":
        raise NetworkError(f"the server refuses the bridge: {line.last}")


def _why(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails: {error.reason}"
    if isinstance(error, OSError):
        return error.strerror or "it can not be reached"
    return "the connection broke"


class Connection:
    """A registered connection. `run` reads until it is lost; `take` is given each line."""

    def __init__(self, settings: IrcSettings, stream: trio.abc.Stream, login: Login) -> None:
        self._settings = settings
        self._stream = stream
        self.login = login
        self.isupport: dict[str, str] = {}
        self.user = ""
        self.host = ""
        self.lost = False
        self.refuses_batches = False
        self._framer = Framer()
        self._sending = trio.Lock()
        self._pace = trio.Lock()
        self._tokens = float(settings.burst)
        self._since = trio.current_time()
        self._fences: dict[str, Fence] = {}
        self._labels: dict[str, tuple[Fence, Said]] = {}
        self._batches: dict[str, str] = {}
        """Batches that answer a label."""
        self._number = 0
        self._heard = trio.current_time()
        self._where: str | None = None
        self._where_of = ""
        self._where_known = trio.Event()

    @property
    def nick(self) -> str:
        """The bridge's nick now."""
        return self.login.nick

    @property
    def caps(self) -> set[str]:
        """What is agreed with the server."""
        return self.login.caps

    @property
    def case_mapping(self) -> str:
        """How this server compares names."""
        return self.isupport.get("CASEMAPPING", "rfc1459")

    def fold(self, name: str) -> str:
        """A name as this server compares it."""
        return fold(name, self.case_mapping)

    def is_me(self, nick: str) -> bool:
        """Whether that is the bridge itself."""
        return self.fold(nick) == self.fold(self.nick)

    # -- saying ----------------------------------------------------------------------------------

    @property
    def multiline(self) -> Limits | None:
        """What a message of several lines may hold; None: the server keeps none together."""
        if not {MULTILINE, "batch", "message-tags"} <= self.caps or self.refuses_batches:
            return None
        return limits_of(self.login.offered.get(MULTILINE, ""))

    async def send(self, command: str, *params: str, tags: Mapping[str, str] | None = None) -> None:
        """Say something at once, however much was said; raises `Lost`."""
        await self._write(encode(command, params, tags))

    async def _write(self, data: bytes) -> None:
        async with self._sending:
            if self.lost:
                raise Lost("the connection is gone")
            ended = False
            try:
                with trio.fail_after(self._settings.ping_seconds * 2):
                    await self._stream.send_all(data)
                ended = True
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                ended = self.lost = True  # who reads hears the server's last words, and the end
                raise Lost("the connection broke") from None
            except trio.TooSlowError:
                raise Lost("the server takes nothing") from None
            finally:
                if not ended:
                    # Half a line may be out: nothing can follow it, and who reads must learn that.
                    self.lost = True
                    with trio.CancelScope(shield=True):
                        await trio.aclose_forcefully(self._stream)

    async def paced(self, size: int = 0) -> None:
        """Wait for the turn of a line; turns are given in the order in which they are asked for."""
        per_line = self._settings.line_seconds
        cost = 1.0 + size / 512  # servers count long lines dearer
        async with self._pace:
            now = trio.current_time()
            burst = float(self._settings.burst)
            self._tokens = min(burst, self._tokens + (now - self._since) / per_line)
            self._since = now
            if self._tokens < cost:
                await trio.sleep((cost - self._tokens) * per_line)
                self._tokens = cost
                self._since = trio.current_time()
            self._tokens -= cost

    async def where_is(self, nick: str) -> str | None:
        """Somebody's user@host now; "": nobody has that nick; None: the server does not say.

        One at a time. Raises `Lost`.
        """
        self._where, self._where_known, self._where_of = None, trio.Event(), self.fold(nick)
        await self.send("USERHOST", nick)
        with trio.move_on_after(_WHERE_SECONDS):
            await self._where_known.wait()
        return self._where

    def open_fence(self, place: str) -> Fence:
        """Begin something whose delivery is to be proven."""
        self._number += 1
        fence = Fence(f"ofc{self._number}", self.fold(place))
        self._fences[fence.token] = fence
        return fence

    async def say(
        self, fence: Fence, command: str, params: Sequence[str], tags: Mapping[str, str]
    ) -> None:
        """Say one line of it; raises `Lost`."""
        said = Said(params[-1])
        fence.said.append(said)
        if self.caps >= _LABELS:
            self._number += 1
            said.label = f"l{self._number}"
            self._labels[said.label] = (fence, said)
            tags = {**tags, "label": said.label}
        await self.send(command, *params, tags=tags)

    async def say_together(
        self,
        fence: Fence,
        command: str,
        target: str,
        pieces: Sequence[Piece],
        tags: Mapping[str, str],
    ) -> None:
        """Say a message of several lines that the server keeps together; raises `Lost`."""
        said = Said("", batch=True)
        fence.said.append(said)
        self._number += 1
        ref = f"m{self._number}"
        if self.caps >= _LABELS:
            said.label = f"l{self._number}"
            self._labels[said.label] = (fence, said)
            tags = {**tags, "label": said.label}
        made = [encode("BATCH", (f"+{ref}", MULTILINE, target), tags)]
        for one in pieces:
            more = {"batch": ref, **({CONCAT: ""} if one.goes_on else {})}
            made.append(encode(command, (target, one.text), more))
        # In one piece: nothing else may stand between.
        await self._write(b"".join((*made, encode("BATCH", (f"-{ref}",)))))

    async def close_fence(self, fence: Fence) -> None:
        """All of it is said."""
        fence.closed = True
        fence.look()
        await self.send("PING", fence.token)

    # -- hearing ---------------------------------------------------------------------------------

    async def register(self) -> None:
        """Log in; raises `NetworkError`, `Lost`."""
        try:
            await self._log_in()
        except Lost:
            with trio.move_on_after(_LAST_WORDS_SECONDS), suppress(Lost):
                while True:  # why it closed may be on its way still
                    for line in await self._next():
                        _refused(line)
            raise

    async def _log_in(self) -> None:
        with trio.move_on_after(_LOGIN_SECONDS):
            await self._flush_login()
            with trio.move_on_after(_CAP_SECONDS):
                await self._login_until(lambda: self.login.begun)
            self.login.begin()
            await self._flush_login()
            await self._login_until(lambda: self.login.done)
            return
        raise Lost("the server does not finish the login")

    async def _login_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            for line in await self._next():
                await self._register(line)

    async def _register(self, line: Line) -> None:
        if line.command == "PING":
            await self.send("PONG", line[0])
        _refused(line)
        self._learn(line)
        self.login.take(line)
        await self._flush_login()

    async def _flush_login(self) -> None:
        out, self.login.out = self.login.out, []
        for command, *params in out:
            await self.send(command, *params)

    async def run(self, take: Callable[[Line], Awaitable[None]]) -> str:
        """Read until it is lost; returns why."""
        why = "the server is silent"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_alive, nursery.cancel_scope)
            try:
                why = await self._read(take)
            finally:
                self.close()
            nursery.cancel_scope.cancel()
        return said_there(why, self.login.who.secrets)

    async def _read(self, take: Callable[[Line], Awaitable[None]]) -> str:
        try:
            while True:
                for line in await self._next():
                    if line.command == "ERROR":
                        return line.last or "the server closed the connection"
                    await self._own(line)
                    await take(line)
        except NetworkError as error:
            return str(error)

    async def _next(self) -> list[Line]:
        try:
            data = await self._stream.receive_some(_READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            raise Lost("the server closed the connection")
        self._heard = trio.current_time()
        return self._framer.feed(bytes(data))

    async def _keep_alive(self, scope: trio.CancelScope) -> None:
        """Ask a silent server; give one up that does not answer."""
        while True:
            silent = trio.current_time() - self._heard
            if silent > 2 * self._settings.ping_seconds:
                scope.cancel()
                return
            if silent >= self._settings.ping_seconds:
                with suppress(Lost):
                    await self.send("PING", "alive")
            await trio.sleep(self._settings.ping_seconds / 4)

    async def _own(self, line: Line) -> None:
        """What concerns the connection itself."""
        self._learn(line)
        if self._answer(line):
            return
        match line.command:
            case "PING":
                await self.send("PONG", *line.params)
            case "PONG":
                fence = self._fences.pop(line.last, None)
                if fence is not None:
                    for one in fence.said:
                        self._labels.pop(one.label, None)
                    fence.proven = True
                    fence.done.set()
            case "302" if not self._where_known.is_set():
                named, _, mask = next(iter(line.last.split()), "").partition("=")
                if not named or self.fold(named.rstrip("*")) == self._where_of:
                    self._where = mask.lstrip("+-")
                    self._where_known.set()
            case "CAP":
                self.login.take(line)
                await self._flush_login()
            case "NICK" if self.is_me(line.nick) and line[0]:
                self.login.nick = line[0]
            case "FAIL" if line[0].upper() == "BATCH":
                self._no_batch(next(iter(self._batched()), None))
            case "FAIL" if line[0].upper() in _SAYING:
                self._failed(line.last, None)
            case "417":  # the line was too long: it names no place
                self._failed(line.last, None)
            case command if command in _REFUSALS:
                self._failed(line.last, line[1])

    def _answer(self, line: Line) -> bool:
        """What comes back of what was said; whether it is that and no more."""
        label = line.tags.get("label") or self._batches.get(line.tags.get("batch", ""), "")
        if line.command == "BATCH":
            if line[0].startswith("+") and label in self._labels and len(self._batches) < _BATCHES:
                self._batches[line[0][1:]] = label
            elif line[0].startswith("-"):
                self._batches.pop(line[0][1:], None)
            elif line[1].lower() == MULTILINE and self.is_me(line.nick):
                place = self.fold(line[2])
                self._came(line, next((x for x in self._batched() if x[0].place == place), None))
                return False
        found = self._labels.get(label)
        if found is None:
            if line.command in _ECHOED and self.is_me(line.nick):
                self._echo(line)
            return False
        fence, said = found
        is_batch = line.command == "BATCH" and line[0][:1] == "+" and line[1].lower() == MULTILINE
        if line.command in _ECHOED or line.command == "ACK" or is_batch:
            self._came(line, found)
            del self._labels[label]
        elif line.command == "FAIL" and line[0].upper() == "BATCH" and said.batch:
            self._no_batch(found)
            return True
        elif line.command == "FAIL" or line.command[:1] in ("4", "5"):
            fence.errors.append(line.last or "it was refused")
            return True
        return False

    def _came(self, line: Line, found: tuple[Fence, Said] | None) -> None:
        """It came back."""
        if found is not None:
            fence, said = found
            said.answered, said.msgid = True, line.tags.get("msgid", "")[:_MSGID]
            fence.look()

    def _batched(self) -> Iterator[tuple[Fence, Said]]:
        """Messages of several lines of which nothing came back, the oldest first."""
        for fence in self._fences.values():
            for said in fence.said:
                if said.batch and not said.answered and not fence.batch_refused:
                    yield fence, said

    def _no_batch(self, found: tuple[Fence, Said] | None) -> None:
        """The server does not take one after all: line by line from now on, and this again."""
        self.refuses_batches = True
        if found is not None:
            found[0].batch_refused = True

    def _echo(self, line: Line) -> None:
        """An own line that came back without a label."""
        if "echo-message" not in self.caps or line.tags.get("batch"):
            return
        for fence in self._fences.values():
            if fence.place != self.fold(line[0]):
                continue
            for said in fence.said:
                if not said.answered and not said.label and said.text == line[1]:
                    said.answered, said.msgid = True, line.tags.get("msgid", "")[:_MSGID]
                    fence.look()
                    return

    def _failed(self, text: str, place: str | None) -> None:
        """Something that was said is refused: the oldest of that place that is open."""
        for fence in self._fences.values():
            if place is None or fence.place == self.fold(place):
                fence.errors.append(text)
                return

    def _learn(self, line: Line) -> None:
        match line.command:
            case "005":
                for one in line.params[1:-1]:
                    name, _, value = one.partition("=")
                    if len(self.isupport) < _ISUPPORT:
                        self.isupport[name] = value
            case "JOIN" if self.is_me(line.nick):
                self.user, self.host = line.user, line.host
            case "CHGHOST" if self.is_me(line.nick):
                self.user, self.host = line[0], line[1]
            case "396":
                self.host = line[1].rpartition("@")[2]

    def close(self) -> None:
        """Nothing more comes, nothing more goes."""
        self.lost = True
        self._where_known.set()
        for fence in self._fences.values():
            fence.done.set()
        self._fences.clear()
        self._labels.clear()

    async def quit(self) -> None:
        """Leave: the server ends the connection."""
        with suppress(Lost):
            await self.send("QUIT", "bye")

    async def aclose(self) -> None:
        """End it, politely if there is time; others may be in the midst of saying something."""
        self.close()
        with trio.move_on_after(0.5):
            async with self._sending:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._stream.send_all(encode("QUIT", ["bye"]))
                await self._stream.aclose()
            return
        await trio.aclose_forcefully(self._stream)
