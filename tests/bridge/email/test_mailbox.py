"""A mailbox read over IMAP, on a server in memory that follows a script."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field
from trio.testing import MockClock

from bridge.email import fetching
from bridge.email.fetching import IDLE_SECONDS, LATER_AT_ONCE, Answer, Cursor, Reading, Taken
from bridge.email.imap import ImapError
from bridge.email.settings import Imap, Server
from tests.bridge.email.post import PROOF, Post, by_bo, lives, scene_of


@define
class Mailbox:
    """As much of an IMAP server as a test needs; real Dovecot is in test_with_servers."""

    validity: int = 7
    mails: dict[int, bytes] = field(factory=dict)
    idles: list[float] = field(factory=list)
    seen: list[int] = field(factory=list)
    flagged: list[int] = field(factory=list)
    refused: set[int] = field(factory=set)
    """What it says NO to when it is fetched."""
    deadly: set[int] = field(factory=set)
    """What ends the link when it is fetched."""
    no_flags: bool = False
    """Whether \\Flagged ends the link."""
    links: int = 0
    read_only: bool = False
    aside: dict[int, bytes] = field(factory=dict)
    """What comes while the next look is answered: told of there, and not in IDLE again."""
    arrived: trio.Event = field(factory=trio.Event)

    async def connect(self, _server: Server) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.links += 1
        ours, theirs = trio.testing.memory_stream_pair()
        trio.lowlevel.spawn_system_task(self._serve, theirs)
        return ours

    async def _serve(self, stream: trio.abc.Stream) -> None:
        try:
            async with stream:
                await self._talk(stream)
        except* trio.BrokenResourceError:
            pass

    async def _talk(self, stream: trio.abc.Stream) -> None:
        buffer = bytearray()
        await stream.send_all(b"* OK ready\r\n")
        while True:
            while b"\r\n" not in buffer:
                try:
                    raw = await stream.receive_some(4096)
                except trio.BrokenResourceError:
                    return
                if not raw:
                    return
                buffer += raw
            line, _, rest = bytes(buffer).partition(b"\r\n")
            buffer[:] = rest
            tag, _, command = line.partition(b" ")
            if command == b"IDLE":
                await stream.send_all(b"+ idling\r\n")
                self.idles.append(trio.current_time())
                async with trio.open_nursery() as nursery:

                    async def tell(scope: trio.CancelScope = nursery.cancel_scope) -> None:
                        await self.arrived.wait()
                        self.arrived = trio.Event()
                        await stream.send_all(b"* 9 EXISTS\r\n")

                    nursery.start_soon(tell)
                    while b"DONE\r\n" not in buffer:
                        raw = await stream.receive_some(4096)
                        buffer += raw or b"DONE\r\n"
                    nursery.cancel_scope.cancel()
                buffer[:] = bytes(buffer).partition(b"DONE\r\n")[2]
                await stream.send_all(tag + b" OK done\r\n")
                continue
            if self.read_only and b"STORE" in command:
                await stream.send_all(tag + b" NO [READ-ONLY] no\r\n")
                continue
            if self.no_flags and b"Flagged" in command:
                return
            fetched = re.match(rb"UID FETCH (\d+) ", command)
            if fetched and int(fetched[1]) in self.deadly:
                return
            if fetched and int(fetched[1]) in self.refused:
                await stream.send_all(tag + b" NO broken index\r\n")
                continue
            answer = self._answer(command)
            if b"RFC822.SIZE" in command and self.aside:
                self.mails.update(self.aside)
                self.aside = {}
                answer += b"* %d EXISTS\r\n" % len(self.mails)
            await stream.send_all(answer + tag + b" OK done\r\n")

    def _answer(self, command: bytes) -> bytes:
        words = command.split()
        if command == b"CAPABILITY":
            return b"* CAPABILITY IMAP4rev1 IDLE\r\n"
        if words[0] == b"SELECT":
            told = b"* %d EXISTS\r\n" % len(self.mails)  # as every server does (RFC 3501 6.3.1)
            return told + b"* OK [UIDVALIDITY %d] ok\r\n" % self.validity
        if words[:2] == [b"UID", b"STORE"]:
            (self.flagged if b"Flagged" in command else self.seen).append(int(words[2]))
            return b""
        if words[:2] == [b"UID", b"FETCH"] and b"RFC822.SIZE" in command:
            first = int(words[2].partition(b":")[0])
            shown = {u: m for u, m in self.mails.items() if u >= first} or dict(
                list(self.mails.items())[-1:]
            )
            return b"".join(
                b"* %d FETCH (UID %d RFC822.SIZE %d)\r\n" % (u, u, len(m)) for u, m in shown.items()
            )
        if words[:2] == [b"UID", b"FETCH"]:
            uid = int(words[2])
            raw = self.mails[uid]
            return b"* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n" % (uid, uid, len(raw), raw)
        return b""


async def test_idle_is_begun_anew_before_servers_end_it_and_marks_come_last(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    box = Mailbox(mails={1: b"one", 2: b"x" * 2000, 3: b"three"})
    monkeypatch.setattr(fetching, "connect", box.connect)
    taken: list[bytes] = []
    kept = [Cursor(7)]
    large: list[int] = []

    async def take(raw: bytes) -> Taken:
        await trio.lowlevel.checkpoint()
        assert len(box.seen) == len(taken) + len(large), "marked only once it is taken"
        taken.append(raw)
        return Taken.DONE

    async def too_large(uid: int, _size: int) -> None:
        await trio.lowlevel.checkpoint()
        large.append(uid)

    async def run() -> Cursor:
        reading = reading_of(box, kept[-1], kept.append, take, too_large=too_large)
        with trio.move_on_after(3 * 3600):
            await reading.run("")
        return reading.cursor

    assert (await run()).last == 3
    assert (taken, large, box.seen) == ([b"one", b"three"], [2], [1, 2, 3])
    waits = [b - a for a, b in zip(box.idles, box.idles[1:], strict=False)]
    assert len(waits) >= 5
    assert max(waits) < 29 * 60
    assert IDLE_SECONDS < 29 * 60
    # Another UIDVALIDITY: every id is new, all of it is offered again.
    box.validity, box.seen = 8, []
    taken.clear()
    large.clear()
    assert await run() == Cursor(8, 3)
    assert (taken, large) == ([b"one", b"three"], [2])


def reading_of(
    box: Mailbox, cursor: Cursor, keep: Callable[[Cursor], None], said: Any, **more: Any
) -> Reading:
    async def never(*_: object) -> None:
        raise AssertionError

    values: dict[str, Any] = {
        "settings": Imap(host="x", tls="none"),
        "max_bytes": 1000,
        "now": lambda: int(trio.current_time() * 1000),
        "too_large": never,
        "aside": lambda _uid, _why, _places: None,
        "unmarked": lambda _uid, _why: None,
        "up": lambda: None,
        **more,
    }

    async def answer(raw: bytes, behind: frozenset[str]) -> Answer:
        """For tests in which no mail is behind another of its place."""
        assert not behind
        return Answer(await said(raw))

    values.setdefault("take", answer)
    return Reading(cursor=cursor, keep=keep, **values)


@pytest.mark.parametrize("password", ["hunter2", 'hun"ter2', "h\u00fcnter2"])
async def test_a_password_that_the_server_says_again_is_in_no_log(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, password: str
) -> None:
    """As servers do that answer a command which they do not know."""

    async def connect(_server: Server) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(b"* OK ready\r\n")

        async def refuse() -> None:
            line = bytes(await theirs.receive_some(4096)).strip()
            if b"AUTHENTICATE" in line:
                await theirs.send_all(b"+ go on\r\n")
                line += b" " + bytes(await theirs.receive_some(4096)).strip()
            await theirs.send_all(line.partition(b" ")[0] + b" BAD what is " + line + b"\r\n")

        trio.lowlevel.spawn_system_task(refuse)
        return ours

    monkeypatch.setattr(fetching, "connect", connect)
    settings = Imap(host="x", tls="none", user="bo")
    reading = reading_of(Mailbox(), Cursor(7), lambda _: None, None, settings=settings)
    with pytest.raises(ImapError, match="what is") as raised:
        await reading.run(password)
    told = str(raised.value)
    assert "…" in told
    assert password.replace('"', '\\"') not in told
    assert b64encode(f"\0bo\0{password}".encode()).decode() not in told


async def test_a_mail_that_can_not_be_taken_stands_in_nobodys_way(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """It is tried less and less often, over one link, and those behind it are brought in."""
    box = Mailbox(mails={n: b"%d" % n for n in range(1, 6)})
    monkeypatch.setattr(fetching, "connect", box.connect)
    tries: list[tuple[float, bytes]] = []
    closed = True
    kept = [Cursor(7)]

    async def take(raw: bytes) -> Taken:
        await trio.lowlevel.checkpoint()
        tries.append((trio.current_time(), raw))
        return Taken.LATER if raw == b"2" and closed else Taken.DONE

    async def run(seconds: float) -> None:
        with trio.move_on_after(seconds):
            await reading_of(box, kept[-1], kept.append, take).run("")

    await run(10)
    assert [raw for _, raw in tries] == [b"1", b"2", b"3", b"4", b"5"]
    assert box.seen == [1, 3, 4, 5]
    await run(6 * 3600)  # what waits is known to the next link, and to the next life
    again = [at for at, raw in tries if raw == b"2"]
    assert 10 < len(again) < 16
    assert box.links == 2
    closed = False
    await run(3600)
    assert box.seen == [1, 3, 4, 5, 2]
    assert kept[-1] == Cursor(7, 5)


async def test_no_mail_goes_before_an_earlier_one_of_its_place(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Order in a mailbox: by UID, a place's mails wait for the earliest of them; others' do not."""
    box = Mailbox(mails={1: b"a1", 2: b"a2 b1", 3: b"b2", 4: b"c1", 5: b"a3"})
    monkeypatch.setattr(fetching, "connect", box.connect)
    said: list[str] = []
    closed = {"a"}
    kept = [Cursor(7)]

    async def take(raw: bytes, behind: frozenset[str]) -> Answer:
        await trio.lowlevel.checkpoint()
        words = raw.decode().split()
        waits = {word[0] for word in words} & (closed | behind)
        said.extend(word for word in words if word[0] not in waits and word not in said)
        return Answer(Taken.LATER, frozenset(waits)) if waits else Answer(Taken.DONE)

    async def run(seconds: float) -> None:
        with trio.move_on_after(seconds):
            await reading_of(box, kept[-1], kept.append, None, take=take).run("")

    await run(10)
    assert said == ["b1", "b2", "c1"], "each place's words in order, and no place waits for another"
    closed.clear()
    box.mails[6] = b"a4"
    box.arrived.set()
    await run(10)  # another life; nothing is due yet
    assert said == ["b1", "b2", "c1"]
    await run(3600)
    assert said == ["b1", "b2", "c1", "a1", "a2", "a3", "a4"]
    assert box.seen == [3, 4, 1, 2, 5, 6]
    assert kept[-1] == Cursor(7, 6)


async def test_a_mail_that_comes_between_a_look_and_idle_is_seen_at_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """A server tells of it once, behind the answer to the look that missed it."""
    box = Mailbox(aside={1: b"one"})
    monkeypatch.setattr(fetching, "connect", box.connect)
    taken: list[bytes] = []

    async def take(raw: bytes) -> Taken:
        await trio.lowlevel.checkpoint()
        taken.append(raw)
        return Taken.DONE

    with trio.move_on_after(60):
        await reading_of(box, Cursor(7), lambda _: None, take).run("")
    assert taken == [b"one"]


@pytest.mark.parametrize("how", ["broken", "days", "refused", "ends the link", "no flags"])
async def test_a_mail_that_fails_for_ever_is_set_aside_and_told_of(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, how: str
) -> None:
    box = Mailbox(mails={1: b"bad", 2: b"good"})
    if how == "refused":
        box.refused.add(1)
    if how in ("ends the link", "no flags"):
        box.deadly.add(1)
    box.no_flags = how == "no flags"
    monkeypatch.setattr(fetching, "connect", box.connect)
    told: list[tuple[int, frozenset[str]]] = []
    tries: list[bytes] = []
    kept = [Cursor(7)]
    books = frozenset({"books"})

    async def take(raw: bytes, _behind: frozenset[str]) -> Answer:
        await trio.lowlevel.checkpoint()
        tries.append(raw)
        if raw == b"good":
            return Answer(Taken.DONE)
        return Answer(Taken.BROKEN) if how == "broken" else Answer(Taken.LATER, books)

    def aside(uid: int, _why: str, places: frozenset[str]) -> None:
        told.append((uid, places))

    with trio.move_on_after(6 * 24 * 3600):
        while box.links < 20:
            with suppress(ImapError):
                reading = reading_of(box, kept[-1], kept.append, None, take=take, aside=aside)
                await reading.run("")
            await trio.sleep(1)
    assert tries.count(b"good") == 1
    assert told == [(1, books if how == "days" else frozenset())]
    assert box.flagged == ([] if how == "no flags" else [1])
    assert kept[-1] == Cursor(7, 2)
    assert box.links < 20, "the link works again"
    assert tries.count(b"bad") == {"broken": 5, "days": tries.count(b"bad")}.get(how, 0)


async def test_a_bridge_that_is_killed_over_a_mail_begins_with_it_again(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """What stands on the disk meanwhile does not let the next mail go before it."""
    box = Mailbox(mails={1: b"one", 2: b"two"})
    monkeypatch.setattr(fetching, "connect", box.connect)
    taken: list[bytes] = []
    kept = [Cursor(7)]

    async def killed(_raw: bytes) -> Taken:
        on_disk.append(kept[-1])
        await trio.sleep_forever()
        raise AssertionError

    async def take(raw: bytes) -> Taken:
        await trio.lowlevel.checkpoint()
        taken.append(raw)
        return Taken.DONE

    on_disk: list[Cursor] = []
    with trio.move_on_after(60):
        await reading_of(box, kept[-1], kept.append, killed).run("")
    [cursor] = on_disk
    with trio.move_on_after(3600):
        await reading_of(box, cursor, kept.append, take).run("")
    assert taken == [b"one", b"two"]


async def test_a_mail_that_ended_the_bridge_is_set_aside_in_the_mailbox(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        raw = PROOF + by_bo("deadly")
        lives(scene, raw, 3)
        answer = await scene.network.mailbox.take(raw, frozenset())
        assert answer == Answer(Taken.ASIDE, why="the bridge ended whenever it was read")


async def test_a_mail_that_can_not_be_marked_is_in_the_room_all_the_same(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """A mailbox that may only be read: taken once, and the operator is told."""
    box = Mailbox(mails={1: b"one", 2: b"two"}, read_only=True)
    monkeypatch.setattr(fetching, "connect", box.connect)
    taken: list[bytes] = []
    told: list[int] = []

    async def take(raw: bytes) -> Taken:
        await trio.lowlevel.checkpoint()
        taken.append(raw)
        return Taken.DONE

    with trio.move_on_after(3600):
        reading = reading_of(
            box, Cursor(7), lambda _: None, take, unmarked=lambda uid, _why: told.append(uid)
        )
        await reading.run("")
    assert (taken, told, reading.cursor) == ([b"one", b"two"], [1, 2], Cursor(7, 2))


async def test_a_mailbox_full_of_what_can_not_be_taken_is_not_read_without_end(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    box = Mailbox(mails={n: b"%d" % n for n in range(1, 400)})
    monkeypatch.setattr(fetching, "connect", box.connect)
    kept = [Cursor(7)]
    open_ = False
    looks = 0

    async def take(_raw: bytes) -> Taken:
        await trio.lowlevel.checkpoint()
        return Taken.DONE if open_ else Taken.LATER

    def now() -> int:
        nonlocal looks
        looks += 1
        assert looks < 100_000, "it goes round without a wait: nothing else in the process goes on"
        return int(trio.current_time() * 1000)

    async def run(seconds: float = 600) -> None:
        with trio.move_on_after(seconds):
            await reading_of(box, kept[-1], kept.append, take, now=now).run("")

    await run()
    assert len(kept[-1].later) == LATER_AT_ONCE + 1
    await run()  # a new link, and new mail while it is idle
    box.arrived.set()
    await run()
    assert len(kept[-1].later) == LATER_AT_ONCE + 1
    assert box.flagged == [], "a room that is only slow takes all of them"
    open_ = True
    await run(3600)
    assert kept[-1] == Cursor(7, 399)
    assert sorted(box.seen) == list(range(1, 400))


async def test_a_closed_room_does_not_stop_its_neighbours(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """What has waited an hour for it gives way, and is told of."""
    box = Mailbox(mails={n: b"closed" if n <= 300 else b"open" for n in range(1, 400)})
    monkeypatch.setattr(fetching, "connect", box.connect)
    told: list[int] = []
    kept = [Cursor(7)]

    books = frozenset({"books"})

    async def take(raw: bytes, _behind: frozenset[str]) -> Answer:
        await trio.lowlevel.checkpoint()
        return Answer(Taken.DONE) if raw == b"open" else Answer(Taken.LATER, books)

    def aside(uid: int, _why: str, places: frozenset[str]) -> None:
        assert places == books
        told.append(uid)

    with trio.move_on_after(2 * 3600):
        reading = reading_of(box, kept[-1], kept.append, None, take=take, aside=aside)
        await reading.run("")
    assert box.seen == list(range(301, 400))
    assert box.flagged == told == list(range(1, 101))
    assert sorted(one.uid for one in kept[-1].later) == list(range(101, 301))


async def test_a_server_that_never_comes_to_an_end_is_left(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(fetching, "_ANSWER_BYTES", 10_000)
    box = Mailbox(mails={n: b"%d" % n for n in range(1, 1000)})
    monkeypatch.setattr(fetching, "connect", box.connect)

    async def take(_raw: bytes) -> Taken:
        raise AssertionError

    with pytest.raises(ImapError, match="does not come to an end"):
        await reading_of(box, Cursor(7), lambda _: None, take).run("")


async def test_what_may_not_even_wait_is_set_aside_at_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """However many strangers write, those who are proven are read."""
    box = Mailbox(mails=dict.fromkeys(range(1, 400), b"stranger") | {400: b"bo"})
    monkeypatch.setattr(fetching, "connect", box.connect)
    tries: list[bytes] = []
    kept = [Cursor(7)]

    places, told = frozenset({"books"}), set[frozenset[str]]()

    async def take(raw: bytes, _behind: frozenset[str]) -> Answer:
        await trio.lowlevel.checkpoint()
        tries.append(raw)
        return Answer(Taken.DONE) if raw == b"bo" else Answer(Taken.ASIDE, places)

    def aside(_uid: int, _why: str, places: frozenset[str]) -> None:
        told.add(places)

    with trio.move_on_after(60):
        reading = reading_of(box, kept[-1], kept.append, None, take=take, aside=aside)
        await reading.run("")
    assert told == {places}
    assert box.seen == [400]
    assert box.flagged == list(range(1, 400))
    assert len(tries) == 400
    assert kept[-1] == Cursor(7, 400)


async def test_a_mailbox_that_hangs_is_left(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def connect(_server: Server) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return trio.testing.memory_stream_pair()[0]

    monkeypatch.setattr(fetching, "connect", connect)
    with pytest.raises(trio.TooSlowError):
        await reading_of(Mailbox(), Cursor(), lambda _: None, None).run("")


@pytest.mark.parametrize("to", [b"SELECT", b"IDLE", b"DONE"])
async def test_a_mailbox_that_only_says_that_it_is_there_is_left(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, to: bytes
) -> None:
    """In answer to any command."""

    async def serve(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"* OK ready\r\n")
        while to not in (line := bytes(await stream.receive_some(4096))):
            tag = line.partition(b" ")[0]
            answer = b"* OK [UIDVALIDITY 7] x\r\n* CAPABILITY IDLE\r\n" + tag + b" OK done\r\n"
            await stream.send_all(b"+ idling\r\n" if b"IDLE" in line else answer)
        with suppress(trio.BrokenResourceError):
            while True:
                await trio.sleep(200)
                await stream.send_all(b"* OK still here\r\n")

    async with trio.open_nursery() as nursery:

        async def connect(_server: Server) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(serve, theirs)
            return ours

        monkeypatch.setattr(fetching, "connect", connect)
        with pytest.raises(trio.TooSlowError), trio.move_on_after(4000):
            await reading_of(Mailbox(), Cursor(), lambda _: None, None).run("")
        nursery.cancel_scope.cancel()
