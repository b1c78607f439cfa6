"""Every client frame, every field, wrong in every way: a typed error and no state change.

The scene has one honest frame of every type that would be taken. Each test spoils one thing of
it: a field of the frame, a field of its signed record, the signature, the moment, the link.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
import pytest

from ofcd.protocol import frames, limits, records
from ofcd.protocol.codec import build, unbuild
from ofcd.protocol.codes import Code, Malformed
from ofcd.protocol.ids import PublicKey
from ofcd.themis.signed import peek
from tests.relay.world import (
    DAY,
    Person,
    World,
    admit_to,
    blob_named,
    digest,
    found_room,
    invite_named,
    keypair,
    proof_of,
)

OPEN, PENDING, ANSWERED, CONFIRMED = (invite_named(n) for n in ("open", "pend", "answ", "conf"))
BLOB: Final = blob_named("blob")
TYPED: Final = set(Code) - {Code.INTERNAL, Code.RATE_LIMITED, Code.TRY_AGAIN}


class Scene:
    """Ana's room, a member, and joiners at every stage."""

    def __init__(self) -> None:
        self.world = world = World()
        self.ana = ana = found_room(world)
        self.bo = admit_to(ana, "bo")
        self.cy = admit_to(ana, "cy")
        for invite in (OPEN, PENDING, ANSWERED, CONFIRMED):
            ana.do(ana.invite(invite))
        self.new, self.pending, self.answered, self.confirmed = (
            Person(world, name, ana.room) for name in ("n", "p", "a", "c")
        )
        self.join_pending = self._ask(self.pending, PENDING)
        self.join_answered = self._ask(self.answered, ANSWERED)
        self.answer = self._answer(self.join_answered)
        self.join_confirmed = self._ask(self.confirmed, CONFIRMED)
        self.confirm = self.confirmed.confirm(
            self.join_confirmed, self._answer(self.join_confirmed)
        )
        world.expect(frames.JoinStatus, self.confirmed.link, self.confirm)
        self.said = self.bo.say()
        self.asked = self.cy.key_request()
        world.expect(frames.Done, self.cy.link, self.asked)
        world.expect(frames.Done, self.bo.link, self.bo.blob_put(BLOB))
        self.founder = Person(world, "founder")
        self.fresh = world.open_link("ana")
        world.now += DAY // 2

    def code(self, person: Person, frame: frames.ClientFrame) -> str:
        """The code of the refusal; the rates recover before."""
        self.world.now += 10_000
        return self.world.code(person.link, frame)

    def _ask(self, joiner: Person, invite: Any) -> frames.Join:
        join = joiner.join(invite)
        self.world.expect(frames.JoinStatus, joiner.link, join)
        return join

    def _answer(self, join: frames.Join) -> frames.JoinAnswer:
        answer = self.ana.answer(join)
        self.world.expect(frames.Done, self.ana.link, answer)
        return answer


Made = tuple[Person, frames.ClientFrame]


def _with(frame: Any, **changes: Any) -> frames.ClientFrame:
    changed: frames.ClientFrame = attrs.evolve(frame, **changes)
    return changed


def _envelope(frame: Any) -> bytes:
    record: bytes = frame.record
    return record


SIGNED: Final[dict[str, Callable[..., Made]]] = {
    "create": lambda s, **f: (s.founder, s.founder.create(**f)),
    "attach": lambda s, **f: (s.bo, s.bo.attach(**f)),
    "post": lambda s, **f: (s.bo, s.bo.post(**f)),
    "redact": lambda s, **f: (
        s.bo,
        s.bo.post(b"", **({"kind": records.EventKind.REDACT, "target": s.said.event_id} | f)),
    ),
    "invite_open": lambda s, **f: (s.ana, s.ana.invite(invite_named("another"), **f)),
    "invite_close": lambda s, **f: (
        s.ana,
        s.ana.control(records.InviteClose, **({"invite_id": OPEN} | f)),
    ),
    "admit": lambda s, **f: (
        s.ana,
        s.ana.admit(s.confirmed, s.join_confirmed, s.confirm, **f),
    ),
    "rekey": lambda s, **f: (s.ana, s.ana.rekey(**f)),
    "rekey_boxed": lambda s, **f: (s.ana, s.ana.rekey_boxed(**f)),
    "leave": lambda s, **f: (s.bo, s.bo.leave(**f)),
    "grant": lambda s, **f: (
        s.ana,
        s.ana.control(records.Grant, **({"member": s.bo.mid, "role": records.Role.READONLY} | f)),
    ),
    "handover": lambda s, **f: (s.ana, s.ana.handover(s.bo, **f)),
    "join": lambda s, **f: (
        s.new,
        frames.Join(s.new.number(), s.new.join_request(f.pop("invite_id", OPEN), **f).envelope),
    ),
    "join_answer": lambda s, **f: (s.ana, s.ana.answer(s.join_pending, **f)),
    "join_confirm": lambda s, **f: (
        s.answered,
        s.answered.confirm(s.join_answered, s.answer, **f),
    ),
    "key_request": lambda s, **f: (s.bo, s.bo.key_request(**f)),
    "key_answer": lambda s, **f: (s.ana, s.ana.key_answer(s.asked, s.cy, **f)),
}
"""Frames with a signed record, of which keyword arguments change the fields before signing."""

PLAIN: Final[dict[str, Callable[[Scene], Made]]] = {
    "detach": lambda s: (s.bo, frames.Detach(1, s.bo.room)),
    "sync": lambda s: (s.bo, s.bo.sync(s.said.seq + 1, s.said.log)),
    "cursor": lambda s: (s.bo, frames.Cursor(s.bo.room, s.said.seq)),
    "chain_get": lambda s: (s.bo, frames.ChainGet(1, s.bo.room, 0)),
    "lookup": lambda s: (s.new, s.new.lookup(OPEN)),
    "signal": lambda s: (s.bo, s.bo.signal()),
    "blob_put": lambda s: (s.bo, s.bo.blob_put(BLOB, 1)),
    "blob_get": lambda s: (s.bo, s.bo.blob_get(BLOB, 0)),
    "blob_drop": lambda s: (s.bo, s.bo.blob_drop(BLOB)),
}
ALL: Final[dict[str, Callable[[Scene], Made]]] = {**SIGNED, **PLAIN}


def test_the_table_holds_every_client_frame() -> None:
    """All but HELLO, which opens the link, and PEER, which makes another one of it."""
    scene = Scene()
    made = {type(make(scene)[1]) for make in ALL.values()}
    assert made == set(frames.CLIENT_FRAMES.values()) - {frames.Hello, frames.Peer}


@pytest.mark.parametrize("name", ALL)
def test_each_honest_frame_is_taken(name: str) -> None:
    """The ground of what follows: unspoilt, it passes."""
    scene = Scene()
    person, frame = ALL[name](scene)
    answer = scene.world.send(person.link, frame)
    assert not isinstance(answer, frames.Failure), answer


# -- fields of the signed record -------------------------------------------------------------------

WRONG: Final[dict[object, Any]] = {
    records.Role: records.Role.CO_OWNER,
    records.EventKind: records.EventKind.BEAT,
    records.History: records.History.JOIN,
}
FREE: Final = {
    ("create", "nonce"),
    ("create", "policy"),
    ("create", "key_commitment"),
    ("create", "recovery_key"),
    ("create", "predecessor"),
    ("create", "enc_key"),
    ("post", "sid"),
    ("post", "kind"),
    ("redact", "sid"),
    ("redact", "target"),
    ("invite_open", "invite_id"),
    ("invite_open", "commit"),
    ("invite_open", "expires"),
    ("invite_open", "role"),
    ("invite_open", "caps"),
    ("invite_open", "history"),
    ("admit", "history_from"),
    ("rekey", "key_commitment"),
    ("rekey", "cell"),
    ("rekey_boxed", "key_commitment"),
    ("rekey_boxed", "reason"),
    ("grant", "role"),
    ("grant", "caps"),
    ("join", "enc_key"),
    ("join", "nonce"),
    ("join_answer", "cell"),
    ("join_confirm", "epoch"),
    ("join_confirm", "cell"),
    ("key_request", "nonce"),
}
"""Fields whose value is the signer's to choose, or that only members can check; and every `ts`."""


def _wrong_value(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, records.Seen):
        return records.Seen(value.seq, digest("another log"))
    if type(value) in WRONG:
        return WRONG[type(value)]
    if isinstance(value, records.Policy):
        return records.Policy(rotate_after=7)
    if isinstance(value, int):
        return value + 1
    if isinstance(value, bytes) and len(value) == 45:
        return PublicKey(keypair("someone else").public)
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    if isinstance(value, str):
        return value + "x"
    return value


def _spoilt(name: str, field: str, value: Any) -> Any:
    """A wrong value where `_wrong_value` has none: optional fields and lists."""
    special: dict[tuple[str, str], Any] = {
        ("create", "recovery_key"): PublicKey(keypair("recovery").public),
        ("create", "predecessor"): (digest("room"), digest("log")),
        ("post", "target"): digest("target"),
        ("invite_open", "caps"): (records.Cap.BOT,),
        ("invite_open", "admitters"): (digest("stranger"),),
        ("invite_open", "token_boxes"): ((digest("stranger"), b"box"),),
        ("admit", "caps"): (records.Cap.BOT,),
        ("rekey_boxed", "boxes"): (),
        ("rekey_boxed", "removed"): (digest("stranger"),),
        ("grant", "caps"): (records.Cap.BOT,),
        ("join", "boxes"): ((digest("stranger"), b"box"),),
    }
    return special.get((name, field), _wrong_value(value))


def _record_of(name: str, scene: Scene) -> records.Record:
    return peek(_envelope(SIGNED[name](scene)[1])).record


def _fields_of(name: str, scene: Scene) -> list[tuple[str, Any]]:
    """Each field of the record and a wrong value for it."""
    record = _record_of(name, scene)
    return [
        (f.name, _spoilt(name, f.name, getattr(record, f.name))) for f in attrs.fields(type(record))
    ]


def _is_free(name: str, field: str) -> bool:
    return field == "ts" or (name, field) in FREE


@pytest.mark.parametrize("name", SIGNED)
def test_every_field_of_a_record_counts(name: str) -> None:
    """Changed and signed anew the record is refused with a typed error, unless it is free."""
    scene = Scene()
    record = _record_of(name, scene)
    for field, wrong in _fields_of(name, scene):
        assert wrong != getattr(record, field), field
        if not _is_free(name, field):
            person, frame = SIGNED[name](scene, **{field: wrong})
            assert scene.code(person, frame) in TYPED, field


@pytest.mark.parametrize("name", SIGNED)
def test_the_free_fields_are_the_signers_to_choose(name: str) -> None:
    """What the relay can not judge it does not: the list of such fields is exact."""
    for field, wrong in _fields_of(name, Scene()):
        if _is_free(name, field):
            scene = Scene()
            person, frame = SIGNED[name](scene, **{field: wrong})
            answer = scene.world.send(person.link, frame)
            assert not isinstance(answer, frames.Failure), (field, answer)


@pytest.mark.parametrize("name", SIGNED)
def test_every_signature_counts(name: str) -> None:
    """The same record, signed by somebody else: refused. ATTACH does not even say why."""
    scene = Scene()
    person, frame = SIGNED[name](scene)
    forged = Person(scene.world, "eve").signed(peek(_envelope(frame)).record)
    wanted = Code.NOT_FOUND if name == "attach" else Code.BAD_SIGNATURE
    assert scene.code(person, _with(frame, record=forged.envelope)) == wanted


@pytest.mark.parametrize("name", SIGNED)
def test_every_kind_of_record_has_its_frame(name: str) -> None:
    """A record that is right elsewhere, and junk of every kind, is no record here."""
    scene = Scene()
    person, frame = SIGNED[name](scene)
    others = [make(scene)[1] for make in SIGNED.values()]
    elsewhere = [_envelope(other) for other in others if type(other) is not type(frame)]
    junk = [b"", b"junk", b"\x26\x04\x26\x20" * 20, _envelope(frame)[:-40]]
    for record in (*elsewhere, *junk):
        assert scene.code(person, _with(frame, record=record)) == Code.BAD_RECORD


# -- fields of the frame -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_every_field_of_a_frame_is_needed(name: str) -> None:
    """A frame without one of its fields is malformed: it never reaches the core."""
    _, frame = ALL[name](Scene())
    cls = type(frame)
    parts = {f.name: getattr(frame, f.name) for f in attrs.fields(cls) if "part" in f.metadata}
    fields = unbuild(frame)
    assert build(cls, dict(fields), **parts) == frame
    for missing in fields:
        if attrs.fields_dict(cls)[missing].default is attrs.NOTHING:
            with pytest.raises(Malformed):
                build(cls, {k: v for k, v in fields.items() if k != missing}, **parts)


WRONG_FRAMES: Final[dict[str, dict[str, Any]]] = {
    "detach": {"rid": 0},
    "sync": {"rid": 0, "room": digest("x"), "start": 10_000, "log": digest("x")},
    "chain_get": {"rid": 0, "room": digest("x")},
    "lookup": {
        "rid": 0,
        "room": digest("x"),
        "invite_id": invite_named("x"),
        "proof": proof_of(PENDING),
    },
    "post": {"rid": 0, "room": digest("x"), "cell": b"other"},
    "redact": {"rid": 0, "room": digest("x"), "cell": b"other"},
    "rekey": {"rid": 0, "room": digest("x"), "boxes": (b"box",)},
    "rekey_boxed": {"rid": 0, "room": digest("x"), "boxes": (b"box",)},
    "create": {"rid": 0},
    "attach": {"rid": 0},
    "join": {"rid": 0},
    "join_answer": {"rid": 0, "room": digest("x")},
    "join_confirm": {"rid": 0, "room": digest("x")},
    "key_request": {"rid": 0, "room": digest("x")},
    "key_answer": {"rid": 0, "room": digest("x"), "box": b"other"},
    "blob_put": {
        "rid": 0,
        "room": digest("x"),
        "index": 2,
        "count": limits.BLOB_CHUNKS + 1,
        "chunk": b"",
    },
    "blob_get": {"rid": 0, "room": digest("x"), "blob": blob_named("x"), "index": 9},
}


@pytest.mark.parametrize("name", WRONG_FRAMES)
def test_every_field_of_a_frame_counts(name: str) -> None:
    """Wrong in the frame itself: refused, unchanged. A request without a number gets no answer."""
    scene = Scene()
    person, frame = ALL[name](scene)
    for field, wrong in WRONG_FRAMES[name].items():
        spoilt = _with(frame, **{field: wrong})
        if field == "rid":
            before = scene.world.snapshot()
            assert scene.world.decide(person.link, spoilt).facts == ()
            assert scene.world.snapshot() == before
        else:
            assert scene.code(person, spoilt) in TYPED, field


# -- out of order and replayed ---------------------------------------------------------------------

SILENT: Final = {"cursor", "signal"}
UNATTACHED: Final = {"create", "attach", "detach", "lookup", "join", "join_confirm"}


@pytest.mark.parametrize("name", sorted(set(ALL) - UNATTACHED))
def test_nothing_of_a_room_is_done_before_attaching(name: str) -> None:
    """On a link that has not attached: `not_attached`, where there is an answer at all."""
    scene = Scene()
    _, frame = ALL[name](scene)
    before = scene.world.snapshot()
    decision = scene.world.decide(scene.fresh, frame)
    answer = scene.world.answer_in(decision.effects, scene.fresh, frame)
    assert decision.facts == ()
    assert scene.world.snapshot() == before
    assert isinstance(answer, frames.Failure) == (name not in SILENT)
    assert answer is None or answer.code == Code.NOT_ATTACHED  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ALL)
def test_a_replay_changes_nothing(name: str) -> None:
    """The same bytes again: the same answer, or a typed refusal; never a second effect."""
    scene = Scene()
    person, frame = ALL[name](scene)
    first = scene.world.send(person.link, frame)
    before = scene.world.snapshot()
    decision = scene.world.decide(person.link, frame)
    # What to drop is the store's to know, and there is nothing of it left.
    assert decision.facts == () or name == "blob_drop"
    assert scene.world.snapshot() == before
    answer = scene.world.answer_in(decision.effects, person.link, frame)
    if isinstance(answer, frames.Failure):
        assert answer.code in TYPED
    else:
        assert answer == first


@pytest.mark.parametrize("name", sorted(set(SIGNED) - UNATTACHED))
def test_a_captured_record_is_worth_nothing_to_others(name: str) -> None:
    """Another member who sends somebody's right record is refused."""
    scene = Scene()
    _, frame = SIGNED[name](scene)
    assert scene.code(scene.cy, frame) == Code.FORBIDDEN
