"""Where another relay is reached, by what was said of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from attrs import evolve

from ofcd.daemon.peers.known import KnownRelay
from ofcd.protocol.backoff import Backoff
from ofcd.protocol.ids import RelayId, RoomId
from ofcd.store import PeerRow

RIGHT = "wss://right.example"
ROOM = RoomId(b"\x01" * 32)


@pytest.fixture
def relay() -> KnownRelay:
    """One that nobody has reached yet, which orders a room of ours."""
    following = cast(Any, SimpleNamespace(rooms={ROOM: None}))
    return KnownRelay(
        PeerRow(RelayId(bytes(32))), following, Backoff(lambda: 0.5, first=1, longest=2)
    )


def wrong(number: int) -> str:
    return f"wss://wrong{number}.example"


def test_the_last_invite_is_tried_first(relay: KnownRelay) -> None:
    """Whatever others said before."""
    for number in range(9):
        relay.invited_to(wrong(number))
        relay.next_address()
        relay.next_address()
        relay.invited_to(f"{RIGHT}:{number}")
        assert relay.next_address() == f"{RIGHT}:{number}"
        relay.next_address()


def test_who_names_wrong_addresses_again_and_again_does_not_keep_the_right_one_away(
    relay: KnownRelay,
) -> None:
    """As somebody asks for one, another is said at once; what was said before has its turn."""
    relay.invited_to(RIGHT)
    for number in range(4):
        relay.invited_to(wrong(number % 2))
    dialled = []
    for number in range(12):
        relay.invited_to(wrong(number % 2))
        dialled.append(relay.next_address())
    assert RIGHT in dialled
    assert len(relay.invited) <= 4


@pytest.mark.parametrize("pinned", ["move", "domain"])
def test_an_invite_is_remembered_beside_what_is_better_known(
    relay: KnownRelay, pinned: str
) -> None:
    """Also where another names a wrong one after it: it was moved there, or was lost."""
    if pinned == "move":
        relay.placed(ROOM, (wrong(7),))
    else:
        relay.row = evolve(relay.row, url=wrong(7), pinned=pinned, links=1)
    relay.invited_to(RIGHT)
    relay.invited_to(wrong(1))
    for _ in range(3):
        relay.missed()
    assert {relay.next_address() for _ in range(3)} == {wrong(7), RIGHT, wrong(1)}
    relay.reached(RIGHT, RIGHT)
    relay.row = evolve(relay.row, links=1)
    assert relay.next_address() == RIGHT
