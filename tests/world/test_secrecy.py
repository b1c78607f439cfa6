"""What the relay itself sees, behind the links' own sealing: still no word and no key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import trio

from ofcd.channel import Channel
from ofcd.testing import open_world
from tests.live.markers import IN_CLEAR, MARKERS, holds, secrets_of, talk
from tests.world.scene import quick


async def test_the_relay_sees_no_word_and_no_key(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every frame of every link, as relay and clients read it: no marker, no secret key."""
    seen: list[bytes] = []
    wrap = Channel.wrap

    def watched(self: Channel, frames: Iterable[bytes], trailer: Sequence[bytes] = ()) -> bytes:
        carried = list(frames)
        seen.extend([*carried, *trailer])
        return wrap(self, carried, trailer)

    monkeypatch.setattr(Channel, "wrap", watched)
    async with open_world(tmp_path, quick) as world:
        ana, bo, cy = [await world.client(name) for name in ("ana", "bo", "cy")]
        name = MARKERS["room's name"]
        tea = await ana.create_room(world.url, name, my_name=MARKERS["founder's name"])
        invites = [await tea.invite(), await tea.invite()]
        at_bo = await bo.join(invites[0], name=MARKERS["joiner's name"])
        at_cy = await cy.join(invites[1], name="Cy")
        keys = secrets_of(tea, "ana") | secrets_of(at_bo, "bo") | secrets_of(at_cy, "cy")
        await talk(tmp_path, tea, at_bo)
        await tea.rotate()
        keys |= secrets_of(tea, "ana")
        await tea.rotate(boxed=True)
        at_bo.typing()
        await tea.evict(at_bo.me, reason=IN_CLEAR)
        keys |= secrets_of(tea, "ana") | secrets_of(at_cy, "cy")
        await trio.sleep(5)
    secrets = {name: text.encode() for name, text in MARKERS.items()} | keys
    secrets |= {f"token {n}": code.token for n, code in enumerate(invites)}
    frames = b"\n".join(seen)
    assert [name for name, secret in secrets.items() if holds(frames, secret)] == []
    assert holds(frames, tea.id), "the control: what is not secret is found"
    assert holds(frames, IN_CLEAR.encode())
    assert len(seen) > 100
