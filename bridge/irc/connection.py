"""One connection to a server: the login, lines both ways, the pace of what is said (trio)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import trio

from bridge.core.errors import NetworkError
from bridge.irc.asking import Asking, Who
from bridge.irc.fences import Fence, Fences
from bridge.irc.login import Login
from bridge.irc.multiline import CONCAT, MULTILINE, Limits, limits_of
from bridge.irc.opening import Lost, open_stream
from bridge.irc.rendering import Piece
from bridge.irc.settings import IrcSettings
from bridge.irc.wire import Framer, Line, encode, fold, said_there
from ofcd.client.applog import Log, traceback_of

__all__ = ["Connection", "Fence", "Lost", "guarded", "open_stream"]

_LOGIN_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 10.0
_READ_BYTES: Final = 65536
_ISUPPORT: Final = 200
"""What a server says of itself that is noted."""
_WHO_SECONDS: Final = 30.0
_LAST_WORDS_SECONDS: Final = 1.0
_CAP_SECONDS: Final = 10.0
"""A server silent for so long about its capabilities has none."""


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
        self._framer = Framer(settings.charset)
        self._sending = trio.Lock()
        self._pace = trio.Lock()
        self._tokens = float(settings.burst)
        self._since = trio.current_time()
        self._fences = Fences(lambda: self.caps, self.fold, self.is_me)
        self._asking = Asking(self.fold)
        self._heard = trio.current_time()
        self._asked: float | None = None
        """Since when a PING waits for its answer."""

    @property
    def silent(self) -> float:
        """Seconds for which the server is silent though it was asked; 0.0: it is well."""
        now = trio.current_time()
        if self._asked is None or now - self._asked < _ANSWER_SECONDS:
            return 0.0
        return now - self._heard

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
        if not {MULTILINE, "batch", "message-tags"} <= self.caps or self._fences.refuses_batches:
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

    async def who_is(self, nick: str, *, account: bool = False) -> Who | None:
        """Who has a nick now, if wanted with their `account`; None: the server does not say.

        One at a time. Raises `Lost`.
        """
        await self.send(*self._asking.begin(nick, account=account, whox="WHOX" in self.isupport))
        with trio.move_on_after(_WHO_SECONDS):
            await self._asking.known.wait()
        return self._asking.answer

    def open_fence(self, place: str) -> Fence:
        """Begin something whose delivery is to be proven."""
        return self._fences.open(place)

    async def say(
        self, fence: Fence, command: str, params: Sequence[str], tags: Mapping[str, str]
    ) -> None:
        """Say one line of it; raises `Lost`."""
        label = self._fences.say(fence, params[-1])
        await self.send(command, *params, tags={**tags, **label})

    async def say_together(
        self,
        fence: Fence,
        command: str,
        target: str,
        pieces: Sequence[Piece],
        tags: Mapping[str, str],
    ) -> None:
        """Say a message of several lines that the server keeps together; raises `Lost`."""
        tags = {**tags, **self._fences.say(fence, "", batch=True)}
        ref = f"m{self._fences.number()}"
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
        self._heard, self._asked = trio.current_time(), None
        return self._framer.feed(bytes(data))

    async def _keep_alive(self, scope: trio.CancelScope) -> None:
        """Ask a silent server; give one up that does not answer."""
        while True:
            silent = trio.current_time() - self._heard
            if silent > 2 * self._settings.ping_seconds:
                scope.cancel()
                return
            if silent >= self._settings.ping_seconds:
                if self._asked is None:
                    self._asked = trio.current_time()
                with suppress(Lost):
                    await self.send("PING", "alive")
            await trio.sleep(self._settings.ping_seconds / 4)

    async def _own(self, line: Line) -> None:
        """What concerns the connection itself."""
        self._learn(line)
        if self._fences.take(line):
            return
        self._asking.take(line)
        match line.command:
            case "PING":
                await self.send("PONG", *line.params)
            case "CAP":
                self.login.take(line)
                await self._flush_login()
            case "NICK" if self.is_me(line.nick) and line[0]:
                self.login.nick = line[0]

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
        self._asking.known.set()
        self._fences.end()

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
