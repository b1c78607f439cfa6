"""Days that are hours, for tests of who renews an encryption key, whatever the key is good for."""

from __future__ import annotations

import pytest
import trio

from ofcd.client import Room
from ofcd.e2e import epochs
from ofcd.protocol.ids import MemberId

__all__ = ["HOUR", "all_renewed", "short_days"]

HOUR = 3600.0


def short_days(patch: pytest.MonkeyPatch) -> None:
    """From before the room is made: a key is renewed after an hour of use instead of a day."""
    patch.setattr(epochs, "_DAY", int(HOUR * 1000))


async def all_renewed(room: Room) -> None:
    """Every member of the room has made an UPDATE_E, as one of them sees it."""

    def members() -> set[MemberId]:
        found = room._client._core(room.id).state.members.values()
        return {member.mid for member in found if not member.has_renewed}

    with trio.fail_after(2 * HOUR):
        while members():  # noqa: ASYNC110 - it watches others from outside
            await trio.sleep(20)
