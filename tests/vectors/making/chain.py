"""chain.json: a small room from GENESIS on, and what every implementation must make of it."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from ofcd.compliance.p256 import off_curve_key
from ofcd.e2e.bodies import Text
from ofcd.e2e.controls import make_grant, make_leave
from ofcd.e2e.epochs import make_boxed_rekey
from ofcd.e2e.keys import MemberKeys
from ofcd.e2e.trust import (
    fingerprint,
    relay_fingerprint,
    room_safety_number,
    safety_number,
    short_code,
)
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import PublicKey, relay_id_of
from ofcd.protocol.records import Cap, Leave, Policy, RekeyBoxed, Role, UpdateKey
from ofcd.protocol.room import RoomState
from ofcd.themis.signed import SignedRecord, peek, sign_record
from tests.e2e.world import NOW, Person, World, found_world, renew
from tests.vectors.making.common import Keys, member, relay_pair


def make(keys: Keys) -> dict[str, Any]:
    """The content of chain.json."""
    relay_id = relay_id_of(PublicKey(relay_pair(keys).public))
    world = found_world(Policy(rotate_after=50), relay_id, member(keys, "root"))
    joins = _play(world, keys)
    state = world.root.view.state
    return {
        "about": "A room's whole log: control records and events with their cells and boxes, the "
        "running hash after each, and the state at the end. `keys` are the room keys by epoch; "
        "members' own keys are those of keys.json.",
        "room": world.relay.room.hex(),
        "relay_id": relay_id.hex(),
        "keys": {str(epoch): key.hex() for epoch, key in world.root.view.keys.keys.items()},
        "log": _entries(world),
        "heard": [[t.opened.body.mid.hex(), _words(t)] for t in world.root.taken if t.opened],
        "state": state_fields(state),
        "refused": _refused(world, keys),
        "joins": joins,
        "trust": trust_fields(state),
    }


def _play(world: World, keys: Keys) -> list[dict[str, str]]:
    root, joins = world.root, []
    world.say(root, "is anybody here?")
    ana, join = _join(world, keys, "ana")
    joins.append(join)
    world.say(ana, "yes, Ana")
    world.rotate(root)
    view = root.view
    made = make_grant(
        view.state, root.mine, view.seen, NOW, member=ana.mid, role=Role.CO_OWNER, caps=[Cap.ADMIT]
    )
    world.control(made)
    bo, join = _join(world, keys, "bo")
    joins.append(join)
    cy, join = _join(world, keys, "cy", caps=(Cap.BOT, Cap.NO_FILES, Cap("of-a-later-version")))
    joins.append(join)
    world.say(bo, "and Bo")
    world.evict(ana, bo)
    world.say(cy, "Bo does not read this")
    renew(world, ana)
    world.rotate_boxed(ana)
    world.control(make_leave(ana.view.state, ana.mine, ana.view.seen, NOW))
    renew(world, cy)
    world.rotate_boxed(root)
    world.say(root, "nor Ana this")
    return joins


def _join(
    world: World, keys: Keys, name: str, caps: tuple[Cap, ...] = ()
) -> tuple[Person, dict[str, str]]:
    root = world.root
    asked = world.ask(root, mine=member(keys, name), caps=caps)
    answered, joined = world.respond(root, asked)
    person = world.finish_join(name, root, asked)
    return person, {
        "joiner": name,
        "admitter": "root",
        "link": asked.invite.code.link(),
        "token": asked.invite.code.token.hex(),
        "J": asked.joining.join_key.hex(),
        "request": asked.joining.request.envelope.hex(),
        "response": answered.response.envelope.hex(),
        "confirm": joined.confirm.envelope.hex(),
    }


def _words(taken: Any) -> str:
    content: Text = taken.opened.content
    return content.text


def _entries(world: World) -> list[dict[str, Any]]:
    rows = []
    for seq, entry in enumerate(world.relay.entries):
        signed = peek(entry.envelope)
        row: dict[str, Any] = {
            "seq": seq,
            "type": signed.payload[5:].partition(b"\n")[0].decode(),
            "record": entry.envelope.hex(),
            "event_id": signed.event_id.hex(),
            "log": world.relay.hash_at(seq).hex(),
        }
        if entry.cell:
            row["cell"] = entry.cell.hex()
        if entry.boxes:
            row["boxes"] = {mid.hex(): box.hex() for mid, box in entry.boxes.items()}
        rows.append(row)
    return rows


def state_fields(state: RoomState) -> dict[str, Any]:
    """What the control log says at its end, as JSON."""
    return {
        "seq": state.seq,
        "ctl": state.ctl.hex(),
        "epoch": state.epoch,
        "epoch_seq": state.epoch_seq,
        "key_commitment": state.key_commitment.hex(),
        "root": state.root.hex(),
        "members": [
            {
                "mid": m.mid.hex(),
                "sign_key": m.sign_key.hex(),
                "enc_key": m.enc_key.hex(),
                "first_enc_key": m.first_enc_key.hex(),
                "renewals": m.renewals,
                "role": m.role.value,
                "caps": sorted(m.caps),
                "joined_seq": m.joined_seq,
                "history_from": m.history_from,
            }
            for m in state.members.values()
        ],
        "departed": {mid.hex(): code.value for mid, code in state.departed.items()},
        "sponsors": {mid.hex(): sponsor.hex() for mid, sponsor in state.sponsors.items()},
        "invites": [invite.hex() for invite in state.invites],
        "boxed_due": state.boxed_due,
        "routine_rekeys": state.routine_rekeys,
        "closed": state.closed,
    }


def trust_fields(state: RoomState) -> dict[str, Any]:
    """The numbers that people compare, for the first two members."""
    one, two = list(state.members.values())[:2]
    return {
        "members": [one.mid.hex(), two.mid.hex()],
        "safety_number": safety_number(state, one, two),
        "short_code": short_code(state, two, one),
        "room_safety_number": room_safety_number(state),
        "fingerprint": fingerprint(one),
        "relay_fingerprint": relay_fingerprint(state.relay_id),
    }


def _refused(world: World, keys: Keys) -> list[dict[str, str]]:
    """Records that may not follow the log's end."""
    root = world.root
    view, bo = root.view, member(keys, "bo")
    leave: Any = make_leave(view.state, world.people[3].mine, view.seen, NOW).record
    rekey: Any = make_boxed_rekey(view.state, root.mine, view.seen, NOW).signed.record
    assert isinstance(rekey, RekeyBoxed)
    cy = world.people[3].mine
    taken = UpdateKey(**_header(leave), enc_key=root.mine.enc_key)
    cases: list[tuple[str, MemberKeys, Any, Code]] = [
        ("signed by another member", root.mine, leave, Code.BAD_SIGNATURE),
        ("signed by one who was evicted", bo, evolve(leave, mid=bo.mid), Code.NOT_FOUND),
        ("of another room", cy, evolve(leave, room=bytes(32)), Code.NOT_FOUND),
        ("on an older head", cy, evolve(leave, prev=bytes(32)), Code.CONFLICT),
        ("a rotation by a plain member", cy, evolve(rekey, mid=cy.mid), Code.FORBIDDEN),
        ("a box list without a member", root.mine, _short(rekey), Code.BOX_LIST_MISMATCH),
        ("an epoch skipped", root.mine, evolve(rekey, epoch=rekey.epoch + 1), Code.EPOCH_STALE),
        ("a key that another member has", cy, taken, Code.BAD_KEY),
        ("a key that it came with", cy, evolve(taken, enc_key=_first_key(world)), Code.BAD_KEY),
        (
            "a key off the curve",
            cy,
            evolve(taken, enc_key=PublicKey(off_curve_key())),
            Code.BAD_KEY,
        ),
        ("another's key renewed", cy, evolve(taken, mid=root.mid), Code.BAD_SIGNATURE),
        (
            "root leaves",
            root.mine,
            evolve(leave, mid=root.mid),
            Code.ROOT_MUST_HAND_OVER,
        ),
    ]
    made = [(why, sign_record(by.sign.private, record), code) for why, by, record, code in cases]
    again = peek(world.relay.entries[view.state.seq].envelope)
    made.append(("the last record again", again, Code.CONFLICT))
    return [_refused_fields(why, signed, code) for why, signed, code in made]


def _header(record: Leave) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ("v", "room", "mid", "prev", "seen", "ts")}


def _first_key(world: World) -> PublicKey:
    """The one that Cy, who has renewed it, was admitted with."""
    cy = world.people[3]
    assert cy.mine.enc_key != cy.mine.others[0].public
    return PublicKey(cy.mine.others[0].public)


def _short(rekey: RekeyBoxed) -> RekeyBoxed:
    return evolve(rekey, boxes=rekey.boxes[:1])


def _refused_fields(why: str, signed: SignedRecord, code: Code) -> dict[str, str]:
    return {"why": why, "record": signed.envelope.hex(), "code": code.value}
