"""What the relay does with what it is given: stores it or refuses it, and keeps no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from ofcd.client import MessageInvalid, Offline, RelayRefused, Room, SignalReceived
from ofcd.relay.facts import Fact, LogAppended
from ofcd.store import Store
from ofcd.store.errors import DiskFull
from ofcd.testing import World, open_world
from tests.world.scene import (
    agree,
    database,
    everything,
    join,
    people,
    quick,
    rows,
    settle,
    stored,
    texts,
    told,
)


class Disk:
    """The relay's disk, which can be full."""

    def __init__(self) -> None:
        self.full = False
        self.refused = 0

    def commit(self, store: Store, facts: Sequence[Fact]) -> None:
        if self.full:
            self.refused += len(facts)
            raise DiskFull("no space is left for the database")
        _commit(store, facts)


_commit = Store.commit


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The disk under every store of this test."""
    disk = Disk()
    monkeypatch.setattr(Store, "commit", lambda store, facts: disk.commit(store, facts))
    return disk


async def test_a_full_disk_acknowledges_nothing_and_loses_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock, disk: Disk
) -> None:
    """Test 27: no room on the disk: no ACK, no seq; once there is room, all that waited is sent."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        await there["ana"].send("before")
        await settle(there.values())
        head = head_of(world, there["ana"])
        disk.full = True
        said = ["before"]
        for name in there:
            said.append(f"{name}, while it is full")
            with pytest.raises(Offline):
                await there[name].send(said[-1])
        with pytest.raises(Offline):
            await there["ana"].rotate()
        assert disk.refused > 0
        assert head_of(world, there["ana"]) == head
        assert all(room.head == head for room in there.values())
        assert [texts(room) for room in there.values()] == [["before"]] * 2
        disk.full = False
        await settle(there.values())
        agree(there.values(), said)
        seqs = [row.seq for row in rows(world, there["ana"].id, there["ana"].me)]
        assert seqs == list(range(len(seqs))), "no seq was left out"
        await world.restart_relay()
        said.append("and it goes on")
        await there["bo"].send(said[-1])
        await settle(there.values())
        agree(there.values(), said)


async def test_a_disk_that_fills_and_empties_confuses_nobody(
    tmp_path: Path, autojump_clock: trio.abc.Clock, disk: Disk
) -> None:
    """Commits fail now and then, amid joins and rotations: what is acknowledged is in the log."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")

        async def flicker() -> None:
            while True:
                await trio.sleep(world.random.random())
                disk.full = not disk.full

        for name, room in there.items():
            world.lines[name].delay = lambda: world.random.random() * 0.2
            # Each refusal makes the next try wait longer, and every second one meets a full disk.
            room._client.patience = 600
        said = [f"{name} {n}" for n in range(20) for name in there]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flicker)
            for text in said:
                room = there[text.split()[0]]
                with room._client.transaction() as tx:
                    room.queue(tx, text)
            await there["ana"].rotate()
            there["cy"] = await join(world, there["ana"], "cy")
            await there["ana"].rotate(boxed=True)
            await settle(there.values())
            nursery.cancel_scope.cancel()
        disk.full = False
        await settle(there.values())
        agree(there.values())
        assert sorted(texts(there["bo"])) == sorted(said)
        assert disk.refused > 0


async def test_an_answer_lost_after_the_commit_is_given_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test 27: killed after the commit, before the ACK: the same ACK on the retry, one copy."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        kills = 0

        def dying(store: Store, facts: Sequence[Fact]) -> None:
            nonlocal kills
            _commit(store, facts)
            if any(isinstance(fact, LogAppended) and not fact.control for fact in facts):
                kills += 1
                if kills % 2:
                    world.kill_relay()

        monkeypatch.setattr(Store, "commit", dying)
        said = [f"message {number}" for number in range(5)]
        for text in said:
            sent = await there["bo"].send(text)
            found = rows(world, there["bo"].id, there["bo"].me)[sent.seq]
            assert found.seq == sent.seq
            await settle(there.values())
        assert kills >= len(said)
        agree(there.values(), said)


async def test_signals_are_never_stored(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Typing reaches who is there, sealed; nothing of it touches the relay's disk."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        await trio.sleep(60)
        heard = there["ana"]._client.events()
        before = head_of(world, there["ana"])
        with no_commits():
            for _ in range(20):
                there["bo"].typing()
                await trio.sleep(1)
        assert sum(isinstance(event, SignalReceived) for event in told(heard)) == 20
        assert head_of(world, there["ana"]) == before


async def test_a_redaction_drops_the_cell_at_the_relay(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The sealed words are gone at the relay; the signed record stays, and the log verifies."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        keep = await there["bo"].send("this one stays")
        gone = await there["bo"].send("this one goes")
        await settle(there.values())
        cells = {row.seq: row.cell for row in rows(world, there["ana"].id, there["ana"].me)}
        await there["bo"].redact(gone.event_id)
        await settle(there.values())
        after = {row.seq: row for row in rows(world, there["ana"].id, there["ana"].me)}
        assert after[gone.seq].cell == b""
        assert after[gone.seq].record
        assert after[keep.seq].cell == cells[keep.seq]
        assert [m.text for m in there["ana"].messages() if not m.redacted_by] == ["this one stays"]
        there["cy"] = await join(world, there["ana"], "cy")
        await settle(there.values())
        agree(there.values())
        events = await everything(there["cy"])
        assert not [e for e in events if isinstance(e, MessageInvalid)]
        stored(world).checkpoint()
        assert cells[keep.seq] in database(world), "the control: the search finds what is there"


async def test_a_member_redacts_only_its_own(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """bo can not take back ana's words: they stay at the relay and with everyone."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        hers = await there["ana"].send("these words stay")
        await settle(there.values())
        with pytest.raises(RelayRefused, match="not yours"):
            await there["bo"].redact(hers.event_id)
        await there["bo"].send("sorry")
        await settle(there.values())
        for room in there.values():
            assert "these words stay" in texts(room)
        assert rows(world, there["ana"].id, there["ana"].me)[hers.seq].cell


async def test_nothing_readable_is_in_the_relays_database(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """No text, no name, no name of the room: the relay's files hold none of them."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana-marker-name", "bo-marker-name")
        ana = there["ana-marker-name"]
        await ana.rename("marker room", "marker topic")
        await ana.send("marker words")
        await there["bo-marker-name"].react(ana.messages()[-1].event_id, "🦊")
        await settle(there.values())
        held = database(world)
        for marker in ("marker-name", "marker room", "marker topic", "marker words", "🦊"):
            assert marker.encode() not in held
        assert held.count(ana.id) > 0, "the control: what is not secret is found"


def head_of(world: World, room: Room) -> int:
    """The seq of the last entry in the relay's store."""
    snapshot = stored(world).load_room(room.id)
    assert snapshot is not None
    return snapshot.seq


@contextmanager
def no_commits() -> Iterator[None]:
    """Any commit inside fails the test."""

    def refuse(store: Store, facts: Sequence[Fact]) -> None:
        raise AssertionError(f"stored: {facts}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "commit", refuse)
        yield
