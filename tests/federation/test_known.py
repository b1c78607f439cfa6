"""Where another relay is reached, by what was said of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from attrs import evolve

from ofcd.config import Federation
from ofcd.config.fields import Words
from ofcd.daemon.peers.known import KnownRelay, listed_in
from ofcd.protocol.backoff import Backoff
from ofcd.protocol.ids import RelayId, RoomId
from ofcd.store import PeerRow

RIGHT = "wss://right.example"
ROOM = RoomId(b"\x01" * 32)


@pytest.fixture
def relay() -> KnownRelay:
    """One that nobody has reached yet, which orders a room of ours."""
    following = cast(Any, SimpleNamespace(rooms={ROOM: None}, wants_link=False))
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


def test_a_relay_of_the_settings_is_reached_where_they_say(relay: KnownRelay) -> None:
    """It was never reached there, and others say something else."""
    relay.set_address(RIGHT)
    relay.invited_to(wrong(1))
    relay.placed(ROOM, (wrong(2),))
    for _ in range(9):
        relay.missed()
        assert relay.next_address() == RIGHT


def test_pages_are_asked_for_names_without_an_address() -> None:
    """Listed or denied; a fingerprint alone names no page."""
    one, other = "1" * 64, "2" * 64
    settings = Federation(
        peers=Words((f"a.example!{one}", f"b.example!{other} wss://b.example")),
        deny=Words(("c.example", "3" * 64)),
    )
    searched = [listed.name for listed in listed_in(settings) if listed.is_searched]
    assert searched == ["a.example", "c.example"]


def test_what_a_stranger_named_is_not_kept_on_disk(relay: KnownRelay) -> None:
    """Until it was reached, or a room's owner, the settings or a quarantine speak of it."""
    relay.invited_to(wrong(1))
    assert not relay.is_worth_noting
    told = evolve(relay.row, quarantined=1), evolve(relay.row, pinned="move")
    reached = evolve(relay.row, links=1), evolve(relay.row, pinned="link")
    for row in (*told, *reached):
        assert evolve(relay, row=row).is_worth_noting
    relay.denied = True
    assert relay.is_worth_noting


def test_where_a_room_was_that_is_followed_no_more_nobody_is_dialled(relay: KnownRelay) -> None:
    """What its root said of that one says nothing of another."""
    relay.placed(ROOM, (RIGHT,))
    gone = RoomId(b"\x02" * 32)
    relay.placed(gone, (wrong(1),))
    relay.row = evolve(relay.row, url=RIGHT)
    assert {relay.next_address() for _ in range(4)} == {RIGHT}
    relay.following.rooms[gone] = cast(Any, None)
    assert wrong(1) in {relay.next_address() for _ in range(4)}


def test_nobody_is_forgotten_who_is_talked_to_or_in_quarantine(relay: KnownRelay) -> None:
    """Strangers push out what strangers named."""
    assert relay.is_spare(now=5)
    kept = [evolve(relay, link=cast(Any, object())), evolve(relay, asked=1)]
    kept += [evolve(relay, row=evolve(relay.row, quarantined=6)), evolve(relay, configured=True)]
    assert [one.is_spare(now=5) for one in kept] == [False] * 4
    assert evolve(relay, row=evolve(relay.row, quarantined=5)).is_spare(now=5)
