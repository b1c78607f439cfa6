"""comparing.json: what two members compare, for a phrase that both of them typed."""

from __future__ import annotations

from typing import Any

from ofcd.e2e.comparing import compared_secret, normal_phrase
from ofcd.protocol.records import Role
from ofcd.protocol.room import Member
from tests.vectors.making.common import RELAY, ROOM, SID, Keys, member

_PHRASES = [
    "purple elephant",
    "  Purple   ELEPHANT\t",
    "ﬁsh and chips",
    "Straße 12",
    "e\u0301te\u0301 1999",
    "日本語のお茶",
    "GROẞE ΟΔΟΣ",
    "d\u0131yarbak\u0131r \u0130zmir",
    "\u13e3\uab83\u13a9 \u13f8\u13f9",
    "one\u0085two\u00a0three\u2009four",
]


def make(keys: Keys) -> dict[str, Any]:
    """The content of comparing.json."""
    return {
        "about": "A phrase as it is typed and as it is compared (NFKC, case folded, NFKC, white "
        "space run together); and H('cmp', room, initiator, responder, relay_id, run, initiator's "
        "E, responder's E, phrase as compared). Members' keys are those of keys.json.",
        "phrases": [{"typed": typed, "compared": normal_phrase(typed)} for typed in _PHRASES],
        "too_short": ["", "     ", "short", "a  b  c"],
        "secrets": [
            _secret(keys, "ana", "bo", _PHRASES[0]),
            _secret(keys, "bo", "ana", _PHRASES[0]),
            _secret(keys, "ana", "cy", _PHRASES[1]),
        ],
    }


def _secret(keys: Keys, initiator: str, responder: str, phrase: str) -> dict[str, str]:
    secret = compared_secret(
        ROOM, RELAY, SID, _member(keys, initiator), _member(keys, responder), phrase
    )
    return {
        "room": ROOM.hex(),
        "relay_id": RELAY.hex(),
        "run": SID.hex(),
        "initiator": initiator,
        "responder": responder,
        "phrase": phrase,
        "secret": secret.hex(),
    }


def _member(keys: Keys, name: str) -> Member:
    found = member(keys, name)
    return Member(
        mid=found.mid,
        sign_key=found.sign_key,
        enc_key=found.enc_key,
        role=Role.MEMBER,
        caps=frozenset(),
        history_from=0,
        joined_seq=0,
        home=RELAY,
    )
