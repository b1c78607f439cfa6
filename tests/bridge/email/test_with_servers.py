"""Through real Postfix and Dovecot: a room by mail, both ways (M1 to M7)."""

from __future__ import annotations

import pytest
import trio

from bridge.email.settings import EmailPlace
from ofcd.testing import World
from tests.bridge.email.scene import (
    answer_to,
    body_of,
    email_settings,
    mailed,
    open_scene,
    until,
)
from tests.bridge.email.servers import MailServers, needs_servers

pytestmark = [needs_servers, pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(180)]


async def test_a_room_is_read_and_answered_by_mail(servers: MailServers, world: World) -> None:
    """What is said is mailed; the answer comes back into the room, as an answer to it."""
    place = EmailPlace(subscribers=("bo@people.test",), hold=0.0, notice_every=0.0)
    async with open_scene(world, email_settings(servers), place) as scene:
        await scene.do("full", "on")
        sent = await scene.room.send("Shall we read **The Dispossessed**?")
        [mail] = await mailed(servers, "bo")
        assert body_of(mail) == "Shall we read **The Dispossessed**?"
        assert str(mail["From"]) == "Ana via Book club <books@bridge.test>"
        assert str(mail["To"]) == "bo@people.test"
        reply = answer_to(mail, "Yes, *again*!")
        await trio.to_thread.run_sync(servers.send, reply, "bo@people.test", str(mail["Reply-To"]))
        await until(lambda: len(scene.texts()) == 2)
        assert scene.texts() == [r"bo: Yes, \*again\*!", "bo: <original.eml>"]
        said = next(m for m in scene.messages() if m.via is not None)
        assert said.reply_to == sent.event_id
