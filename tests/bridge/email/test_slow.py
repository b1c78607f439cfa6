"""A server that is slow, on a clock that jumps: how long it is waited for, and for what."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing
from attrs import define, evolve
from trio.testing import MockClock

from bridge.email.listening import serve_link
from bridge.email.lmtp import LmtpServer
from bridge.email.settings import Server
from bridge.email.smtp import Letter
from bridge.email.submitting import Link
from tests.bridge.email.post import SETTINGS

KIB = 1024


@define
class Narrow(trio.abc.Stream):
    """Takes so many bytes a second."""

    inner: trio.abc.Stream
    rate: float

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(len(data) / self.rate)
        await self.inner.send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.inner.aclose()


async def serve(stream: trio.abc.Stream, drip: dict[bytes, float]) -> None:
    """Each of its bytes comes after so many seconds, once it has heard certain words."""
    server, pause = LmtpServer("mx", lambda _: True), drip.get(b"", 0.0)
    with suppress(trio.BrokenResourceError):
        while not server.closing:
            for one in server.to_send():
                await trio.sleep(pause)
                await stream.send_all(bytes([one]))
            raw = bytes(await stream.receive_some(65536))
            if not raw:
                return
            pause = next((p for words, p in drip.items() if words and words in raw), pause)
            for arrived in server.receive(raw):
                server.answer(len(arrived.recipients) - 1, 250, "2.0.0 ok")


async def send(
    monkeypatch: pytest.MonkeyPatch, drip: dict[bytes, float], size: int = 10, rate: float = 1e9
) -> str:
    """What became of one mail, within the time that it took in minutes."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def connect(_: Server) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Narrow(ours, rate)

    monkeypatch.setattr("bridge.email.submitting.connect", connect)
    began, what = trio.current_time(), "sent"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, theirs, drip)
        try:
            link = await Link.open(evolve(SETTINGS), "")
            content = b"x" * 1022 + b"\r\n"
            outcome = await link.send(Letter("a@b.example", "c@d.example", content * size))
            assert outcome.accepted
        except trio.TooSlowError:
            what = "too slow"
        minutes = round((trio.current_time() - began) / 60)
        nursery.cancel_scope.cancel()
    return f"{what}, {minutes}"


@pytest.mark.parametrize(
    ("drip", "found"),
    [
        ({b"": 24.0}, "too slow, 5"),  # the first words, all of them
        ({b"EHLO": 4.0}, "too slow, 5"),  # ... of a long answer
        ({b"EHLO": 2.5, b"MAIL": 0.0}, "sent, 4"),
        ({b"RCPT": 25.0}, "too slow, 5"),
        ({b"RCPT": 20.0, b"DATA": 0.0}, "sent, 5"),
        ({b"DATA": 5.0}, "too slow, 2"),
        ({b"\r\n.\r\n": 40.0}, "sent, 9"),  # it looks for viruses, perhaps
        ({b"\r\n.\r\n": 45.0}, "too slow, 10"),
        ({b"MAIL": 20.0, b"RCPT": 19.0, b"DATA": 3.0, b"\r\n.\r\n": 20.0}, "too slow, 15"),
    ],
)
async def test_a_reply_is_waited_for_as_rfc_5321_has_it_and_no_longer_by_its_bytes(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    drip: dict[bytes, float],
    found: str,
) -> None:
    """However it is dripped; and all replies to one mail have a bound of their own."""
    assert await send(monkeypatch, drip) == found


@pytest.mark.parametrize(
    ("kib", "rate", "found"),
    [
        (1024, 40 * KIB, "sent, 0"),
        (1024, 2 * KIB, "sent, 9"),
        (1024, 1 * KIB, "too slow, 16"),  # 15 minutes, and 32 seconds for its size
        (1024, 0.3 * KIB, "too slow, 3"),  # the first 64 KiB alone
        (8 * 1024, 8 * KIB, "sent, 17"),
    ],
)
async def test_a_large_mail_has_the_time_that_its_size_takes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, kib: int, rate: float, found: str
) -> None:
    assert await send(monkeypatch, {}, kib, rate) == found


async def test_who_brings_mail_and_then_says_nothing_is_left(autojump_clock: MockClock) -> None:
    """A link for mail to the bridge: there are twenty."""
    ours, theirs = trio.testing.memory_stream_pair()
    taken: list[bytes] = []

    async def take(raw: bytes, _sender: str, _to: str) -> tuple[int, str]:
        await trio.sleep(1000)  # all that it takes to bring it in
        taken.append(raw)
        return 250, "ok"

    mail = b"LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n"
    await ours.send_all(mail)
    await serve_link(theirs, name="b", knows=lambda _: True, max_bytes=1000, take=take)
    assert (taken, trio.current_time()) == ([b"x\r\n"], 1300)
