"""Which room a portal means: by its name once, by its id from then on; and who is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from bridge.core import Finding, Portal, Verdict
from bridge.core.checking import check_portals
from bridge.core.settings import BridgeSettings
from ofcd.client.keyfile import open_keyed_vault
from ofcd.protocol.records import Cap
from ofcd.testing import open_world
from tests.bridge.core.world import PLACE, Scene, Walls, open_scene, running, settings

BOOKS = Portal(room="books", network="paper", place=PLACE, hold=0.0)
FILMS = evolve(BOOKS, room="films", place="#films")


async def _speaks(scene: Scene, number: int) -> None:
    """A word each way."""
    await scene.room.send(f"out {number}")
    assert await scene.outside(f"in {number}") is Verdict.TAKEN
    await scene.quiet()
    assert scene.walls.lines()[-1] == f"Ana: out {number}"
    assert scene.bridged()[-1] == f"kim: in {number}"


async def test_a_room_that_is_called_something_else_stays_joined(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        ana, bridge = await world.client("ana"), await world.client("bridge")
        room = await ana.create_room(world.url, "books", my_name="Ana")
        await bridge.join(await room.invite(caps={Cap.BRIDGE}), name="Bridge")
        async with running(world, ana, room, bridge, Walls(), BOOKS) as scene:
            await _speaks(scene, 1)
            await room.rename("novels", "")
            await scene.quiet()
            await _speaks(scene, 2)
            await room.send("!bridge status")
            await scene.quiet()
            assert f"{PLACE} on paper: connected" in scene.notices()[-1]
        # Another life does not know it by that name: the journal does.
        async with running(world, ana, room, bridge, Walls(), BOOKS) as scene:
            await _speaks(scene, 3)


async def test_another_room_can_not_take_a_name_over(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Neither beside the one that has it, nor once that is called otherwise, nor before it."""
    async with open_scene(tmp_path, BOOKS, FILMS, evolve(FILMS, room="plays")) as scene:
        films = await scene.ana.create_room(scene.world.url, "films", my_name="Ana")
        await scene.bridge.join(await films.invite(caps={Cap.BRIDGE}), name="Bridge")
        await scene.quiet()
        for number, name in enumerate(("books", "plays")):
            await films.rename(name, "")
            await scene.quiet()
            await _speaks(scene, number)
        await scene.room.rename("novels", "")
        await films.rename("books", "")
        await scene.quiet()
        await _speaks(scene, 6)
        assert not [one for one in films.messages() if one.via is not None]
        meant = scene.engine.meant.room_of(evolve(FILMS, room="plays"))
        assert meant is None, "the room of another portal is not found by a name"
        assert "another [[portal]] has under another name" in scene.engine.meant.trouble(
            evolve(FILMS, room="books", place="#plays")
        )


@pytest.mark.parametrize("room", ["boks", "books"])
async def test_a_portal_without_a_room_is_told_of_once(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str], room: str
) -> None:
    async with open_scene(tmp_path, evolve(BOOKS, room=room)) as scene:
        capsys.readouterr()
        await trio.sleep(7200)
        said = capsys.readouterr().out
        page = scene.engine.metrics.render().decode()
    assert said.count("a [[portal]] names a room that the bridge is not in") == (room == "boks")
    assert f'bridge_portals_without_room{{network="paper"}} {float(room == "boks")}' in page


async def test_who_is_put_out_of_a_room_is_told_of_and_another_room_is_not_taken_for_it(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_scene(tmp_path, BOOKS) as scene:
        me = next(one for one in scene.room.members() if one.name.startswith("Bridge"))
        await scene.room.evict(me.mid)
        other = await scene.ana.create_room(scene.world.url, "books", my_name="Ana")
        await scene.bridge.join(await other.invite(caps={Cap.BRIDGE}), name="Bridge")
        await trio.sleep(700)
        assert await scene.outside("anybody?") is Verdict.CLOSED
        by_id = evolve(BOOKS, room=other.id.hex()[:8])
        meant = scene.engine.meant.room_of(by_id)
        assert meant is not None, "by its id it can be"
    said = capsys.readouterr().out
    assert said.count("the bridge is not in the room of a [[portal]] any more (evicted)") == 1


async def test_check_says_which_portal_has_no_room(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    own = BridgeSettings(vault=str(tmp_path / "vault"), key_file=str(tmp_path / "key"))
    made = evolve(settings(BOOKS), bridge=own)
    found: list[Finding] = []
    await check_portals(made, found.append)
    assert found == [], "there is no vault yet"
    with open_keyed_vault(Path(own.vault), Path(own.key_file)):
        await check_portals(made, found.append)
        assert [(one.good, "its log says" in one.text) for one in found] == [(True, True)]
    await check_portals(made, found.append)
    assert not found[-1].good
    assert found[-1].text.startswith(f"[[portal]] books to {PLACE} on paper: a [[portal]] names")
