"""How two relays introduce themselves on a link: each signs who it is, and whom it means.

The link's own keys are those of the relays (`ofcd.session`); the PEER records bind both ids and the
link's challenge, so that nobody in the middle passes one relay off as another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import trio

from ofcd.daemon.identity import Identity
from ofcd.daemon.workers import Workers
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.frames import Failure, Peer, Peered, Welcome
from ofcd.protocol.ids import Hash32, PublicKey, RelayId
from ofcd.protocol.records import Peer as PeerRecord
from ofcd.protocol.versions import VERSION
from ofcd.session import ClientSession, SessionState
from ofcd.themis.lineage import Lineage
from ofcd.themis.signed import open_signed, peek, sign_record
from ofcd.wire import MessageStream

__all__ = ["Handshake", "url_in"]

_SECONDS: Final = 20


def url_in(envelope: bytes) -> str:
    """Where a PEER record, verified before, says that its relay is reached; "" for nowhere."""
    record = peek(envelope).record
    return record.url if isinstance(record, PeerRecord) else ""


class Handshake:
    """Says who this relay is, and checks who the other one is."""

    def __init__(
        self,
        identity: Identity,
        workers: Workers,
        url: Callable[[], str],
        now: Callable[[], int],
    ) -> None:
        """`url` tells where this relay is reached."""
        self._identity = identity
        self._workers = workers
        self._url = url
        self._now = now

    async def dialled(
        self, stream: MessageStream, session: ClientSession, peer_id: RelayId
    ) -> tuple[Hash32, str]:
        """Introduce both on a link that this relay has dialled.

        The link's challenge, and where the other one says that it is reached.

        Raises `ProtocolError`, `ChannelError`, `WireError`, `ThemisError`, `trio.TooSlowError`.
        """
        with trio.fail_after(_SECONDS):
            welcome = await self._shake_hands(stream, session)
            own = await self.introduction(peer_id, welcome.challenge)
            shown = self._identity.relay.statements
            await stream.send(session.send([Peer(1, own, shown)]))
            says = await self._await_answer(stream, session, welcome.challenge)
        return welcome.challenge, says

    async def introduction(self, peer_id: RelayId, challenge: Hash32) -> bytes:
        """This relay's own PEER record, for this other one, on this link."""
        url = self._url()
        record = PeerRecord(
            v=VERSION,
            relay_id=self._identity.relay_id,
            peer_id=peer_id,
            challenge=challenge,
            ts=self._now(),
            url=url,
        )
        private = self._identity.keys.private
        return (await self._workers.run(partial(sign_record, private, record))).envelope

    async def check(
        self,
        envelope: bytes,
        key: PublicKey,
        challenge: Hash32,
        known: Callable[[RelayId], Lineage],
        shown: Sequence[bytes] = (),
    ) -> Lineage:
        """Whom a PEER record is of: proven on this link, and meant for this relay.

        `known` tells what is known of a relay's keys, and raises `Refused` for one that is not
        talked to: before anything of `shown`, its statements about them, is verified.
        """
        record = (await self._workers.run(partial(open_signed, key, envelope))).record
        if not isinstance(record, PeerRecord):
            raise Refused(Code.BAD_RECORD)
        if record.challenge != challenge:
            raise Refused(Code.STALE_CHALLENGE)
        own = self._identity.relay_id
        if record.peer_id != own or record.relay_id == own:
            raise Refused(Code.WRONG_RELAY)
        relay = known(record.relay_id)
        if relay.relay_id != record.relay_id:
            raise Refused(Code.WRONG_RELAY)
        return await self._workers.run(partial(relay.proven, key, shown))

    async def _shake_hands(self, stream: MessageStream, session: ClientSession) -> Welcome:
        await stream.send(session.connect())
        while session.state is not SessionState.OPEN:
            for reply in session.receive_unproven(await stream.receive()).replies:
                await stream.send(reply)
            await self._workers.run(session.prove)
        if session.welcome is None:
            raise Refused(Code.OUT_OF_ORDER)
        return session.welcome

    async def _await_answer(
        self, stream: MessageStream, session: ClientSession, challenge: Hash32
    ) -> str:
        received = session.receive(await stream.receive()).frames
        answer = received[0] if received else None
        if isinstance(answer, Failure):
            raise Refused(Code.NOT_FEDERATED, f"it refuses this relay: {answer.text}")
        if not isinstance(answer, Peered) or len(received) > 1:
            raise Refused(Code.OUT_OF_ORDER, "it does not talk to other relays")
        await self.check(answer.record, session.peer, challenge, lambda _: session.relay)
        return url_in(answer.record)
