"""tests/vectors: Python does what they say. Other languages read the same files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ofcd.e2e import contexts
from ofcd.e2e.attachments import FileOpener, safe_file_name
from ofcd.e2e.bodies import BUCKETS, FileRef, Text, Unknown, decode_body, encode_body, kind_of
from ofcd.e2e.boxes import AnswerBox, JoinBox, KeyBox, Party, TokenBox, open_box
from ofcd.e2e.chain import apply_verified, verify_chain
from ofcd.e2e.comparing import normal_phrase
from ofcd.e2e.errors import BoxRejected, Fault, LinkInvalid, LogBroken, PhraseTooShort
from ofcd.e2e.invites import parse_link
from ofcd.e2e.joining import Joining, check_response
from ofcd.e2e.keys import EpochKeys, MemberKeys
from ofcd.e2e.log import RoomLog, Senders
from ofcd.e2e.names import display_name
from ofcd.e2e.signals import SignalKind, open_signal
from ofcd.e2e.trust import check_log_head
from ofcd.e2e.view import View
from ofcd.protocol.codec import build
from ofcd.protocol.codes import Malformed, ProtocolError
from ofcd.protocol.frames import (
    decode_client_frame,
    decode_relay_frame,
    encode_frame,
    split_frames,
)
from ofcd.protocol.ids import (
    EventId,
    Hash32,
    MemberId,
    RoomId,
    b64decode,
    b64encode,
    check_public_key,
    event_id_of,
    invite_commitment,
    invite_proof,
    log_hash,
    tagged_hash,
)
from ofcd.protocol.records import decode_record, encode_record
from ofcd.protocol.room import RoomState
from ofcd.themis import KeyPair, unseal, verify
from ofcd.themis.signed import peek
from tests.vectors.making import chain as chain_maker
from tests.vectors.making.moves import hub_fields
from tools import make_vectors

FOLDER = Path(__file__).parent.parent / "vectors"


def load(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def cases(name: str, *path: str) -> Any:
    """The cases of one list, each under a name that says which it is."""
    rows = load(name)
    for key in path:
        rows = rows[key]
    return [pytest.param(row, id=f"{path[-1]}-{at}") for at, row in enumerate(rows)]


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


def pair(found: dict[str, str]) -> KeyPair:
    return KeyPair(raw(found["private"]), raw(found["public"]))


def member(name: str) -> MemberKeys:
    found = load("keys")["members"][name]
    return MemberKeys(sign=pair(found["sign"]), encrypt=pair(found["encrypt"]))


def code_of(decode: Any, data: Any) -> str:
    with pytest.raises(ProtocolError) as caught:
        decode(data)
    return caught.value.code


# -- the files themselves ------------------------------------------------------------------------


@pytest.mark.parametrize("name", make_vectors.DERIVED)
def test_the_files_are_what_the_code_makes(name: str) -> None:
    """Nobody changed the protocol without `make vectors`, nor a file by hand."""
    made = make_vectors.render(make_vectors.DERIVED[name](load("keys")))
    assert made == (FOLDER / name).read_text("utf-8"), "run `make vectors`"


def test_no_file_is_left_out() -> None:
    """Each file of vectors is read by a test."""
    made = {*make_vectors.DERIVED, *make_vectors.MADE_ONCE, "keys.json", "themis.json"}
    assert {path.name for path in FOLDER.glob("*.json")} <= made


# -- ids -----------------------------------------------------------------------------------------


def fields_of(case: dict[str, Any]) -> list[bytes | int]:
    return [field if isinstance(field, int) else raw(field) for field in case["fields"]]


@pytest.mark.parametrize("case", [*cases("ids", "hash"), *cases("ids", "named")])
def test_hashes(case: dict[str, Any]) -> None:
    """H and every id made with it."""
    assert tagged_hash(case["tag"], *fields_of(case)).hex() == case["hash"]
    assert case.get("is", case["hash"]) == case["hash"]


def test_the_running_hash() -> None:
    """L_0 is the room, each L follows from the one before."""
    vector = load("ids")["log"]
    log = Hash32(raw(vector["room"]))
    for entry in vector["entries"]:
        log = log_hash(log, entry["seq"], EventId(raw(entry["event_id"])))
        assert log.hex() == entry["log"]


def test_base64url() -> None:
    """One text for each sequence of bytes, and nothing else."""
    vector = load("ids")["base64url"]
    for case in vector["valid"]:
        assert b64encode(raw(case["bytes"])) == case["text"]
        assert b64decode(case["text"]) == raw(case["bytes"])
    for case in vector["invalid"]:
        assert code_of(b64decode, case["text"]) == case["code"]


def test_public_keys() -> None:
    """The canonical form, and no other."""
    vector = load("ids")["public_keys"]
    for key in vector["valid"]:
        assert check_public_key(raw(key)).hex() == key
    for case in vector["invalid"]:
        assert code_of(check_public_key, raw(case["key"])) == case["code"]


# -- records, frames -----------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("records", "valid"))
def test_records(case: dict[str, Any]) -> None:
    """Each payload decodes, encodes to the same fields, and has its id."""
    payload = case["payload"].encode("utf-8")
    record = decode_record(payload)
    head, _, fields = encode_record(record).partition(b"\n")
    assert head == f"OFC1:{case['type']}".encode()
    assert json.loads(fields) == case["fields"]
    assert event_id_of(payload).hex() == case["event_id"]


@pytest.mark.parametrize("case", cases("records", "invalid"))
def test_records_refused(case: dict[str, Any]) -> None:
    """Each wrong payload has its code."""
    assert code_of(decode_record, raw(case["payload"])) == case["code"]


@pytest.mark.parametrize("side", ["client", "relay"])
def test_frames(side: str) -> None:
    """Each frame decodes, and encodes to the same bytes."""
    decode = decode_client_frame if side == "client" else decode_relay_frame
    for case in load("frames")[side]:
        data = raw(case["bytes"])
        frame: Any = decode(data)
        assert encode_frame(frame) == data
        parts = [json.dumps(case["head"]).encode(), *map(raw, case["parts"])]
        joined = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        assert decode(joined) == frame


@pytest.mark.parametrize("case", cases("frames", "invalid"))
def test_frames_refused(case: dict[str, Any]) -> None:
    """Each wrong frame has its code."""
    assert code_of(decode_client_frame, raw(case["bytes"])) == case["code"]


def test_a_link_message() -> None:
    """A frame number, then the frames."""
    vector = load("frames")["link_message"]
    data = raw(vector["bytes"])
    assert int.from_bytes(data[:8], "big") == vector["fseq"]
    assert [frame.hex() for frame in split_frames(data[8:])] == vector["frames"]


# -- members -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("contexts", "contexts"))
def test_contexts(case: dict[str, Any]) -> None:
    """What each kind of seal is bound to."""
    assert tagged_hash(case["tag"], *fields_of(case)).hex() == case["context"]


def test_every_context_has_a_vector() -> None:
    """No kind of seal is without one."""
    tags = {case["tag"] for case in load("contexts")["contexts"]}
    assert tags == {"msg", "rekey", "jr-proof", "jr", "join", "conf", "att", "sig"}
    assert len(contexts.__all__) == len(tags)


@pytest.mark.parametrize("case", cases("bodies", "valid"))
def test_bodies(case: dict[str, Any]) -> None:
    """Each body decodes, and encodes to the same JSON, padded to the same size."""
    body = decode_body(json.dumps(case["json"]).encode())
    encoded = encode_body(body)
    assert json.loads(encoded) == case["json"]
    assert len(encoded) == case["padded"]
    assert encoded.endswith(b" ") or len(encoded.rstrip()) == case["padded"]
    assert kind_of(body.content).value == case["kind"]
    assert case["padded"] in load("bodies")["buckets"] == list(BUCKETS)


def test_bodies_unknown_and_refused() -> None:
    """A type from the future is Unknown; each wrong body has its code."""
    vector = load("bodies")
    for case in vector["unknown"]:
        content = decode_body(case["json"].encode()).content
        assert isinstance(content, Unknown)
        assert content.type == case["type"]
    for case in vector["invalid"]:
        assert code_of(decode_body, case["json"].encode()) == case["code"]


def test_names() -> None:
    """Names shown, and names saved under."""
    vector = load("names")
    for case in vector["display"]:
        assert display_name(case["raw"]) == case["shown"]
    for case in vector["file"]:
        assert safe_file_name(case["raw"]) == case["saved"]


def test_invites() -> None:
    """Both forms of each link, and what is wrong with the others."""
    vector = load("invites")
    for case in vector["valid"]:
        code = parse_link(case["link"])
        assert parse_link(case["text"]) == code
        assert code.relay_url == case["relay_url"]
        for name in ("relay_id", "room", "invite_id", "token", "inviter", "proof"):
            assert getattr(code, name).hex() == case[name]
        assert (code.text, code.link()) == (case["text"], case["link"])
    for case in vector["invalid"]:
        with pytest.raises(LinkInvalid, match=re.escape(case["sentence"])):
            parse_link(case["text"])


@pytest.mark.parametrize("case", cases("comparing", "phrases"))
def test_phrases(case: dict[str, Any]) -> None:
    """What two people may type differently."""
    assert normal_phrase(case["typed"]) == case["compared"]


def test_phrases_too_short() -> None:
    """Refused before anything is sent."""
    for phrase in load("comparing")["too_short"]:
        with pytest.raises(PhraseTooShort):
            normal_phrase(phrase)


@pytest.mark.parametrize("case", cases("comparing", "secrets"))
def test_compared_secrets(case: dict[str, Any]) -> None:
    """The fields as they are named, in their order, and the phrase as it is compared."""
    initiator, responder = member(case["initiator"]), member(case["responder"])
    fields: list[bytes] = [
        *map(raw, (case["room"], initiator.mid.hex(), responder.mid.hex(), case["relay_id"])),
        *(raw(case["run"]), initiator.enc_key, responder.enc_key),
        normal_phrase(case["phrase"]).encode(),
    ]
    assert tagged_hash("cmp", *fields).hex() == case["secret"]


# -- sealed once ---------------------------------------------------------------------------------


def test_cells() -> None:
    """Cells of another day open, with their context only."""
    key = raw(load("keys")["symmetric"])
    for case in load("sealed")["cells"]:
        assert unseal(key, raw(case["sealed"]), raw(case["context"])) == raw(case["plaintext"])


_BOXES: dict[str, Any] = {"key": KeyBox, "answer": AnswerBox, "inv": TokenBox, "join": JoinBox}


@pytest.mark.parametrize("case", cases("sealed", "boxes"))
def test_boxes(case: dict[str, Any]) -> None:
    """Boxes of another day open for their addressee, as their purpose, and for no other."""
    room, cls = RoomId(raw(case["room"])), _BOXES[case["purpose"]]
    sender, to = member(case["from"]), member(case["to"])
    ana, bo = Party(sender.mid, sender.enc_key), Party(to.mid, to.enc_key)
    assert open_box(to, ana, room, cls, raw(case["box"])) == build(cls, case["fields"])
    for other in set(_BOXES.values()) - {cls}:
        with pytest.raises(BoxRejected):
            open_box(to, ana, room, other, raw(case["box"]))
    with pytest.raises(BoxRejected):
        open_box(sender, bo, room, cls, raw(case["box"]))


def test_signatures() -> None:
    """Every form of a signature verifies, and gives the one payload and the one id."""
    vector = load("sealed")["signatures"]
    for case in vector:
        payload = verify(member(case["by"]).sign_key, raw(case["envelope"]))
        assert payload == case["payload"].encode()
    assert len({peek(raw(case["envelope"])).event_id for case in vector}) == 1
    assert len({case["envelope"] for case in vector}) == len(vector)


def test_a_signal() -> None:
    """A signal of another day opens at its time."""
    case = load("sealed")["signal"]
    keys = EpochKeys(Hash32(bytes(32)), {case["epoch"]: raw(load("keys")["symmetric"])})
    room, mid = RoomId(raw(case["room"])), MemberId(raw(case["mid"]))
    signal = open_signal(room, case["epoch"], keys, mid, raw(case["cell"]), case["ts"])
    assert (signal.kind, signal.ts) == (SignalKind(case["kind"]), case["ts"])


def test_a_file() -> None:
    """A file of another day opens, whole."""
    case = load("sealed")["file"]
    opener = FileOpener(RoomId(raw(case["room"])), build(FileRef, case["ref"]))
    content = b"".join(opener.open(raw(chunk)) for chunk in case["chunks"])
    opener.finish()
    assert content == raw(case["content"])


# -- a whole room --------------------------------------------------------------------------------


CHAIN = load("chain")
ROOM = RoomId(raw(CHAIN["room"]))
RECORDS = [(row["seq"], raw(row["record"])) for row in CHAIN["log"] if "cell" not in row]


def view_of(name: str, start: int, keys: EpochKeys) -> View:
    """The view of a member who reads from entry `start` on."""
    before = CHAIN["log"][start - 1]
    log = RoomLog.resumed(ROOM, start - 1, Hash32(raw(before["log"])))
    state = verify_chain(ROOM, RECORDS, before=start)
    return View(member(name), state, keys, log, Senders(ROOM))


def read_on(view: View) -> tuple[View, list[tuple[str, str]]]:
    """Take the rest of the log; returns what was heard, by whom."""
    heard = []
    for row in CHAIN["log"][view.log.seq + 1 :]:
        box = row.get("boxes", {}).get(view.mine.mid.hex())
        cell = raw(row.get("cell", ""))
        taken = view.take(row["seq"], raw(row["record"]), cell, box and raw(box))
        view = taken.view
        assert view.log.log.hex() == row["log"]
        if taken.opened and isinstance(taken.opened.content, Text):
            heard.append((taken.opened.event.mid.hex(), taken.opened.content.text))
    return view, heard


def first_keys(epoch: int) -> EpochKeys:
    nonce = verify_chain(ROOM, RECORDS[:1]).nonce
    return EpochKeys(nonce, {epoch: raw(CHAIN["keys"][str(epoch)])})


def test_a_chain_leads_to_its_state() -> None:
    """The control log alone gives the state, down to the last field, and the safety numbers."""
    state = verify_chain(ROOM, RECORDS)
    assert chain_maker.state_fields(state) == CHAIN["state"]
    assert chain_maker.trust_fields(state) == CHAIN["trust"]


def test_a_chain_is_read_by_its_founder() -> None:
    """From the first key alone the founder's view follows every rotation and hears every word."""
    view, heard = read_on(view_of("root", 1, first_keys(0)))
    assert heard == [tuple(row) for row in CHAIN["heard"]]
    assert {str(e): k.hex() for e, k in view.keys.keys.items()} == CHAIN["keys"]
    assert chain_maker.state_fields(view.state) == CHAIN["state"]


@pytest.mark.parametrize(("name", "last"), [("bo", "and Bo"), ("ana", "Bo does not read this")])
def test_20_a_chain_closes_behind_those_who_left(name: str, last: str) -> None:
    """Test 20: with its own keys and the whole log, the evicted and the departed hear no more."""
    joined = next(
        row["seq"]
        for row in CHAIN["log"]
        if row["type"] == "admit" and _admitted(row) == member(name).mid.hex()
    )
    epoch = verify_chain(ROOM, RECORDS, before=joined + 1).epoch
    _, heard = read_on(view_of(name, joined + 1, first_keys(epoch)))
    assert heard[-1][1] == last


def _admitted(row: dict[str, Any]) -> str:
    record: Any = peek(raw(row["record"])).record
    return tagged_hash("mid", record.sign_key).hex()


@pytest.mark.parametrize("case", cases("chain", "refused"))
def test_a_chain_refuses_what_may_not_follow(case: dict[str, Any]) -> None:
    """Each record that may not stand at the end of this log has its code."""
    state = verify_chain(ROOM, RECORDS)
    assert (
        code_of(lambda e: apply_verified(state, e, state.seq + 9), raw(case["record"]))
        == (case["code"])
    )


@pytest.mark.parametrize("case", cases("chain", "joins"))
def test_joins(case: dict[str, Any]) -> None:
    """With J and the link, each recorded JOIN_RESP opens, and the chain bears it out."""
    code = parse_link(case["link"])
    commit = invite_commitment(ROOM, code.invite_id, invite_proof(raw(case["token"])))
    opened: Any = next(r for _, e in RECORDS for r in [peek(e).record] if _opens(r, code.invite_id))
    assert opened.commit == commit
    joining = Joining(code, member(case["joiner"]), raw(case["J"]), peek(raw(case["request"])))
    joined = check_response(joining, RECORDS, raw(case["response"]))
    assert joined.keys.get(joined.welcome.epoch).hex() == (CHAIN["keys"][str(joined.welcome.epoch)])
    confirm: Any = peek(raw(case["confirm"])).record
    mine: Any = joined.confirm.record
    assert confirm.response_hash == mine.response_hash


def _opens(record: Any, invite_id: bytes) -> bool:
    return getattr(record, "invite_id", None) == invite_id and hasattr(record, "commit")


def test_malformed_is_the_only_refusal_of_a_codec() -> None:
    """Records and bodies are refused as Malformed; only a room's state refuses as Refused."""
    for case in load("records")["invalid"]:
        with pytest.raises(Malformed):
            decode_record(raw(case["payload"]))


MOVES = load("moves")


def moved_to(before: int | None = None) -> RoomState:
    log = [(row["seq"], raw(row["record"])) for row in MOVES["log"]]
    return verify_chain(RoomId(raw(MOVES["room"])), log, before=before)


def test_a_room_that_was_moved_names_its_hubs() -> None:
    state = moved_to()
    assert chain_maker.state_fields(state) | {"hubs": hub_fields(state)} == MOVES["state"]
    assert state.hub.hex() == MOVES["state"]["hubs"][-1]["relay_id"]
    assert (state.invites, state.boxed_due) == ({}, True)


@pytest.mark.parametrize("case", cases("moves", "refused"))
def test_a_room_is_not_moved_by_what_may_not_stand_there(case: dict[str, Any]) -> None:
    """By root alone, behind what it has seen, to a relay that has a member, in the next term."""
    seq = case["seq"] + (case["code"] == "conflict")
    with pytest.raises(ProtocolError) as caught:
        apply_verified(moved_to(seq), raw(case["record"]), seq)
    assert caught.value.code == case["code"]


@pytest.mark.parametrize("case", cases("moves", "heads"))
def test_a_head_counts_of_the_hub_of_its_time(case: dict[str, Any]) -> None:
    """A hub of before has nothing to say of what came after it, nor the next one of before."""
    key = check_public_key(raw(case["key"]))
    if case["counts"]:
        check_log_head(moved_to(), key, raw(case["record"]))
        return
    with pytest.raises(LogBroken) as caught:
        check_log_head(moved_to(), key, raw(case["record"]))
    assert caught.value.fault is Fault.BAD_HEAD
