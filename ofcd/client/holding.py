"""Join requests that wait for the application's word, in place of being answered at once.

Nothing here is kept: the relay shows a request that nobody has answered again on every link.
"""

from __future__ import annotations

from attrs import evolve, frozen

from ofcd.client.core import Core
from ofcd.client.events import Alarm, AlarmKind, JoinAsked
from ofcd.client.turn import Turn
from ofcd.e2e.errors import JoinRejected
from ofcd.e2e.joining import requested_name
from ofcd.protocol.ids import Hash32, InviteId, RoomId, member_id_of
from ofcd.protocol.records import JoinRequest
from ofcd.themis.signed import SignedRecord

__all__ = ["Held", "HeldJoins", "join_asked"]


@frozen
class Held:
    """A request that was checked, and what the application was told of it."""

    signed: SignedRecord
    told: JoinAsked


class HeldJoins:
    """Those of one room."""

    def __init__(self, core: Core) -> None:
        """Reads `core`."""
        self._core = core
        self._held: dict[Hash32, Held] = {}

    def __contains__(self, request: Hash32) -> bool:
        return request in self._held

    def __len__(self) -> int:
        return len(self._held)

    @property
    def told(self) -> list[JoinAsked]:
        """What the application was told, oldest first."""
        return [held.told for held in self._held.values()]

    def hold(self, turn: Turn, signed: SignedRecord, token: bytes) -> None:
        """Check a request under its invite's token, hold it and say so; pass over a wrong one."""
        core, request = self._core, signed.record
        if not isinstance(request, JoinRequest):
            raise TypeError("only join requests are held")
        try:
            name = requested_name(core.state, core.mine, signed.envelope, token=token, now=turn.now)
        except JoinRejected as rejected:
            if rejected.alert:
                turn.tell(Alarm(core.room, AlarmKind.INVITE_CONTESTED, str(rejected)))
            return
        told = evolve(join_asked(core.room, request, signed.hash), name=name, held=True)
        self._held[signed.hash] = Held(signed, told)
        turn.tell(told)

    def take(self, request: Hash32) -> Held | None:
        """It is decided; None for one that is not held."""
        return self._held.pop(request, None)

    def take_all(self) -> list[Held]:
        """Nobody decides any more."""
        held, self._held = list(self._held.values()), {}
        return held

    def drop(self, invite_id: InviteId) -> None:
        """The invite is used or closed: nothing of it is to be decided any more."""
        kept = {key: one for key, one in self._held.items() if one.told.invite_id != invite_id}
        self._held = kept

    def clear(self) -> None:
        """The link is lost."""
        self._held.clear()


def join_asked(room: RoomId, request: JoinRequest, request_hash: Hash32) -> JoinAsked:
    """What the application is told of a request."""
    return JoinAsked(room, request.invite_id, member_id_of(request.sign_key), request_hash)
