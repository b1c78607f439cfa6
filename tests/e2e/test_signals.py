"""Typing and presence: sealed like everything else, and forgotten after a minute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofcd.e2e.contexts import signal_context
from ofcd.e2e.errors import KeyMissing, Reason, Unreadable
from ofcd.e2e.keys import EpochKeys
from ofcd.e2e.signals import FRESH_FOR, Signal, SignalKind, open_signal, seal_signal
from ofcd.protocol.ids import Hash32, MemberId, RoomId
from ofcd.protocol.limits import SIGNAL_BYTES
from ofcd.themis import seal
from tests.e2e.changes import Change, changed, changes

ROOM, MID = RoomId(b"r" * 32), MemberId(b"m" * 32)
KEYS = EpochKeys(Hash32(b"n" * 32), {3: b"k" * 32})
NOW = 1_750_000_000_000
CELL = seal_signal(ROOM, 3, KEYS, MID, Signal(SignalKind.TYPING, NOW))


def reason(cell: bytes = CELL, epoch: int = 3, mid: MemberId = MID, now: int = NOW) -> Reason:
    with pytest.raises(Unreadable) as caught:
        open_signal(ROOM, epoch, KEYS, mid, cell, now)
    return caught.value.reason


@pytest.mark.parametrize("kind", SignalKind)
def test_a_signal_comes_back_as_it_went(kind: SignalKind) -> None:
    """Each kind opens for the other members, and all look alike to the relay."""
    cell = seal_signal(ROOM, 3, KEYS, MID, Signal(kind, NOW))
    assert open_signal(ROOM, 3, KEYS, MID, cell, NOW) == Signal(kind, NOW)
    assert len(cell) == len(CELL) <= SIGNAL_BYTES


@pytest.mark.parametrize("shift", [FRESH_FOR + 1, -FRESH_FOR - 1])
def test_a_stale_signal_is_dropped(shift: int) -> None:
    """A signal over a minute old, or as far ahead, says nothing; a minute exactly still does."""
    assert reason(now=NOW + shift) is Reason.STALE
    edge = NOW + shift - (1 if shift > 0 else -1)
    assert open_signal(ROOM, 3, KEYS, MID, CELL, edge).kind is SignalKind.TYPING


def test_a_signal_belongs_to_its_place() -> None:
    """Shown as another member's, in another room or epoch, it does not open."""
    assert reason(mid=MemberId(b"x" * 32)) is Reason.BAD_SEAL
    assert reason(epoch=4) is Reason.MISSING_KEY
    with pytest.raises(Unreadable):
        open_signal(RoomId(b"x" * 32), 3, KEYS, MID, CELL, NOW)
    with pytest.raises(KeyMissing):
        seal_signal(ROOM, 4, KEYS, MID, Signal(SignalKind.TYPING, NOW))


@pytest.mark.parametrize(
    ("plaintext", "kind"),
    [(b'{"kind":"dancing","ts":%d}' % NOW, SignalKind.UNKNOWN), (b'{"kind":7,"ts":1}', None)],
)
def test_a_signal_from_the_future_shows_nothing(plaintext: bytes, kind: SignalKind | None) -> None:
    """An unknown kind is UNKNOWN; what is no signal is a typed error."""
    cell = b"n" * 16 + seal(b"k" * 32, plaintext, signal_context(ROOM, 3, MID, b"n" * 16))
    if kind is None:
        assert reason(cell) is Reason.BAD_BODY
    else:
        assert open_signal(ROOM, 3, KEYS, MID, cell, NOW).kind is kind


@given(changes)
def test_any_changed_byte_of_a_signal_fails_closed(change: Change) -> None:
    """One byte changed, in nonce or cell: it does not open."""
    assert reason(changed(CELL, change)) is Reason.BAD_SEAL


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_only_unreadable(raw: bytes) -> None:
    """No bytes make a signal raise anything but Unreadable."""
    assert reason(raw) is Reason.BAD_SEAL
