"""HUB_MOVE: root moves a room to another relay, and everybody follows."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.client import Alarm, AlarmKind, EventStream, NotAllowed, Offline, RelayRefused, Room
from ofcd.client import files as files_of
from ofcd.client.model import Tables
from ofcd.e2e.bodies import FileRef
from ofcd.e2e.controls import header_fields
from ofcd.protocol import frames
from ofcd.protocol.frames import Head
from ofcd.protocol.ids import BlobId, EventId, Hash32, RoomId
from ofcd.protocol.records import HubMove, LogHead, Policy, Role
from ofcd.testing import World, open_net
from ofcd.themis.signed import sign_record
from tests.daemon.rawlink import open_raw
from tests.federation.double import (
    federated,
    identity,
    local,
    part,
    quickly,
    rejoin,
    say,
    shared,
    shared_by_three,
)
from tests.federation.test_blame import attach, event_of
from tests.federation.test_gaps import away
from tests.federation.test_home import relay_of
from tests.federation.test_hostile import copy_head, log_of
from tests.federation.test_strangers import known
from tests.world.scene import agree, settle, stored, texts, until


def hub_of(room: Room) -> tuple[bytes, int]:
    """Who orders the room, and of which term, as this client knows it."""
    state = room._client._core(room.id).state
    return state.hub, state.term


def push_head(world: World, room: RoomId, head: Head) -> None:
    """This relay gives all who read the room a head of its own making."""
    assert world.daemon is not None
    hub = world.daemon.hub
    feed = hub._feeds.get(room)
    assert feed is not None
    hub._effects.publish(feed, frames.encode_frame(head))


def blob_of(room: Room) -> BlobId:
    """The attachment that this member sent."""
    core = room._client._core(room.id)
    for entry in core.archive.entries(room._client.vault):
        content = core.archive.content(entry)
        if entry.mid == room.me and isinstance(content, FileRef):
            return content.blob_id
    raise AssertionError


async def told_of(stream: EventStream) -> Alarm:
    """The next alarm."""
    with trio.fail_after(60):
        async for event in stream:
            if isinstance(event, Alarm):
                return event
    raise AssertionError


async def test_a_room_is_moved_and_all_go_on(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Members at the old hub, the new one and a third relay: one log, by hash, and new members."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        cai = await federated(old, third, "cai", ana)
        await ana.send("before")
        rooms = [ana, bo, cai]
        await settle(rooms)
        await ana.move_hub(new.url)
        for room, words in ((ana, "one"), (bo, "two"), (cai, "three")):
            await say(room, words)
        await settle(rooms)
        agree(rooms)
        assert sorted(texts(cai)) == sorted(["before", "one", "two", "three"])
        assert {hub_of(room) for room in rooms} == {(relay_of(new), 1)}
        await until(
            lambda: copy_head(old, ana.id) == copy_head(new, ana.id) == copy_head(third, ana.id)
        )
        assert {copy.room: copy.hub for copy in stored(old).replicas()} == {ana.id: relay_of(new)}
        assert {copy.room: copy.hub for copy in stored(third).replicas()} == {ana.id: relay_of(new)}
        assert stored(new).replicas() == []
        await ana.rotate()
        dan = await federated(new, third, "dan", ana)
        eve = await local(new, ana, "eve")
        await settle([*rooms, dan, eve])
        await dan.send("hello")
        await settle([*rooms, dan, eve])
        agree([*rooms, dan, eve], None)


async def test_nothing_said_meanwhile_is_lost_or_doubled(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Everybody speaks while root moves the room away and back: each word stands there once."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        rooms = [ana, bo, await federated(old, third, "cai", ana), await local(old, ana, "dan")]
        await settle(rooms)
        said: list[str] = []
        over = trio.Event()

        async def talk(room: Room, name: str) -> None:
            number = 0
            while not over.is_set():
                number += 1
                said.append(f"{name} {number}")
                await say(room, said[-1])
                await trio.sleep(0.5)

        async with trio.open_nursery() as nursery:
            for room, name in zip(rooms, "abcd", strict=True):
                nursery.start_soon(talk, room, name)
            await trio.sleep(1)
            await ana.move_hub(new.url)
            await trio.sleep(1)
            await ana.move_hub(old.url)
            await trio.sleep(1)
            over.set()
        await settle(rooms)
        agree(rooms, said)
        assert {hub_of(room) for room in rooms} == {(relay_of(old), 2)}
        await until(
            lambda: copy_head(old, ana.id) == copy_head(new, ana.id) == copy_head(third, ana.id)
        )


async def test_who_was_away_hears_it_from_either_hub(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A relay that was cut off gets what it missed, key boxes too; so does a member that slept.

    Then the old hub goes for good, and comes back: nobody waits for it, and it follows.
    """
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        cai, dan = await federated(old, third, "cai", ana), await local(old, ana, "dan")
        await settle([ana, bo, cai, dan])
        await old.stop_client("dan")
        third.to_relays[old.url].up = third.to_relays[new.url].up = False
        third.cut_links()
        old.cut_links()
        await ana.rotate(boxed=True)
        await ana.send("behind third's back")
        await ana.move_hub(new.url)
        await bo.send("from the new one")
        third.to_relays[old.url].up = third.to_relays[new.url].up = True
        await settle([ana, bo, cai])
        agree([ana, bo, cai], ["behind third's back", "from the new one"])
        await old.stop_relay()
        await bo.send("without the old one")
        await cai.send("nor with it")
        await settle([bo, cai])
        await old.start_relay()
        [dan] = (await old.client("dan")).rooms
        await settle([ana, bo, cai, dan])
        agree([ana, bo, cai, dan])
        await new.stop_relay()
        await new.start_relay()
        await dan.send("the new one again")
        await settle([ana, bo, cai, dan])
        agree([ana, bo, cai, dan])
        assert texts(bo)[-1] == "the new one again"
        assert log_of(old, ana.id)[-1] == log_of(new, ana.id)[-1] == log_of(third, ana.id)[-1]


async def test_attachments_are_found_where_they_were_left(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """What was stored with the old hub is fetched from it; what comes later is at the new one."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo, cai = await shared_by_three(old, new, third)
        file = tmp_path / "map.bin"
        file.write_bytes(os.urandom(300_000))
        await ana.send_file(file)
        await settle([ana, bo, cai])
        await ana.move_hub(new.url)
        await ana.send_file(file, name="again.bin")
        await settle([ana, bo, cai])
        for room in (bo, cai, ana):
            for message in room.messages():
                if message.file is not None:
                    assert await room.read_file(message) == file.read_bytes()
        await old.stop_relay()
        first = next(m for m in bo.messages() if m.file is not None)
        assert await bo.read_file(first) == file.read_bytes(), "the new hub kept none of it"


async def test_who_came_after_the_move_gets_attachments_of_before_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """By way of the new hub, though their relay never knew the old one; and are told why not."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        files = [tmp_path / f"{name}.bin" for name in "abc"]
        for file in files:
            file.write_bytes(os.urandom(1000))
            await ana.send_file(file)
        await settle([ana, bo])
        await ana.move_hub(new.url)
        await settle([ana, bo])
        dan = await federated(new, third, "dan", ana)
        refs = [bo.attachment(m) for m in bo.messages() if m.file is not None]

        async def read(number: int) -> bytes:
            return await files_of.read(dan, refs[number], 10_000)

        assert await read(0) == files[0].read_bytes()
        dan._client.patience = 90
        part(old, new)
        with pytest.raises(Offline, match="at before, and that may have this, can not be reached"):
            await read(1)
        assert await read(0) == files[0].read_bytes(), "the new hub has kept it"
        rejoin(old, new)
        await until(lambda: copy_head(old, ana.id) == copy_head(new, ana.id), seconds=1200)
        assert await read(1) == files[1].read_bytes()
        await ana.redact([m for m in ana.messages() if m.file is not None][2].event_id)
        await until(lambda: stored(old).blob_info(ana.id, refs[2].blob_id) is None)
        with pytest.raises(RelayRefused, match="no longer there") as gone:
            await read(2)
        assert gone.value.code == "blob_gone"


async def test_what_is_taken_back_is_forgotten_where_it_was_left(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """By members at the old hub, the new one, and a third relay."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        rooms = [ana, bo, await federated(old, third, "cai", ana)]
        await settle(rooms)
        for room in rooms:
            file = tmp_path / "note.txt"
            file.write_bytes(room.me)
            await room.send_file(file)
        await settle(rooms)
        blobs = [b for b in map(blob_of, rooms) if stored(old).blob_info(ana.id, b)]
        assert len(blobs) == len(rooms)
        await ana.move_hub(new.url)
        for room in rooms:
            mine = next(m for m in room.messages() if m.file is not None and m.mine)
            await room.redact(mine.event_id)
        await until(lambda: not any(stored(old).blob_info(ana.id, b) for b in blobs))


async def test_a_hub_of_before_that_hears_nothing_any_more_drops_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It does not know who has been evicted, or lost a right, since."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        cai = await federated(old, third, "cai", ana)
        file = tmp_path / "note.txt"
        file.write_bytes(b"mine")
        await cai.send_file(file)
        await settle([ana, bo, cai])
        blob = blob_of(cai)
        assert stored(old).blob_info(ana.id, blob)
        await ana.move_hub(new.url)
        await settle([bo, cai])
        part(old, new)
        await bo.send("meanwhile")
        drop = frames.BlobDrop(0, cai.id, blob, cai.me)
        link_to_old = known(third).following(relay_of(old))
        answers: list[frames.RelayFrame] = []

        async def answered(frame: frames.RelayFrame) -> None:
            answers.append(frame)

        link_to_old.ask(cai.id, cai.me, drop, answered)
        await until(lambda: bool(answers))
        [refused] = answers
        assert isinstance(refused, frames.Failure)
        assert refused.code == "hub_away"
        assert known(third).roster.peer(relay_of(old)).link is not None
        assert stored(old).blob_info(ana.id, blob)
        old.to_relays[new.url].up = True
        await until(lambda: copy_head(old, ana.id) == copy_head(new, ana.id))
        answers.clear()
        link_to_old.ask(cai.id, cai.me, drop, answered)
        await until(lambda: bool(answers))
        assert isinstance(answers[0], frames.Done)
        await until(lambda: stored(old).blob_info(ana.id, blob) is None)


async def test_nobody_keeps_the_tokens_of_invites_that_ended_with_the_move(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Neither who made the invite, nor a co-owner who might have let somebody in by it."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await ana.grant(bo.me, Role.CO_OWNER)
        await settle([ana, bo])
        await ana.invite()
        await settle([ana, bo])

        def tokens(room: Room) -> int:
            state = Tables(room.id).state
            return len(list(room._client.vault.items(state, b"token/", b"token0")))

        assert (tokens(ana), tokens(bo)) == (1, 1)
        await ana.move_hub(new.url)
        await settle([ana, bo])
        assert (tokens(ana), tokens(bo)) == (0, 0)
        await ana.invite()
        await settle([ana, bo])
        assert (tokens(ana), tokens(bo)) == (1, 1)


async def test_who_slept_while_their_relay_died_finds_the_room(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A hub of before lets every member in, and tells where the room went."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo, cai = await shared_by_three(old, new, third)
        await third.stop_client("cai")
        await third.stop_relay()
        await ana.move_hub(new.url)
        await ana.send("moved")
        [cai] = (await third.client("cai")).rooms
        await cai.move_home(new.url)
        await cai.send("found")
        await settle([ana, bo, cai])
        agree([ana, bo, cai], ["moved", "found"])
        assert (cai.relay_url, hub_of(cai)) == (new.url, (relay_of(new), 1))


async def test_where_the_new_hub_is_stands_in_the_log(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A relay that ended before it had noted the address finds it again."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo, cai = await shared_by_three(old, new, third)
        await ana.move_hub(new.url)
        await settle([ana, bo, cai])
        await third.stop_relay()
        with closing(sqlite3.connect(Path(third.settings.data_dir) / "ofcd.db")) as database:
            database.execute("DELETE FROM peers WHERE relay_id = ?", (relay_of(new),))
            database.commit()
        await bo.send("while it was away")
        await old.stop_relay()
        await third.start_relay()
        await cai.send("back")
        await settle([bo, cai])
        agree([bo, cai], ["while it was away", "back"])


async def test_a_hub_of_before_has_nothing_to_say(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Its heads of what came after it are refused: they freeze nothing, nor does its key count."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await settle([ana, bo])
        await ana.move_hub(new.url)
        await ana.send("after")
        await settle([ana, bo])
        stolen = identity(old)
        told = ana.events()
        for term in (0, 1):
            lie = LogHead(1, ana.id, term, ana.head, Hash32(bytes(32)), old.now())
            envelope = sign_record(stolen.keys.private, lie).envelope
            push_head(old, ana.id, Head(ana.id, envelope, key=stolen.public))
            alarm = await told_of(told)
            assert alarm.kind is AlarmKind.HUB_MISBEHAVES
            await trio.sleep(30)  # the link that it came on is opened anew
        await ana.send("nobody minds")
        await settle([ana, bo])
        agree([ana, bo], ["after", "nobody minds"])


async def test_a_relay_that_is_cut_off_gets_no_room(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It had stored all there is; but it would not hear that it is to order from now on."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await until(lambda: copy_head(old, ana.id) == copy_head(new, ana.id))
        away(old, new)
        await trio.sleep(30)
        with pytest.raises(Offline):
            await ana.move_hub(new.url)
        assert hub_of(ana) == (relay_of(old), 0)
        await ana.send("it goes on here")
        new.to_relays[old.url].up = True
        await settle([ana, bo])
        await ana.move_hub(new.url)
        await bo.send("now it moved")
        await settle([ana, bo])
        agree([ana, bo], ["it goes on here", "now it moved"])


async def test_no_member_cuts_the_room_off_by_a_number_of_its_own(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Where only the relays that follow know how far Eve had come, they believe the new hub.

    Her own signature says it: it is nothing that a relay has done.
    """
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana = await (await old.client("ana")).create_room(old.url, "tea", my_name="Ana")
        eve = await local(old, ana, "eve")
        await eve.send("I was here")
        await settle([ana, eve])
        await ana.rotate()
        bo = await federated(old, new, "bo", ana)  # its relay has nothing of before
        await ana.move_hub(new.url)
        await bo.send("moved")
        await settle([ana, eve, bo])
        core = eve._client._core(eve.id)
        async with open_raw(new) as raw:
            await attach(raw, core, relay_of(new))
            odd = evolve(event_of(core, new.now()), counter=77, prev=EventId(os.urandom(32)))
            envelope = sign_record(core.mine.sign.private, odd).envelope
            await raw.send(frames.Post(raw.rid(), eve.id, envelope, b"cell"))
            [_] = await raw.expect(frames.Ack)
        await bo.send("after")
        await until(lambda: copy_head(old, ana.id) == copy_head(new, ana.id))
        await settle([ana, bo])
        assert (texts(ana)[-1], texts(bo)[-1]) == ("after", "after")
        assert not any(row.quarantined for row in stored(old).peers())


# -- who may not -----------------------------------------------------------------------------------


async def test_only_root_moves_a_room_and_no_local_one(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A co-owner is refused, by its client and by the hub; a local-only room goes nowhere."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await ana.grant(bo.me, Role.CO_OWNER)
        await settle([ana, bo])
        with pytest.raises(NotAllowed):
            await bo.move_hub(new.url)
        core = bo._client._core(bo.id)
        fields = header_fields(core.state, core.mine, core.log.seen, new.now())
        move = HubMove(**fields, hub=relay_of(new), urls=(new.url,), term=1)
        async with open_raw(new) as raw:
            await attach(raw, core, relay_of(new))
            envelope = sign_record(core.mine.sign.private, move).envelope
            await raw.send(frames.Control(raw.rid(), bo.id, envelope))
            [refused] = await raw.expect(frames.Failure)
            assert refused.code == "forbidden"
        client = await old.client("eve")
        policy = Policy(local_only=True)
        kept = await client.create_room(old.url, "kept", my_name="Eve", policy=policy)
        with pytest.raises(NotAllowed):
            await kept.move_hub(new.url)
        assert hub_of(kept) == (relay_of(old), 0)


async def test_nobody_at_home_there_yet(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Root goes there first; who dials a relay that takes nobody in has moved nothing."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        client = await old.client("ana")
        ana = await client.create_room(old.url, "tea", my_name="Ana")
        bo = await local(old, ana, "bo")
        with pytest.raises(Offline):
            await ana.move_hub("ws://nowhere.test")
        await ana.move_hub(new.url)
        await ana.send("here")
        await settle([ana, bo])
        agree([ana, bo], ["here"])
        assert (ana.relay_url, bo.relay_url) == (new.url, old.url)
        assert hub_of(bo) == (relay_of(new), 1)
