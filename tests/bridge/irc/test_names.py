"""No two members under one nick, nor under one that looks like another's (G5, I5)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import Author, RemoteMessage
from bridge.core.formatting import plain_document
from bridge.core.names import shown_names, skeleton
from bridge.irc import nicks
from bridge.irc.nicks import nick_bases, relayed_mark
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.wire import fold
from ofcd.protocol.ids import MemberId
from tests.bridge.irc.scene import irc_scene, portal, until
from tests.bridge.irc.scripted import ALL_CAPS

CAPS = [one for one in ALL_CAPS if "multiline" not in one]
BASE = IrcSettings(
    name="irc",
    server="irc.example",
    nick="ofc",
    line_seconds=0.01,
    burst=100,
    puppet_seconds=0.5,
    puppet_idle=60.0,
)


def _mid(number: int, begin: bytes = b"") -> MemberId:
    return MemberId((begin + number.to_bytes(2, "big") * 16)[:32])


_LETTERS = st.sampled_from("AaBnа_~-[{1lIOo0ю ")  # noqa: RUF001 - that is the point
_NAMES = st.lists(st.text(_LETTERS, max_size=12), min_size=2, max_size=8)


@given(
    names=_NAMES, room=st.sampled_from((2, 6, 13, 61)), begin=st.sampled_from((b"", b"12345678"))
)
def test_no_two_nicks_begin_alike(names: list[str], room: int, begin: bytes) -> None:
    """Whatever they are called, and if one has searched for an id that begins like another's."""
    shown = shown_names((_mid(n, begin), one) for n, one in enumerate(names))
    bases = nick_bases(shown, room)
    assert len({skeleton(one) or fold(one) for one in bases.values()}) == len(bases)
    assert all(0 < len(one) <= room for one in bases.values())
    if not begin and room > 2:
        assert len(bases) == len(names), "who has an id of their own has a nick"


@given(names=_NAMES, begin=st.sampled_from((b"", b"12345678")))
def test_no_two_names_look_alike(names: list[str], begin: bytes) -> None:
    shown = shown_names((_mid(n, begin), one) for n, one in enumerate(names))
    assert len({skeleton(one) for one in shown.values()}) == len(shown)


def test_nobody_is_called_like_another_with_their_id() -> None:
    ana, cyrillic, eve = _mid(1), _mid(2), _mid(3)
    people = [(ana, "Ana"), (cyrillic, "Аna"), (eve, f"Ana~{ana.hex()[:6]}")]  # noqa: RUF001
    shown = shown_names(people)
    assert len({skeleton(one) for one in shown.values()}) == 3
    assert shown[eve] != f"Ana~{ana.hex()[:6]}"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Ana", "Ana ю"),
        ("Анна K", "Иван K"),
        ("Alexandra Papadopoulos", "Alexandra Papadimitriou"),
        ("Максим", "ゆき"),
    ],
)
def test_what_a_server_takes_of_two_names_is_not_the_same(first: str, second: str) -> None:
    shown = shown_names([(_mid(1), first), (_mid(2), second)])
    bases = nick_bases(shown, 13)
    assert all(one.endswith(mid.hex()[:6]) for mid, one in bases.items())
    assert nick_bases({_mid(1): "Ana", _mid(2): "Bo"}, 13) == {_mid(1): "Ana", _mid(2): "Bo"}
    assert relayed_mark("\r ") == "/ofc"


def test_a_large_room_costs_a_few_looks_at_each_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for each line, and every two seconds: no look at all names for each name."""
    looks: list[str] = []

    def look(name: str) -> str:
        looks.append(name)
        return skeleton(name)

    monkeypatch.setattr(nicks, "skeleton", look)
    bases = nick_bases({_mid(number): f"user {number}" for number in range(500)}, 13)
    assert len(bases) == 500
    assert len(looks) <= 4 * 500


@pytest.mark.parametrize("mode", ["relaymsg", "puppets"])
async def test_nobody_speaks_in_another_members_nick(
    tmp_path: Path, autojump_clock: object, mode: str
) -> None:
    """Also once the other's puppet has left because it was silent."""
    there = portal(options=IrcPlace(mode=mode), out_burst=1000, out_per_second=1000.0)
    async with irc_scene(tmp_path, there, caps=CAPS, settings=BASE) as scene, scene.running():
        await scene.up()
        for number in range(2):
            await scene.room.send(f"by Ana {number}")
            await trio.sleep(5)
        assert scene.heard()[-1].partition(": ")[0] in ("Ana/ofc", "Ana[o]")
        eve = await scene.world.client("eve")
        room = await eve.join(await scene.room.invite(), name="Ana ю")
        await trio.sleep(200)
        for number in range(2):
            await room.send(f"by Eve {number}")
            await trio.sleep(70)
            await scene.room.send(f"by Ana {number + 2}")
            await trio.sleep(5)
        await until(lambda: len(scene.heard()) == 6)
        by: dict[str, set[str]] = {"Ana": set(), "Eve": set()}
        for line in scene.heard():
            nick, _, words = line.partition(": ")
            if nick != "ofc":
                by[words.split()[1]].add(nick)
        assert not by["Ana"] & by["Eve"], scene.heard()


async def test_somebody_of_another_network_speaks_in_no_members_nick(
    tmp_path: Path, autojump_clock: object
) -> None:
    there = portal(options=IrcPlace(mode="relaymsg"))
    other = portal(place="#films", options=IrcPlace(mode="relaymsg"))
    async with irc_scene(tmp_path, there, other, caps=CAPS) as scene, scene.running():
        await scene.up()
        assert scene.engine is not None
        eve = await scene.world.client("eve")
        room = await eve.join(await scene.room.invite(), name="kim_irc")
        await trio.sleep(3)
        who = Author("kim!u@there.example", "kim")
        said = RemoteMessage(place="#films", id="1", author=who, document=plain_document("by Kim"))
        await scene.engine.inbound.take("irc", said)
        await room.send("by Eve")
        await until(lambda: len(scene.heard()) == 2)
        nicks = {one.partition(": ")[0] for one in scene.heard()}
        assert nicks == {"ofc", "kim_irc/ofc"}
