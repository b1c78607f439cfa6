"""A relay that has replaced its key: its welcome proves that it is the one that was pinned."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve

from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.frames import Done, Failure, Frame
from ofcd.session import ClientSession, RelaySession, SessionState
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.lineage import Lineage, TwoSuccessors, succeed
from tests.session.pairs import open_up, welcome
from tests.themis.successions import NOW, first, keys, line

A, B, C, D = keys(4)
AB = line(A, B)
ABC = succeed(AB, B, C, NOW)


def meet(known: Lineage | None, relay: KeyPair, shown: Sequence[bytes]) -> ClientSession:
    """A client that knows this opens a link to a relay with these keys, which shows that."""
    client = ClientSession(generate_keypair(), known)
    theirs = RelaySession(relay, lambda v: evolve(welcome(v), succession=tuple(shown)))
    open_up(client, theirs)
    return client


def shaken(known: Lineage | None, relay: KeyPair) -> tuple[ClientSession, RelaySession]:
    """A client that knows this, and a relay with these keys, which has said nothing yet."""
    client = ClientSession(generate_keypair(), known)
    theirs = RelaySession(relay, welcome)
    message = client.connect()
    while theirs.state is SessionState.HANDSHAKE:
        [reply] = theirs.receive(message).replies
        message, *_ = client.receive(reply).replies or [b""]
    return client, theirs


@pytest.mark.parametrize("known", [None, first(A), AB, ABC])
def test_the_new_key_is_followed_from_whatever_was_known(known: Lineage | None) -> None:
    """By who pinned the first key, or a later one, and by who meets it for the first time."""
    client = meet(known, C, ABC.statements)
    assert client.relay == ABC
    assert client.relay_id == first(A).relay_id


@pytest.mark.parametrize(
    ("known", "relay", "shown"),
    [
        (first(A), B, ()),
        (first(A), D, AB.statements),
        (AB, A, ()),
        (ABC, B, AB.statements),
        (first(A), B, (AB.statements[0][:-1],)),
        (first(A), C, ABC.statements[1:]),
        (None, C, AB.statements),
        (first(A), B, (b"",)),
    ],
)
def test_no_link_to_who_does_not_prove_its_key(
    known: Lineage | None, relay: KeyPair, shown: Sequence[bytes]
) -> None:
    """No statement, another's, an older key, or a damaged statement."""
    with pytest.raises(ProtocolError):
        meet(known, relay, shown)


def test_a_second_successor_is_proof() -> None:
    """The shell is handed what to keep."""
    with pytest.raises(TwoSuccessors) as proof:
        meet(AB, D, line(A, D).statements)
    assert proof.value.kind is Code.WRONG_RELAY


def test_nothing_is_taken_before_the_welcome() -> None:
    """Whoever is at the other end is nobody until then."""
    told: list[list[Frame]] = [[Failure(0, "quota", "no")], [Done(1), welcome(1)], []]
    for said in told:
        client, theirs = shaken(first(A), B)
        with pytest.raises(Refused, match="it says no welcome") as refused:
            client.receive(theirs.send(said))
        assert refused.value.kind is Code.OUT_OF_ORDER
        assert (client.state, client.welcome) == (SessionState.HELLO, None)


def test_why_the_known_relay_refuses_is_heard() -> None:
    """It has proven its key; and where none is pinned, it may be anybody."""
    for known, relay in ((first(A), A), (ABC, C), (None, A)):
        client, theirs = shaken(known, relay)
        with pytest.raises(Refused, match="it is full") as refused:
            client.receive(theirs.send([Failure(0, "quota", "it is full")]))
        assert refused.value.kind is Code.OUT_OF_ORDER
