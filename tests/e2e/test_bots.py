"""What a member's caps keep its messages from, whoever lets them through."""

from __future__ import annotations

import pytest

from ofcd.e2e import events
from ofcd.e2e.bodies import FileRef, Text
from ofcd.e2e.errors import Reason, Unreadable
from ofcd.e2e.events import may_send, open_verified
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import BlobId, Hash32
from ofcd.protocol.records import Cap, Role
from tests.e2e.world import Person, World, entry_of, found_world

FILE = FileRef(BlobId(bytes(16)), bytes(32), 5, Hash32(bytes(32)), (Hash32(bytes(32)),), "x", "y")


def pair(*caps: Cap, role: Role = Role.MEMBER) -> tuple[World, Person]:
    """A room, and somebody with these caps in it."""
    world = found_world()
    return world, world.join("robo", caps=caps, role=role)


def test_without_files_none_is_sealed() -> None:
    """Text is; a reader sends neither."""
    world, robo = pair(Cap.BOT, Cap.NO_FILES)
    with pytest.raises(Refused) as caught:
        robo.seal(FILE)
    assert caught.value.code == Code.FORBIDDEN
    world.say(robo, "words")
    assert world.root.taken[-1].opened is not None

    _, reader = pair(role=Role.READONLY)
    state = reader.view.state
    assert not may_send(state, reader.mid, Text("words"))
    assert not may_send(state, reader.mid, FILE)


def test_a_file_of_who_may_send_none_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it comes, or later, once its key is here: by the caps its sender had then."""
    world, robo = pair(Cap.BOT, Cap.NO_FILES)
    monkeypatch.setattr(events, "may_send", lambda *_: True)
    sealed = robo.seal(FILE)
    world.commit(entry_of(sealed))
    [trouble] = world.root.taken[-1].troubles
    assert isinstance(trouble, Unreadable)
    assert trouble.reason is Reason.MAY_NOT_ATTACH

    keys = world.root.view.keys
    with pytest.raises(Unreadable) as caught:
        open_verified(keys, sealed.signed, sealed.cell, caps=(Cap.NO_FILES,))
    assert caught.value.reason is Reason.MAY_NOT_ATTACH
    assert open_verified(keys, sealed.signed, sealed.cell, caps=()).content == FILE


def test_a_bots_invite_is_its_inviters_to_answer() -> None:
    """Other owners are not listed, and hold no token; for people they are."""
    world = found_world()
    other = world.join("other", role=Role.CO_OWNER)
    for caps, wanted in (((Cap.BOT,), 1), ((), 2)):
        record = world.invite(world.root, caps=caps).signed.record
        assert len(record.admitters) == wanted  # type: ignore[union-attr]  # an INVITE_OPEN
        assert (other.mid in dict(record.token_boxes)) is (wanted == 2)  # type: ignore[union-attr]
