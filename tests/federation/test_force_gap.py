"""A move by force makes void what a client never read: its relay no longer kept that."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.client import Alarm
from ofcd.config import Settings
from ofcd.testing import open_net
from tests.federation.double import local, part, quickly, say, shared
from tests.federation.test_force import force, vault_of
from tests.world.scene import again, settle, texts, told


def forgetful(name: str, settings: Settings) -> Settings:
    """A hub that keeps three messages a room; the other relay keeps all."""
    settings = quickly(name, settings)
    if name != "old":
        return settings
    return evolve(settings, storage=evolve(settings.storage, max_events_per_room=3))


@pytest.mark.parametrize("held", ["none", "some", "first"])
async def test_own_words_in_a_gap_that_is_void_hold_up_nobody(
    tmp_path: Path, autojump_clock: trio.abc.Clock, held: str
) -> None:
    """Dan's vault was put back to before them, and only his relay's word said how many they were.

    Or the copy has the first of them, maybe his very first, and what Ana said then; and he says
    more, behind the gap.
    """
    async with open_net(tmp_path, "old", "new", change=forgetful) as (old, new):
        ana, bo = await shared(old, new)
        dan = await (await old.client("dan")).join(await ana.invite(), name="")
        if held != "first":
            sent = await dan.send("before")
        if held == "some":
            await ana.redact(sent.event_id)  # its number stands in it no more
        await settle([ana, bo, dan])
        await old.stop_client("dan")
        kept = vault_of(old, "dan").read_bytes()
        dan = await again(old, "dan")
        if held != "none":
            await dan.send("forgotten 0")
            await ana.send("ana, before")
            await settle([ana, bo, dan])
        part(old, new)
        await say(dan, "forgotten 1", "forgotten 2")
        await settle([ana, dan])
        await say(ana, *(f"ana {number}" for number in range(6)))
        await settle([ana, dan])
        await trio.sleep(200)  # retention runs
        await old.stop_client("dan")
        vault_of(old, "dan").write_bytes(kept)
        dan = await again(old, "dan")
        live = dan.events(), bo.events()
        await settle([ana, dan])
        if held != "none":
            await dan.send("behind the gap")
            await settle([ana, dan])
        await old.stop_relay()
        await force(ana, new)
        await dan.move_home(new.url)
        await dan.send("after")
        await settle([ana, bo, dan])
        said = [text for text in texts(bo) if not text.startswith("ana")]
        more = ["forgotten 0", "behind the gap"]
        assert said == [*{"none": ["before"], "some": ["", *more], "first": more}[held], "after"]
        assert dan.outbox() == []
        assert [e for stream in live for e in told(stream) if isinstance(e, Alarm)] == []


@pytest.mark.parametrize(("before", "known"), [("nothing", 0), ("taken back", 1), ("words", 3)])
async def test_others_may_have_spoken_in_a_gap_before_what_is_void(
    tmp_path: Path, autojump_clock: trio.abc.Clock, before: str, known: int
) -> None:
    """Dan missed how many of Eva's words hold: he goes by no number of hers from before or behind.

    What is void begins in the gap; or behind it, where he knows words of hers from before it: then
    her first void one tells how many came before, and none of these is new to him.
    """
    async with open_net(tmp_path, "old", "new", change=forgetful) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        eva = await (await old.client("eva")).join(await ana.invite(), name="")
        if before != "nothing":
            sent = await eva.send("before")
            if before == "taken back":
                await ana.redact(sent.event_id)  # its number stands in it no more
        await settle([ana, bo, dan, eva])
        await old.stop_client("dan")
        await say(eva, "held", "held")
        await settle([ana, bo, eva])
        if before != "words":
            part(old, new)
        await say(ana if before == "words" else eva, *(f"said {number}" for number in range(4)))
        await settle([ana, eva])
        await trio.sleep(200)  # retention runs
        dan = await again(old, "dan")
        live = dan.events()
        await settle([ana, dan, eva])
        if before == "words":
            await settle([bo])
            part(old, new)
            await eva.send("said 4")
            await settle([ana, dan, eva])
        await old.stop_relay()
        await force(ana, new)
        await dan.move_home(new.url)
        await settle([ana, dan])
        assert dan._client._core(dan.id).view.senders.next_of(eva.me)[0] == known + 1
        await eva.move_home(new.url)
        await eva.send("after")
        await settle([ana, bo, dan, eva])
        assert texts(dan)[-4:] == texts(bo)[-4:]
        assert texts(dan)[-1] == "after"
        assert [event for event in told(live) if isinstance(event, Alarm)] == []
