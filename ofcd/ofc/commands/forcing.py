"""`ofc move --force`: a room whose relay is gone for good goes on from another one's copy."""

from __future__ import annotations

from typing import Final

from ofcd.client import Room, Survey
from ofcd.ofc.context import Context, room_label
from ofcd.ofc.errors import NotConfirmed
from ofcd.ofc.sentences import sentence
from ofcd.ofc.text import one_line
from ofcd.protocol.ids import RelayId

__all__ = ["force"]

_SHOWN: Final = 20
"""Messages and changes that are listed one by one."""


async def force(
    context: Context, room: Room, url: str, relay_id: RelayId | None, *, confirmed: bool
) -> None:
    """Look at the copy, say what would come to nothing, and, if confirmed, move the room."""
    found = await room.survey_hub(url, relay_id=relay_id)
    await _tell(context, room, found)
    found.check()
    if not confirmed:
        raise NotConfirmed(
            "nothing was done. Whatever else the old relay has ordered, seen by you or not, would "
            f"be void for everybody: to move {room_label(room)} all the same, add --yes"
        )
    await room.force_hub(found)


async def _tell(context: Context, room: Room, found: Survey) -> None:
    """What that relay has, and what it lacks."""
    await context.note(f"the copy at {found.url} ends at entry {found.seq} of {room_label(room)}")
    if not found.lost and not found.changes:
        await context.note("it has all that you have seen")
        return
    others = len(found.lost) - found.own
    await context.note(
        f"it lacks {len(found.lost)} messages that you have: {found.own} of yours, which are sent "
        f"again, and {others} of others, who send them again if their clients still come"
    )
    for message in found.lost[-_SHOWN:]:
        who = "you" if message.mine else message.name or message.mid.hex()[:8]
        await context.note(f"  #{message.seq} {one_line(who)}: {one_line(message.text)[:60]}")
    for change in found.changes[-_SHOWN:]:
        fields = context.event(room, change)
        if fields is not None:
            await context.note(f"  #{change.seq} it lacks this: {sentence(fields)}")
