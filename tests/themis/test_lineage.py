"""A relay's keys: what is followed, what is refused, and what is proof of a second successor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ofcd.protocol import limits
from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.ids import Hash32, PublicKey, RelayId, RoomId
from ofcd.protocol.records import LogHead
from ofcd.themis import KeyPair
from ofcd.themis import lineage as module
from ofcd.themis.lineage import Lineage, TwoSuccessors, succeed
from ofcd.themis.signed import SignedRecord, open_signed, sign_record
from tests.themis.successions import (
    NOW,
    first,
    keys,
    line,
    next_key,
    public,
    signed_anew,
    statement,
)
from tests.vectors.making.successions import outcome

A, B, C, D, OTHER = keys(5)
AB = line(A, B)
ABC = succeed(AB, B, C, NOW)


def test_who_knows_the_id_alone_follows_to_the_last_key() -> None:
    """The id stays; the statements prove each key, whoever shows them; each step is the next."""
    for known in (first(A), AB, ABC):
        assert known.proven(public(C), ABC.statements) == ABC
    assert ABC.relay_id == first(A).relay_id
    assert [next_key(raw) for raw in ABC.statements] == [public(B), public(C)]
    assert Lineage.first_seen(public(C), ABC.statements) == ABC
    assert Lineage.first_seen(public(A), ()) == first(A)
    assert Lineage.recalled(ABC.relay_id, ABC.statements) == ABC
    assert all(ABC.had(public(key)) for key in (A, B, C))
    assert not ABC.had(public(D))
    assert max(map(len, ABC.statements)) < limits.SUCCESSION_BYTES * 3 / 4, "docs: about 720 bytes"


def test_a_key_that_was_replaced_is_not_gone_back_to() -> None:
    """Neither without a statement, nor with an older part of them: whoever knew more stays."""
    for key, shown in ((A, ()), (B, AB.statements), (A, AB.statements), (B, ABC.statements)):
        with pytest.raises(Refused, match="a key that it has replaced"):
            ABC.proven(public(key), shown)
    assert ABC.followed(AB.statements) == ABC
    assert ABC.proven(public(C), ()) == ABC, "the key is what counts, whatever is shown"


def test_the_same_said_twice_is_one_statement() -> None:
    """Signatures differ each time: what is compared is what was said; the first one is kept."""
    again = signed_anew(A, AB.statements[0])
    assert again != AB.statements[0]
    assert AB.followed((again,)) == AB
    assert AB.proven(public(C), (again, ABC.statements[1])).statements[0] == AB.statements[0]


def test_what_is_known_costs_no_verification_when_it_is_said_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever has the old keys can sign the same line as often as it likes."""
    verified: list[bytes] = []

    def count(key: PublicKey, raw: bytes) -> SignedRecord:
        verified.append(raw)
        return open_signed(key, raw)

    monkeypatch.setattr(module, "open_signed", count)
    anew = tuple(signed_anew(*one) for one in zip((A, B), ABC.statements, strict=True))
    assert ABC.followed(anew) is ABC
    assert verified == []
    assert AB.followed(anew).keys == ABC.keys
    assert len(verified) == 2, "the new statement, and what the new key has signed"


def test_what_was_verified_apart_is_put_together() -> None:
    """The longer stays; where they part it is proof, whichever is longer; who is behind is told."""
    assert AB.merged(ABC) == ABC
    assert first(A).merged(ABC) == ABC
    again = Lineage.first_seen(public(B), (signed_anew(A, AB.statements[0]),))
    assert AB.merged(again) is AB
    for known, other in ((AB, line(A, D)), (AB, line(A, D, OTHER)), (ABC, line(A, D))):
        with pytest.raises(TwoSuccessors) as proof:
            known.merged(other)
        assert proof.value.branch == other.statements[:1]
    for behind in (first(A), AB):
        with pytest.raises(Refused, match="a key that it has replaced"):
            ABC.merged(behind)


@pytest.mark.parametrize(
    "raw",
    [
        statement(A, B, AB.relay_id, by=B),
        statement(A, B, AB.relay_id, by=OTHER),
        statement(A, B, AB.relay_id, accepted_by=A),
        statement(A, B, AB.relay_id, accepted_by=OTHER),
        statement(A, B, AB.relay_id, accept={"relay_id": first(C).relay_id}),
        statement(A, B, AB.relay_id, accept={"number": 2}),
        statement(A, B, AB.relay_id, accept={"key": public(OTHER)}),
        statement(A, B, first(C).relay_id),
        statement(A, B, AB.relay_id, number=2, accept={"number": 2}),
        statement(A, A, AB.relay_id),
        statement(OTHER, B, AB.relay_id),
        sign_record(A.private, LogHead(1, RoomId(bytes(32)), 0, 0, Hash32(bytes(32)), 1)).envelope,
        AB.statements[0][:-1],
        AB.statements[0] + bytes(limits.SUCCESSION_BYTES),
        b"",
    ],
)
def test_what_is_half_signed_forged_or_of_another_relay_is_refused(raw: bytes) -> None:
    """Both keys have to sign, for this relay, for this number; else nothing is followed."""
    with pytest.raises(ProtocolError):
        first(A).proven(public(B), (raw,))
    assert not isinstance(_refusal(first(A), (raw,)), TwoSuccessors)
    assert not isinstance(_refusal(AB, (raw,)), TwoSuccessors), "nor is it proof of anything"


def _refusal(known: Lineage, shown: tuple[bytes, ...]) -> ProtocolError | None:
    try:
        known.followed(shown)
    except ProtocolError as error:
        return error
    return None


@pytest.mark.parametrize(
    "shown",
    [
        ABC.statements[::-1],
        ABC.statements[1:],
        (ABC.statements[0], ABC.statements[0]),
        (*ABC.statements, statement(C, A, AB.relay_id, number=3, accept={"number": 3})),
        (*ABC.statements, statement(C, B, AB.relay_id, number=3, accept={"number": 3})),
        (AB.statements[0],) * (limits.SUCCESSIONS + 1),
    ],
    ids=["reversed", "without the first", "twice", "to the first", "in a loop", "too many"],
)
def test_statements_in_no_order_lead_nowhere(shown: tuple[bytes, ...]) -> None:
    """Each follows the one before; a key that was given up does not come back."""
    for known in (first(A), AB):
        with pytest.raises(ProtocolError):
            known.followed(shown)


def test_two_successors_are_proof_and_the_known_one_stays() -> None:
    """At any step, whatever comes after it; the branch is the proof, and proves it to others."""
    fork, late = line(A, D), succeed(AB, B, D, NOW)
    for known, shown, branch in (
        (AB, fork.statements, fork.statements),
        (ABC, fork.statements, fork.statements),
        (ABC, late.statements, late.statements),
        (AB, line(A, D, OTHER).statements, 1),
    ):
        with pytest.raises(TwoSuccessors) as proof:
            known.proven(public(D), shown)
        want = shown[:branch] if isinstance(branch, int) else branch
        assert (proof.value.branch, proof.value.kind) == (want, Code.WRONG_RELAY)
        assert proof.value.relay_id == known.relay_id
        with pytest.raises(TwoSuccessors):
            known.followed(proof.value.branch)
    assert late.followed(AB.statements) == late


@pytest.mark.parametrize("shown", [(), AB.statements, ABC.statements])
def test_another_relay_is_another_relay(shown: tuple[bytes, ...]) -> None:
    """Its key is not in the line, whatever statements of the real one it shows."""
    for known in (first(A), ABC):
        with pytest.raises(Refused, match="another relay"):
            known.proven(public(OTHER), shown)
    with pytest.raises(Refused):
        first(OTHER).proven(public(C), ABC.statements)


def _head(by: KeyPair) -> bytes:
    record = LogHead(1, RoomId(bytes(32)), 0, 7, Hash32(bytes(32)), NOW)
    return sign_record(by.private, record).envelope


def test_what_it_signed_with_any_of_its_keys_is_its_word() -> None:
    """Old key and new key are one relay; one that it never had is not."""
    for key in (A, B, C):
        assert getattr(ABC.opened(public(OTHER), _head(key)).record, "seq", 0) == 7
    assert getattr(first(A).opened(public(A), _head(A)).record, "seq", 0) == 7
    for known, said_by, head in (
        (ABC, public(D), _head(D)),
        (first(A), public(D), _head(D)),
        (first(A), None, _head(A)),
        (first(A), public(A), _head(B)),
    ):
        with pytest.raises(Refused) as refused:
            known.opened(said_by, head)
        assert refused.value.kind is Code.BAD_SIGNATURE


def test_a_key_is_replaced_so_often_and_no_more() -> None:
    """What a newcomer has to be shown has an end."""
    pairs = keys(limits.SUCCESSIONS + 2)
    whole = line(*pairs[:-1])
    assert first(pairs[0]).proven(public(pairs[-2]), whole.statements) == whole
    with pytest.raises(Refused) as refused:
        succeed(whole, pairs[-2], pairs[-1], NOW)
    assert refused.value.kind is Code.QUOTA


def test_no_secret_is_in_its_repr() -> None:
    """Nor are pages of base64."""
    assert A.private.hex() not in repr(ABC)
    assert len(repr(Lineage(RelayId(bytes(32)), ABC.statements))) < 400


VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "successions.json").read_text())


def known_in(fields: dict[str, Any]) -> Lineage:
    """What a case of the vectors says is known."""
    statements = [bytes.fromhex(raw) for raw in fields["statements"]]
    return Lineage.recalled(RelayId(bytes.fromhex(fields["relay_id"])), statements)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["why"])
def test_the_vectors_hold(case: dict[str, Any]) -> None:
    """Python and the browser find the same."""
    shown = [bytes.fromhex(raw) for raw in case["shown"]]
    key = PublicKey(bytes.fromhex(case["key"]))
    assert outcome(known_in(case["known"]), key, shown) == case["found"]


@pytest.mark.parametrize("case", VECTORS["heads"], ids=lambda case: case["why"])
def test_the_vectors_of_heads_hold(case: dict[str, Any]) -> None:
    """By any of its keys, whichever it is said to be by."""
    relay, key = known_in(VECTORS["heads_of"]), PublicKey(bytes.fromhex(case["key"]))
    if case["counts"]:
        relay.opened(key, bytes.fromhex(case["record"]))
    else:
        with pytest.raises(Refused):
            relay.opened(key, bytes.fromhex(case["record"]))
