"""Numbers that people compare: equal on both sides exactly if the keys are."""

from __future__ import annotations

import re

from attrs import evolve

from ofcd.e2e.keys import EpochKeys, MemberKeys, key_commitment, new_nonce
from ofcd.e2e.trust import (
    fingerprint,
    relay_fingerprint,
    room_safety_number,
    safety_number,
    short_code,
)
from ofcd.protocol.ids import EventId, RelayId, RoomId
from tests.e2e.world import World

SIXTY = re.compile(r"(\d{5} ){11}\d{5}")


def test_both_sides_read_the_same_number(quiet: World) -> None:
    """Sixty digits, the same whoever computes them and in whichever order."""
    _, ana, bo, _ = quiet.people
    at_ana, at_bo = ana.view.state, bo.view.state
    one = safety_number(at_ana, at_ana.member(ana.mid), at_ana.member(bo.mid))
    two = safety_number(at_bo, at_bo.member(bo.mid), at_bo.member(ana.mid))
    assert one == two
    assert SIXTY.fullmatch(one)
    assert one.startswith(short_code(at_ana, at_ana.member(ana.mid), at_ana.member(bo.mid)))


def test_another_key_makes_another_number(quiet: World) -> None:
    """Either key that either side came with, and the room, change number, code and fingerprint."""
    root, ana, bo, _ = quiet.people
    state = root.view.state
    one, two, other = state.member(ana.mid), state.member(bo.mid), MemberKeys.generate()
    variants = [
        evolve(one, enc_key=other.enc_key, first_enc_key=other.enc_key),
        evolve(one, sign_key=other.sign_key, mid=other.mid),
    ]
    numbers = {safety_number(state, one, two), *(safety_number(state, v, two) for v in variants)}
    numbers.add(safety_number(evolve(state, room=RoomId(b"x" * 32)), one, two))
    assert len(numbers) == 4
    assert len({n[:23] for n in numbers}) == 4
    assert len({fingerprint(one), *map(fingerprint, variants)}) == 3


def test_the_rooms_number_is_that_of_its_control_log(quiet: World) -> None:
    """All members who saw the same control log have one number; another head has another."""
    numbers = {room_safety_number(p.view.state) for p in quiet.people}
    assert len(numbers) == 1
    assert SIXTY.fullmatch(next(iter(numbers)))
    state = quiet.root.view.state
    assert room_safety_number(evolve(state, ctl=EventId(b"x" * 32))) not in numbers
    assert room_safety_number(evolve(state, room=RoomId(b"x" * 32))) not in numbers


def test_fingerprints_are_forty_hex_digits(quiet: World) -> None:
    """Ten groups of four, for members and relays."""
    state = quiet.root.view.state
    groups = re.compile(r"([0-9a-f]{4} ){9}[0-9a-f]{4}")
    assert groups.fullmatch(fingerprint(state.member(quiet.root.mid)))
    assert relay_fingerprint(RelayId(bytes(range(32)))) == "0001 0203 0405 0607 0809 " + (
        "0a0b 0c0d 0e0f 1011 1213"
    )


def test_a_commitment_is_to_one_key_in_one_epoch_of_one_room() -> None:
    """Nonce, epoch and key all count, so no key can be passed off for another."""
    nonce, key = new_nonce(), b"k" * 32
    base = key_commitment(nonce, 1, key)
    assert base not in {
        key_commitment(new_nonce(), 1, key),
        key_commitment(nonce, 2, key),
        key_commitment(nonce, 1, b"x" * 32),
    }
    keys = EpochKeys(nonce).adopt(1, key, base)
    assert (1 in keys, 2 in keys, keys.get(1)) == (True, False, key)
