"""What a relay shows against a hub: signatures prove it, or nothing does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofcd.e2e.errors import Fault
from ofcd.e2e.evidence import NotYet, Proof, judge
from ofcd.protocol.ids import PublicKey
from tests.vectors.making.evidence import found
from tests.vectors.replay import replayed

FOLDER = Path(__file__).parent.parent / "vectors"
CASES = json.loads((FOLDER / "evidence.json").read_text("utf-8"))["cases"]
STATE, LOG = replayed(json.loads((FOLDER / "chain.json").read_text("utf-8")))


def records_of(case: dict[str, Any]) -> tuple[PublicKey, list[bytes]]:
    key = PublicKey(bytes.fromhex(case["key"]))
    return key, [bytes.fromhex(record) for record in case["records"]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_each_piece_proves_what_it_does(case: dict[str, Any]) -> None:
    """Two logs of the hub's, or one word over another log than is here; all else is talk."""
    assert found(STATE, LOG, *records_of(case)) == case["found"]


def test_the_proof_holds_what_shows_it() -> None:
    """And no more: both heads, or the one word beside one's own log."""
    both, alone = (CASES[0], CASES[2])
    proof = judge(STATE, LOG.end, LOG.hash_at, *records_of(both))
    assert isinstance(proof, Proof)
    assert (proof.fault, list(proof.records)) == (Fault.EQUIVOCATION, records_of(both)[1])
    proof = judge(STATE, LOG.end, LOG.hash_at, *records_of(alone))
    assert isinstance(proof, Proof)
    assert (proof.fault, list(proof.records)) == (Fault.FORK, records_of(alone)[1])


def test_what_is_not_here_yet_is_judged_later() -> None:
    """Somebody who has less of the log can not say; who no longer has its hash never will."""
    word = records_of(CASES[2])
    assert judge(STATE, 3, LOG.hash_at, *word) == NotYet(LOG.end - 2)
    assert judge(STATE, LOG.end, lambda _: None, *word) is None


@given(st.data())
def test_no_byte_of_it_can_be_changed(data: st.DataObject) -> None:
    """A changed record proves nothing, or the same still where the signature's form allows it."""
    key, [envelope] = records_of(CASES[2])
    at = data.draw(st.integers(0, len(envelope) - 1))
    changed = bytearray(envelope)
    changed[at] ^= data.draw(st.integers(1, 255))
    outcome = judge(STATE, LOG.end, LOG.hash_at, key, [bytes(changed)])
    assert outcome is None
