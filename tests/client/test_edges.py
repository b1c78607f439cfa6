"""What happens rarely: abandoned joins, refused rooms, slow readers, long waits for a key."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from ofcd.client import (
    Alarm,
    AlarmKind,
    ClientClosed,
    InviteClosed,
    JoinFailed,
    KeyFound,
    KeyMissing,
    MessageUnreadable,
    NoSuchRoom,
    NotAllowed,
    RelayRefused,
    Rotated,
    TooSlow,
)
from ofcd.client.joins import JoinMachine
from ofcd.client.turn import Turn
from ofcd.protocol.backoff import Backoff
from ofcd.testing import open_world
from tests.client.test_client import first, forget_keys
from tests.client.world import URL, Town, until


@pytest.mark.slow
async def test_a_joiner_who_took_the_key_and_never_came_is_shut_out(
    town: Town, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answered, but not admitted within a day: the invite is closed, the key renewed, an alarm."""
    mine = await town.found()
    code = await mine.invite()
    bo = await town.person("bo")

    def ignoring(self: JoinMachine, turn: Turn, envelope: bytes) -> None:
        """The answer is kept in mind, and nothing is done."""

    monkeypatch.setattr(JoinMachine, "answered", ignoring)
    with trio.move_on_after(10):
        await bo.client.join(code, name="Bo")
    await town.stop("bo")
    with mine.events() as events:
        await trio.sleep(25 * 3600)
        alarm = await first(events, Alarm)
    assert alarm.kind is AlarmKind.JOIN_ABANDONED
    await until(lambda: not mine.invites())
    await trio.sleep(10)
    rotations = [e async for e in mine.events_since(follow=False) if isinstance(e, Rotated)]
    assert rotations[-1].boxed
    closed = [e async for e in mine.events_since(follow=False) if isinstance(e, InviteClosed)]
    assert [e.invite_id for e in closed] == [code.invite_id]


async def test_a_relay_that_wants_a_token_refuses_without_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Typed, with the relay's code; no room is left behind that looks alive."""
    async with open_world(
        tmp_path, lambda s: evolve(s, access=evolve(s.access, create="nobody"))
    ) as world:
        ana = await world.client("ana")
        with pytest.raises((JoinFailed, RelayRefused)) as caught:
            await ana.create_room(URL, "garden", my_name="Ana")
        assert caught.value.code == "forbidden"


async def test_a_pending_join_can_be_given_up(town: Town, autojump_clock: MockClock) -> None:
    """Who waits for it is told; a second invite can be used then."""
    mine = await town.found()
    code = await mine.invite()
    await town.stop("ana")
    bo = await town.person("bo")
    outcome: list[str] = []

    async def join() -> None:
        with pytest.raises(NotAllowed) as caught:
            await bo.client.join(code, name="Bo")
        outcome.append(caught.value.code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(join)
        await until(lambda: bo.client.pending_joins)
        bo.client.cancel_join(code.room)
    assert outcome == ["cancelled"]
    assert bo.client.pending_joins == []
    with pytest.raises(NoSuchRoom):
        bo.client.cancel_join(code.room)


async def test_a_reader_that_falls_behind_is_told_so(town: Town, autojump_clock: MockClock) -> None:
    """Its queue is bounded: what fits is read, then TooSlow; nobody else waits or loses."""
    mine, theirs = await town.pair()
    slow = theirs.events(queue=2)
    with theirs.events() as fast:
        for number in range(4):
            await mine.send(f"m{number}")
        await until(lambda: theirs.head == mine.head)
        assert len(list(iter(fast.receive_nowait, None))) == 4
    await anext(slow)
    await anext(slow)
    with pytest.raises(TooSlow):
        await anext(slow)


async def test_a_closed_client_says_so(town: Town, autojump_clock: MockClock) -> None:
    """Its streams end and its handles raise, all typed."""
    mine = await town.found()
    events = mine.events()
    await town.stop("ana")
    with pytest.raises(ClientClosed):
        await anext(events)
    with pytest.raises(ClientClosed):
        await mine.send("hello?")


async def test_an_application_may_give_up_on_a_key(town: Town, autojump_clock: MockClock) -> None:
    """Until then what waits holds the rest back; then a marker takes its place, once."""
    mine, theirs = await town.pair()
    start = theirs.head
    await town.stop("bo")
    await mine.send("unreadable for a while")
    await town.stop("ana")
    forget_keys(town.folder, "bo", theirs.id)
    bo = await town.person("bo")
    with bo.client.events() as events:
        missing = await first(events, KeyMissing)
        assert missing.epoch == 0
        began = trio.current_time()
        marker = await anext(bo.room.events_since(start, give_up_after=3_600_000))
        assert isinstance(marker, MessageUnreadable)
        assert 3599 < trio.current_time() - began < 3700
        await town.person("ana")
        found = await first(events, KeyFound)
    assert (found.recovered, found.lost) == (1, 0)
    assert [m.text for m in bo.room.messages()] == ["unreadable for a while"]


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=40), st.integers(0, 5000))
def test_waits_grow_stay_within_bounds_and_start_anew(dice: list[float], wish: int) -> None:
    """Between 0.8 and 1.2 of a doubling up to the longest; never under what the server asks."""
    rolled = iter(dice)
    backoff = Backoff(lambda: next(rolled), first=1_000, longest=60_000)
    for number in range(len(dice)):
        base = min(1_000 * 2**number, 60_000)
        assert max(0.8 * base - 1, wish) <= backoff.failed(wish) <= max(1.2 * base, wish)
    backoff.succeeded()
    assert backoff.failures == 0
