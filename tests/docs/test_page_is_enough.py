"""Who knows only docs/protocol.md can talk through this relay: found, invite, join, speak, rotate.

`page_client.py` is that client. It shares no code with ours but Themis and the WebSocket.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from pathlib import Path

import pytest
import trio
import trio.testing

from ofcd.config import Relay, Settings
from ofcd.daemon.run import Daemon, milliseconds, open_daemon
from ofcd.wire import client_stream
from tests.docs.page_client import Link, Person


@asynccontextmanager
async def _person(daemon: Daemon) -> AsyncIterator[Person]:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(daemon.serve_stream, far)
        async with client_stream(near) as stream:
            link = Link(stream, daemon.identity.relay_id)
            await link.open()
            yield Person(link, milliseconds())
        nursery.cancel_scope.cancel()


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A whole relay, on a real store, without a socket."""
    async with open_daemon(Settings(relay=Relay(data_dir=str(tmp_path)))) as made:
        yield made


async def test_a_client_made_from_the_page_can_converse(daemon: Daemon) -> None:
    """Two of them, through every chapter: found, invite, join, speak, rotate, evict."""
    with trio.fail_after(20):
        async with _person(daemon) as ana, _person(daemon) as bo:
            await ana.found()
            assert (await ana.attach())["type"] == "attached"
            assert (await ana.sync())["type"] == "synced"

            code = await ana.invite("ws://relay.example")
            await bo.ask_in(code)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ana.answer)
                nursery.start_soon(bo.confirm)
            assert (await bo.attach())["type"] == "attached"
            await bo.start_at(1)
            assert (bo.seq, bo.log, bo.ctl) == (ana.seq, ana.log, ana.ctl)

            assert (await bo.say("Hello, Ana"))["type"] == "ack"
            assert await ana.hear() == "Hello, Ana"
            assert await bo.hear() == "Hello, Ana"

            assert (await ana.rotate())["type"] == "ack"
            await bo.hear_rotation()
            assert (await bo.say("under the next key"))["type"] == "ack"
            assert await ana.hear() == "under the next key"

            async with _person(daemon) as elsewhere:
                await _hear_in_bulk(ana, bo, elsewhere)

            assert (await ana.evict(bo.mid))["type"] == "ack"
            removed, _ = await bo.link.next("removed")
            assert removed["code"] == "evicted"
            assert (await bo.say("still here?"))["code"] == "not_found"


async def _hear_in_bulk(ana: Person, bo: Person, elsewhere: Person) -> None:
    """Bo reads on a second link: for three readers the relay seals deliveries once."""
    await bo.hear()  # its own last words, not read yet
    twin = copy(bo)
    twin.link = elsewhere.link
    assert (await twin.attach())["type"] == "attached"
    assert (await twin.sync())["type"] == "synced"
    assert (await ana.say("to all"))["type"] == "ack"
    assert [await person.hear() for person in (twin, bo, ana)] == ["to all"] * 3
    assert twin.link.bulks > 0
