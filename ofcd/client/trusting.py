"""Whose keys are whose, as people find out: the part of `Room` about trust between members."""

from __future__ import annotations

from typing import Final, cast

from ofcd.client.core import refusal
from ofcd.client.roomview import RoomView
from ofcd.client.turn import Ticket
from ofcd.e2e.bodies import Alias
from ofcd.e2e.comparing import RUN_TIME
from ofcd.e2e.keys import new_sid
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import MemberId

__all__ = ["RoomTrust"]

_GRACE: Final = 30
"""Seconds past a run's own time: only without a link it does not end by itself."""


class RoomTrust(RoomView):
    """Comparing phrases, and saying whose devices belong together."""

    async def compare(self, mid: MemberId, phrase: str) -> bool:
        """Whether `mid`'s person types the same phrase, and so whether the keys are genuine.

        Call it only when a person has typed the phrase for this run: it is a guess that the other
        side gets. Waits for the other person, up to ten minutes; cancelled, the run is given up.
        True is kept (`MemberInfo.verified`). Raises `ComparisonFailed`, `PhraseTooShort`,
        `NotAllowed` (compare_limit: three a day with one member; compare_running; forbidden),
        `Offline`, `RoomFrozen`.
        """
        self._member(mid)
        await self.wait_live()
        desk = self._client._machine(self.id).comparing
        desk.check(self._client.now(), mid, phrase)
        ticket = Ticket("compare")
        with self._change() as turn:
            desk.begin(turn, mid, phrase, ticket)
        try:
            connection = self._client._connection(self.id)
            seconds = RUN_TIME / 1000 + _GRACE
            return cast(bool, await self._client._settled(ticket, connection, seconds))
        finally:
            if not ticket.settled:
                with self._change() as turn:
                    desk.give_up(turn, mid)

    async def set_alias(self, mid: MemberId, *, removed: bool = False) -> bool:
        """Say that `mid` is you too, on another device; or (`removed`) that it is not.

        Returns once the relay has it: whether `mid` says so of this member as well, so that others
        see it now (`MemberInfo.same_as`). It grants nothing. Raises as `Room.send` does.
        """
        if not removed:
            self._member(mid)
        if mid == self.me:
            raise refusal(Code.FORBIDDEN.value)
        machine, sid = self._client._machine(self.id), new_sid()
        connection = self._client._connection(self.id)
        with self._client.transaction() as tx:
            machine.outbox.queue(tx, Alias(mid, removed), sid, self._client.now())
        ticket = Ticket("alias")
        machine.outbox.await_accepted(sid, ticket)
        connection.stir()
        await self._client._settled(ticket, connection)
        return not removed and machine.aliases.says(mid, self.me)
