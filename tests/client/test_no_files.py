"""A limit holds by what a member was when it spoke, though its words are opened later."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from ofcd.client import FileRef, MessageInvalid, MessageReceived, Vault
from ofcd.client import outbox as client_outbox
from ofcd.client.model import Tables
from ofcd.e2e import events as e2e_events
from ofcd.protocol.ids import BlobId, Hash32
from ofcd.protocol.records import Cap, Role
from tests.client.world import KEY, Town, settled, until

FILE = FileRef(BlobId(bytes(16)), bytes(32), 5, Hash32(bytes(32)), (Hash32(bytes(32)),), "x", "y")


async def test_a_file_that_waited_for_its_key_is_still_not_shown(
    town: Town, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Robo may send files again by then; what it sent before stays a marker, its words are read."""
    mine, bos = await town.pair()
    robo = await town.person("robo")
    code = await mine.invite(caps=(Cap.BOT, Cap.NO_FILES))
    theirs = await robo.client.join(code, name="Robo")
    await settled(mine, bos, theirs)
    await town.stop("bo")
    with Vault.open(town.folder / "bo.vault", KEY) as vault, vault.transaction() as tx:
        table = Tables(mine.id).state
        for key, _ in list(tx.items(table, b"key/", b"key0")):
            tx.delete(table, key)
    for module in (client_outbox, e2e_events):
        monkeypatch.setattr(module, "may_send", lambda *_: True)
    await theirs.send_body(FILE)
    await theirs.send("words")
    await mine.grant(theirs.me, Role.MEMBER, (Cap.BOT,))

    bos = (await town.person("bo")).room
    with trio.fail_after(1_000):
        await until(lambda: any(m.text == "words" for m in bos.messages()))
    seen = [event async for event in bos.events_since(0, follow=False) if event.mid == theirs.me]
    assert [e.reason for e in seen if isinstance(e, MessageInvalid)] == ["may_not_attach"]
    assert [e.message.text for e in seen if isinstance(e, MessageReceived)] == ["words"]
