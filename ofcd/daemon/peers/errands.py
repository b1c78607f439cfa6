"""What a local link asks of another relay: it is dialled for that, and the link answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from ofcd.daemon.connection import failure_of, rid_of
from ofcd.daemon.peers.asking import last_word, next_to_ask
from ofcd.daemon.peers.linking import Linking
from ofcd.daemon.peers.roster import Roster
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.frames import BlobGet, Failure, Join
from ofcd.relay import Arrive, Forward, Relay

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub
    from ofcd.daemon.linkend import LinkEnd

__all__ = ["Errands"]


class Errands:
    """Does them."""

    def __init__(self, hub: Hub, relay: Relay, roster: Roster, linking: Linking) -> None:
        self._hub = hub
        self._relay = relay
        self._roster = roster
        self._linking = linking

    def forward(self, connection: LinkEnd, effect: Forward) -> None:
        """Ask another relay on behalf of this link, and answer it."""
        self._hub.start(self._forward, connection, effect)

    async def _forward(self, connection: LinkEnd, effect: Forward) -> None:
        try:
            peer = self._roster.pinned(effect)
            self._roster.require_welcome(effect.hub)
            if isinstance(effect.frame, Join) and not peer.following.copies.may_copy(effect.room):
                raise Refused(Code.QUOTA, "it keeps as many rooms of that one as it may")
        except Refused as error:
            self._go_on(connection, effect, error.kind, str(error))
            return
        await self._linking.linked(peer)
        if not peer.following.forward(connection, effect):
            # What came of dialling is the operator's to know: strangers name what is dialled.
            self._go_on(connection, effect, Code.HUB_AWAY, "")

    def _go_on(self, connection: LinkEnd, effect: Forward, code: Code, detail: str) -> None:
        """It can not be asked there: elsewhere, or nowhere."""
        if effect.others:
            self.forward(connection, next_to_ask(effect, code))
        elif effect.quiet:
            return
        elif isinstance(effect.frame, BlobGet) and effect.hub != self._relay.hub_of(effect.room):
            away = last_word(evolve(effect, missed=True), failure_of(Code.BLOB_GONE))
            self._tell(connection, effect, away)
        else:
            self._answer(connection, effect, code, detail)

    def arrive(self, connection: LinkEnd, effect: Arrive) -> None:
        """Fetch a room for a member who is at home here only now."""
        self._hub.start(self._arrive, connection, effect)

    async def _arrive(self, connection: LinkEnd, effect: Arrive) -> None:
        try:
            peer = self._roster.pinned(effect)
            self._roster.require_welcome(effect.hub)
        except Refused as error:
            self._answer(connection, effect, error.kind, str(error))
            return
        peer.asked += 1  # until the copy is here, nothing else keeps the link
        try:
            await self._linking.linked(peer)
            here = await peer.following.have(effect.room, effect.mid)
        finally:
            peer.asked -= 1
        if here:
            try:
                await self._hub.take(connection, [evolve(effect.frame, hub=None, hub_url="")])
            except Exception as mistake:  # it ends the link that it happened on, not the relay
                connection.fail(mistake)
        else:
            self._answer(connection, effect, Code.HUB_AWAY, "")  # as in `_forward`

    def _answer(
        self, connection: LinkEnd, effect: Forward | Arrive, code: Code, detail: str
    ) -> None:
        failure = failure_of(code)
        if detail:
            failure = evolve(failure, text=f"{failure.text} ({detail})"[:300])
        self._tell(connection, effect, failure)

    def _tell(self, connection: LinkEnd, effect: Forward | Arrive, failure: Failure) -> None:
        rid = rid_of(effect.frame)
        if rid:
            self._hub.answer(connection, evolve(failure, rid=rid))
            connection.pump()
