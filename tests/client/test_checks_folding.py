"""Who may change what is shown: checks that nothing else needs, found by `make mutation`."""

from __future__ import annotations

import pytest
from attrs import evolve

from ofcd.client import Message, MessageEdited, NameChanged
from ofcd.client.archive import Entry, Kind
from ofcd.e2e.bodies import Content, Edit, Profile, Reaction, Redaction, RoomInfo, Text
from ofcd.e2e.events import Outgoing, seal_event
from ofcd.e2e.keys import MemberKeys, new_sid
from ofcd.e2e.log import RoomLog
from ofcd.protocol import frames
from ofcd.protocol.ids import EventId, MemberId
from ofcd.protocol.records import Role
from tests.client.liar import NOW, Bo, Scene

NOTHING = EventId(b"n" * 32)


class Talk:
    """What Ana, who is root, and Bo, a member, send by clients that ask nobody's leave."""

    def __init__(self, scene: Scene, bo: Bo) -> None:
        self.ana, self.bo = scene.ana, scene.bo
        self._scene, self._reader = scene, bo
        self._log: RoomLog = scene.log
        self._next: dict[MemberId, tuple[int, EventId]] = {
            scene.ana.mid: scene.next_own,
            scene.bo.mid: bo.room.core.next_own(),
        }
        member = scene.state.member(scene.bo.mid)
        promoted = {**scene.state.members, member.mid: evolve(member, role=Role.CO_OWNER)}
        self._state = evolve(scene.state, members=promoted)

    def say(self, mine: MemberKeys, content: Content, name: str = "") -> EventId:
        """Send it, and have Bo's client take it."""
        counter, prev = self._next[mine.mid]
        message = Outgoing(content, new_sid(), counter, prev, NOW, name=name)
        made = seal_event(self._state, mine, self._scene.keys, message, self._log.seen)
        seq, envelope = self._log.seq + 1, made.signed.envelope
        self._log = self._log.append(seq, envelope)
        self._next[mine.mid] = (counter + 1, made.signed.event_id)
        self._reader.feed(frames.Delivery(self._scene.room, seq, envelope, made.cell))
        return made.signed.event_id

    def shown(self, event_id: EventId) -> Message:
        """The message, as Bo's client shows it now."""
        [message] = [m for m in self._reader.shown() if m.event_id == event_id]
        return message


@pytest.fixture
def talk(scene: Scene, bo: Bo) -> Talk:
    return Talk(scene, bo)


def test_nobody_edits_anothers_words(talk: Talk) -> None:
    """Neither a member root's, nor root a member's; one's own, one does."""
    by_ana, by_bo = talk.say(talk.ana, Text("Ana's")), talk.say(talk.bo, Text("Bo's"))
    talk.say(talk.bo, Edit(by_ana, "forged"))
    talk.say(talk.ana, Edit(by_bo, "forged"))
    assert [talk.shown(by_ana).text, talk.shown(by_bo).text] == ["Ana's", "Bo's"]
    talk.say(talk.bo, Edit(by_bo, "mended"))
    assert talk.shown(by_bo).text == "mended"


def test_a_member_redacts_its_own_words_alone(talk: Talk) -> None:
    """An owner redacts anyone's."""
    by_ana, by_bo = talk.say(talk.ana, Text("Ana's")), talk.say(talk.bo, Text("Bo's"))
    talk.say(talk.bo, Redaction(by_ana))
    assert talk.shown(by_ana).redacted_by is None
    assert talk.shown(by_ana).text == "Ana's"
    talk.say(talk.ana, Redaction(by_bo))
    assert talk.shown(by_bo).redacted_by == talk.ana.mid
    assert talk.shown(by_bo).text == ""


def test_what_was_redacted_stays_so(talk: Talk, bo: Bo) -> None:
    """No edit brings words back, not even into the archive; no reaction stands beside nothing."""
    said = talk.say(talk.bo, Text("Bo's"))
    talk.say(talk.bo, Redaction(said))
    talk.say(talk.bo, Edit(said, "again"))
    talk.say(talk.ana, Reaction(said, "+1"))
    shown = talk.shown(said)
    assert (shown.text, shown.edited, shown.reactions) == ("", False, ())
    entry = bo.room.core.archive.find(bo.vault, said)
    assert entry is not None
    assert (entry.body, entry.edited) == (b"", b"")


def test_what_is_not_there_is_changed_in_vain(talk: Talk, bo: Bo) -> None:
    """An unknown target, and one that is no message: nothing breaks, all else goes on."""
    said = talk.say(talk.ana, Text("Ana's"))
    reaction = talk.say(talk.ana, Reaction(said, "+1"))
    for target in (NOTHING, reaction):
        talk.say(talk.ana, Edit(target, "new"))
    for content in (Reaction(NOTHING, "+1"), Redaction(NOTHING), Redaction(reaction)):
        talk.say(talk.ana, content)
    last = talk.say(talk.ana, Text("on"))
    assert [message.event_id for message in bo.shown()] == [said, last]
    assert bo.texts == ["Ana's", "on"]
    assert not any(isinstance(event, MessageEdited) for event in bo.events)
    assert talk.shown(said).reactions == (("+1", (talk.ana.mid,)),)


def test_a_member_does_not_name_the_room(talk: Talk, bo: Bo) -> None:
    """An owner does."""
    talk.say(talk.ana, RoomInfo("garden", "roses"))
    talk.say(talk.bo, RoomInfo("prison", "walls"))
    head = bo.room.core.head
    assert (head.room_name, head.topic) == ("garden", "roses")


def test_a_new_name_is_told_with_the_one_before(talk: Talk, bo: Bo) -> None:
    """Though the message that changes the name bears the new one already."""
    talk.say(talk.ana, Text("I am Ana"), "Ana")
    talk.say(talk.ana, Profile("Anna"), "Anna")
    [changed] = [event for event in bo.events if isinstance(event, NameChanged)]
    assert (changed.before, changed.name) == ("Ana", "Anna")


def test_what_was_read_before_it_came_is_not_unread(talk: Talk, bo: Bo) -> None:
    """A message that waited for its key may lie below the place up to which all was read."""
    core = bo.room.core
    talk.say(talk.ana, Text("new"))
    assert core.head.unread == 1
    bo.turn(lambda turn: core.save_head(turn, unread=0, read_seq=core.head.seq + 1))
    talk.say(talk.ana, Text("read"))
    assert core.head.unread == 0
    talk.say(talk.ana, Text("new again"))
    assert core.head.unread == 1


def test_who_is_gone_names_the_room_no_more(talk: Talk, bo: Bo) -> None:
    """What it sent may have waited for a key until after it was evicted."""
    core, folder = bo.room.core, bo.room.ledger._folder
    entry = core.archive.find(bo.vault, talk.say(talk.ana, Text("hi")))
    assert entry is not None
    gone = evolve(entry, mid=MemberId(b"g" * 32))
    folded: list[Entry] = []
    bo.turn(lambda turn: folded.append(folder._rename_room(turn, gone, RoomInfo("prison"))))
    assert [entry.kind for entry in folded] == [Kind.SILENT]
    assert core.head.room_name != "prison"


def test_a_message_without_a_name_takes_none_away(talk: Talk, bo: Bo) -> None:
    """The sender keeps the name that it had."""
    talk.say(talk.ana, Text("I am Ana"), "Ana")
    talk.say(talk.ana, Text("and still am"))
    assert bo.room.core.names[talk.ana.mid] == "Ana"


def test_a_reaction_that_all_took_back_is_gone(talk: Talk) -> None:
    """Not shown with nobody beside it."""
    said = talk.say(talk.ana, Text("hi"))
    talk.say(talk.bo, Reaction(said, "+1"))
    talk.say(talk.bo, Reaction(said, "+1", removed=True))
    assert talk.shown(said).reactions == ()
