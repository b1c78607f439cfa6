"""successions.json: how a relay comes to its keys, and what of it is followed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ofcd.protocol import limits
from ofcd.protocol.codes import ProtocolError
from ofcd.protocol.ids import Hash32, PublicKey, RoomId
from ofcd.protocol.records import LogHead
from ofcd.themis import KeyPair
from ofcd.themis.lineage import Lineage, TwoSuccessors, succeed
from ofcd.themis.signed import sign_record
from tests.themis.successions import NOW, first, keys, line, public, signed_anew, statement
from tests.vectors.making.common import Keys, relay_pair

Case = tuple[str, Lineage, KeyPair, Sequence[bytes]]
TWO: Final = "two_successors"
REFUSED: Final = "refused"


def make(known_keys: Keys) -> dict[str, Any]:
    """The content of successions.json."""
    a, (b, c, d, other) = relay_pair(known_keys), keys(4)
    ab = line(a, b)
    abc = succeed(ab, b, c, NOW)
    return {
        "about": "Made once. Who knows of a relay what is in `known` (its id, statements) meets "
        "one that has proven to hold `key` and shows `shown`. `found` is how many statements are "
        "known then; or `refused`; or `two_successors`, a proof. `heads`: LOG_HEADs said to be by "
        "`key`, and whether they are the word of the relay whose statements are `heads_of`.",
        "cases": [_case(*case) for case in _cases(a, b, c, d, other, ab, abc)],
        "heads_of": _known(abc),
        "heads": [_head(abc, *case) for case in _heads(a, b, c, d)],
    }


def outcome(known: Lineage, key: PublicKey, shown: Sequence[bytes]) -> int | str:
    """What becomes of it, as it stands in the file."""
    try:
        return known.proven(key, shown).count
    except TwoSuccessors:
        return TWO
    except ProtocolError:
        return REFUSED


def _case(why: str, known: Lineage, key: KeyPair, shown: Sequence[bytes]) -> dict[str, Any]:
    return {
        "why": why,
        "known": _known(known),
        "key": key.public.hex(),
        "shown": [raw.hex() for raw in shown],
        "found": outcome(known, public(key), shown),
    }


def _known(known: Lineage) -> dict[str, Any]:
    return {
        "relay_id": known.relay_id.hex(),
        "statements": [raw.hex() for raw in known.statements],
    }


def _cases(
    a: KeyPair, b: KeyPair, c: KeyPair, d: KeyPair, other: KeyPair, ab: Lineage, abc: Lineage
) -> list[Case]:
    by_id, relay_id = first(a), ab.relay_id
    fork, late = line(a, d), succeed(ab, b, d, NOW)
    half = statement(a, b, relay_id, accepted_by=other)
    back = statement(c, a, relay_id, number=3, accept={"number": 3})
    return [
        ("the first key", by_id, a, ()),
        ("one step", by_id, b, ab.statements),
        ("two steps, by the id alone", by_id, c, abc.statements),
        ("a step more than is known", ab, c, abc.statements),
        ("what is known already", abc, c, abc.statements),
        ("the known key, and nothing shown", abc, c, ()),
        ("said twice", ab, b, (signed_anew(a, ab.statements[0]),)),
        ("a replaced key", abc, a, ()),
        ("a replaced key, by older statements", abc, b, ab.statements),
        ("no statement", by_id, b, ()),
        ("another relay, with the right statements", by_id, other, ab.statements),
        ("signed by the new key alone", by_id, b, (statement(a, b, relay_id, by=b),)),
        ("signed by the old key alone", by_id, b, (half,)),
        ("signed by a stranger", by_id, b, (statement(a, b, relay_id, by=other),)),
        ("for another relay", by_id, b, (statement(a, b, first(c).relay_id),)),
        ("of another number", by_id, b, (statement(a, b, relay_id, number=2),)),
        (
            "accepted for another number",
            by_id,
            b,
            (statement(a, b, relay_id, accept={"number": 2}),),
        ),
        ("from another key", by_id, b, (statement(other, b, relay_id),)),
        ("without the first", by_id, c, abc.statements[1:]),
        ("in the wrong order", by_id, c, abc.statements[::-1]),
        ("back to the first key", by_id, a, (*abc.statements, back)),
        ("too large", by_id, b, (ab.statements[0] + bytes(limits.SUCCESSION_BYTES),)),
        ("nothing", by_id, b, (b"",)),
        ("a second successor", ab, d, fork.statements),
        ("a second successor, further on", abc, d, late.statements),
        ("a second successor of one replaced since", abc, d, fork.statements),
    ]


def _heads(a: KeyPair, b: KeyPair, c: KeyPair, d: KeyPair) -> list[tuple[str, KeyPair, KeyPair]]:
    return [
        ("the key it has", c, c),
        ("the one before, said to be by the one it has", b, c),
        ("its first one, said to be by itself", a, a),
        ("a stranger's", d, d),
        ("a stranger's, said to be by its own", d, c),
    ]


def _head(relay: Lineage, why: str, by: KeyPair, said: KeyPair) -> dict[str, Any]:
    record = LogHead(1, RoomId(bytes(32)), 0, 7, Hash32(bytes(32)), NOW)
    envelope = sign_record(by.private, record).envelope
    try:
        relay.opened(public(said), envelope)
        counts = True
    except ProtocolError:
        counts = False
    return {"why": why, "key": said.public.hex(), "record": envelope.hex(), "counts": counts}
