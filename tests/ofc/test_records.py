"""Every event the client core tells has an object for scripts and a sentence for people."""

from __future__ import annotations

import json
from typing import Any, get_args

import attrs
import pytest

from ofcd.client import events
from ofcd.client.events import Alarm, AlarmKind, FileInfo, LinkState, Message, RoomStatus, Via
from ofcd.ofc.layout import Transcript
from ofcd.ofc.records import Who, event_record, void_record
from ofcd.ofc.sentences import delivery_sentence, sentence
from ofcd.protocol.ids import EventId, InviteId, MemberId, RelayId, RoomId, Sid
from ofcd.protocol.records import Cap, Role

ANA, BO = MemberId(b"\xaa" * 32), MemberId(b"\xbb" * 32)
NAMES = {ANA: "Ana", BO: "echo"}
WHO = Who(
    name=lambda mid: NAMES.get(mid, ""),
    caps=lambda mid: frozenset({Cap.BOT}) if mid == BO else frozenset(),
    me=ANA,
)
FIELDS = ("seq", "event_id", "member", "name", "kind", "text", "ts")
MESSAGE = Message(
    room=RoomId(b"\1" * 32),
    seq=7,
    event_id=EventId(b"\7" * 32),
    mid=BO,
    name="echo",
    ts=1,
    sid=Sid(b"\2" * 16),
    text="words",
)
VALUES: dict[str, Any] = {
    "room": MESSAGE.room,
    "seq": 7,
    "event_id": MESSAGE.event_id,
    "mid": BO,
    "ts": 1,
    "message": MESSAGE,
    "messages": (MESSAGE,),
    "own": 1,
    "controls": 0,
    "target": EventId(b"\3" * 32),
    "target_seq": 3,
    "reaction": "👍",
    "withdrawn": False,
    "reason": "why",
    "epoch": 2,
    "name": "new",
    "before": "old",
    "topic": "about",
    "to": ANA,
    "member": ANA,
    "members": (ANA,),
    "evicted": True,
    "role": Role.MEMBER,
    "caps": frozenset({Cap.BOT}),
    "boxed": True,
    "invite_id": InviteId(b"\4" * 16),
    "text": "alarming",
    "recovered": 1,
    "lost": 1,
    "start": 1,
    "end": 5,
    "sid": MESSAGE.sid,
    "code": "quota",
    "state": LinkState.OFFLINE,
    "status": RoomStatus.FROZEN,
    "url": "ws://relay.test",
    "relay_id": RelayId(b"\5" * 32),
    "detail": "down",
    "retry_at": 5,
    "until": 5,
    "outcome": "same",
    "home": RelayId(b"\5" * 32),
    "hub": RelayId(b"\5" * 32),
    "same": True,
}
UNSEEN = {
    events.SignalReceived,
    events.MemberReached,
    events.MessageAccepted,
    events.MessageHeld,
    events.JoinStateChanged,
}
"""Told to the program, shown in other ways."""


def make(cls: type[Any], **changes: Any) -> Any:
    given = {field.name: VALUES.get(field.name) for field in attrs.fields(cls)}
    if cls is Alarm:
        given["kind"] = AlarmKind.FORK
    if cls is events.SignalReceived:
        given["kind"] = "typing"
    return cls(**{**given, **changes})


@pytest.mark.parametrize("cls", get_args(events.AppEvent), ids=lambda cls: cls.__name__)
def test_every_event_is_shown(cls: type[Any]) -> None:
    """As JSON with the fields that all have, and as a sentence that is more than its kind."""
    made = event_record(make(cls), WHO)
    if cls in UNSEEN:
        assert made is None
        return
    assert made is not None
    assert set(FIELDS) <= set(made)
    assert json.loads(json.dumps(made)) == made
    [*_, line] = Transcript().lines(made)
    assert line.plain.strip()
    if made["kind"] not in ("message", "file"):
        assert sentence(made) != f"({made['kind']})"


@pytest.mark.parametrize(
    ("reached", "awaited", "told"),
    [
        ((), ("Bo",), "#7 is in the room's log; nobody else is known to have it yet"),
        (("Bo",), (), "#7 delivered to Bo"),
        (("Bo", "Cy"), (), "#7 delivered to everybody"),
        (("Bo",), ("Cy",), "#7 delivered to Bo, not known to have come to Cy"),
        (
            ("A", "B", "C", "D", "E"),
            ("F",),
            "#7 delivered to A, B, C and 2 more, not known to have come to F",
        ),
    ],
)
def test_how_far_a_message_has_come(
    reached: tuple[str, ...], awaited: tuple[str, ...], told: str
) -> None:
    """What is proven, and of whom nothing is known: that is no claim that they lack it."""
    assert delivery_sentence(7, reached, awaited) == told


def test_a_message() -> None:
    """The fields that scripts count on, and the mark of a bot."""
    made = event_record(make(events.MessageReceived), WHO)
    assert made == {
        "seq": 7,
        "event_id": "07" * 32,
        "member": "bb" * 32,
        "name": "echo",
        "kind": "message",
        "text": "words",
        "ts": 1,
        "bot": True,
    }


def test_what_a_bridge_says_is_marked_as_its_word() -> None:
    """The name is the one it gives, beside the network; no trick in either."""
    via = Via("irc\x1b[1m", "sue!u@h", "su\x07e")
    message = attrs.evolve(MESSAGE, via=via)
    made = event_record(make(events.MessageReceived, message=message), WHO)
    assert made is not None
    assert (made["name"], made["member"]) == ("sue", "bb" * 32)
    assert made["via"] == {"network": "irc[1m", "remote_id": "sue!u@h", "name": "sue"}


@pytest.mark.parametrize("network", ["\u200b", " \u202e\x07"])
def test_a_network_that_shows_nothing_is_marked_all_the_same(network: str) -> None:
    """Or who speaks there would pass for a member."""
    message = attrs.evolve(MESSAGE, via=Via(network, "sue!u@h", "Ana"))
    made = event_record(make(events.MessageReceived, message=message), WHO)
    assert made is not None
    assert made["via"]["network"] == "?"


def test_a_file_with_all_there_is() -> None:
    """Its description, reactions by name, what it answers."""
    message = attrs.evolve(
        MESSAGE,
        file=FileInfo("a.png", "image/png", 5),
        reply_to=EventId(b"\6" * 32),
        reactions=(("👍", (ANA, MemberId(b"\xcc" * 32))),),
        edited=True,
        mentions=(ANA,),
    )
    made = event_record(make(events.MessageReceived, message=message), WHO)
    assert made is not None
    assert made["kind"] == "file"
    assert made["file"] == {"name": "a.png", "type": "image/png", "size": 5}
    assert made["reactions"] == {"👍": ["Ana", "cc" * 32]}
    assert (made["reply_to"], made["edited"], made["mentions"]) == ("06" * 32, True, ["aa" * 32])


def test_what_was_taken_back_or_can_not_be_read() -> None:
    """Says so, and has no words."""
    redacted = attrs.evolve(MESSAGE, text="", redacted_by=ANA)
    made = event_record(make(events.MessageReceived, message=redacted), WHO)
    assert made is not None
    assert (made["redacted_by"], made["text"]) == ("aa" * 32, "")
    unreadable = attrs.evolve(MESSAGE, text="", unreadable="missing_key")
    made = event_record(make(events.MessageReceived, message=unreadable), WHO)
    assert made is not None
    assert (made["kind"], made["reason"]) == ("unreadable", "missing_key")


def test_saying_the_same_name_again_is_nothing_new() -> None:
    """Nobody is shown it."""
    assert event_record(make(events.NameChanged, before="new"), WHO) is None


@pytest.mark.parametrize("kind", list(AlarmKind))
def test_every_alarm_says_what_to_do(kind: AlarmKind) -> None:
    """Beside what happened."""
    made = event_record(make(Alarm, kind=kind), WHO)
    assert made is not None
    assert len(sentence(made)) > len(f"ALARM ({kind}): alarming") + 20


def test_what_is_void_or_said_again_is_shown_as_that() -> None:
    """To scripts, with the id that they may have kept, and to people."""
    made = void_record(MESSAGE, WHO)
    assert (made["void"], made["kind"], made["text"], made["seq"]) == (True, "message", "words", 7)
    assert "(void: " in shown(made)
    earlier = (EventId(b"\5" * 32), EventId(b"\6" * 32))
    message = attrs.evolve(MESSAGE, again=True, earlier=earlier)
    common: dict[str, Any] = {"room": MESSAGE.room, "seq": 9, "event_id": MESSAGE.event_id}
    common |= {"mid": BO, "ts": 1}
    again = events.MessageReceived(**common, message=message, again=True, earlier=earlier)
    record = event_record(again, WHO)
    assert record is not None
    assert (record["again"], record["first_id"]) == (True, earlier[0].hex())
    assert "(said again)" in shown(record)


def shown(fields: dict[str, Any]) -> str:
    return "\n".join(line.plain for line in Transcript(80).lines(fields))
