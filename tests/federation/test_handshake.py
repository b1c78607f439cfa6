"""How two relays introduce themselves: what is checked of whom, and of what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
import trio
from attrs import define, field

from ofcd.daemon.identity import Identity
from ofcd.daemon.peers.handshake import Handshake
from ofcd.protocol import frames
from ofcd.protocol.codes import Code, ProtocolError
from ofcd.protocol.ids import Hash32, PublicKey, RelayId, RoomId
from ofcd.protocol.records import LogHead, Peer
from ofcd.session import ClientSession, SessionState
from ofcd.testing.world import Inline
from ofcd.themis import generate_keypair
from ofcd.themis.lineage import Lineage
from ofcd.themis.signed import sign_record
from ofcd.wire import MessageStream

CHALLENGE = Hash32(b"c" * 32)
WELCOME = frames.Welcome(1, CHALLENGE, cast("frames.RelayLimits", None), 1)
OWN, OTHER = Identity.of(generate_keypair()), Identity.of(generate_keypair())
SHAKING = Handshake(OWN, Inline(), lambda: "wss://own.example", lambda: 1_795_000_000_000)


def introduction(by: Identity, **changes: Any) -> bytes:
    """OTHER's PEER, for OWN on this link, but for `changes`; signed by `by`."""
    fields: dict[str, Any] = {
        "v": 1,
        "relay_id": by.relay_id,
        "peer_id": OWN.relay_id,
        "challenge": CHALLENGE,
        "ts": 1,
        **changes,
    }
    return sign_record(by.keys.private, Peer(**fields)).envelope


async def test_whoever_introduces_itself_means_this_relay_on_this_link() -> None:
    """The right one passes; each thing that is wrong has its code."""

    async def check(envelope: bytes, key: PublicKey, challenge: Hash32) -> Lineage:
        return await SHAKING.check(envelope, key, challenge, Lineage)

    assert await check(introduction(OTHER), OTHER.public, CHALLENGE) == OTHER.relay
    head = LogHead(1, RoomId(bytes(32)), 0, 0, Hash32(bytes(32)), 1)
    another = sign_record(OTHER.keys.private, head).envelope
    for envelope, code in (
        (another, Code.BAD_RECORD),
        (introduction(OTHER, challenge=Hash32(b"d" * 32)), Code.STALE_CHALLENGE),
        (introduction(OTHER, peer_id=RelayId(bytes(32))), Code.WRONG_RELAY),
        (introduction(OTHER, relay_id=RelayId(bytes(32))), Code.WRONG_RELAY),
        (introduction(OWN, relay_id=OTHER.relay_id), Code.BAD_SIGNATURE),
    ):
        with pytest.raises(ProtocolError) as refused:
            await check(envelope, OTHER.public, CHALLENGE)
        assert refused.value.kind is code
    with pytest.raises(ProtocolError) as refused:
        await check(introduction(OWN), OWN.public, CHALLENGE)
    assert refused.value.kind is Code.WRONG_RELAY, "it dialled itself"


@define
class Silent:
    """A stream at whose other end a relay says what the test says."""

    sent: list[bytes] = field(factory=list)

    async def send(self, payload: bytes) -> None:
        self.sent.append(payload)

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return b""


@define
class Told:
    """A session as it is once the other relay has said this."""

    answers: Sequence[object]
    welcome: frames.Welcome | None = WELCOME
    state: SessionState = SessionState.OPEN
    peer: Any = OTHER.public
    relay: Any = OTHER.relay

    def connect(self) -> bytes:
        return b""

    def send(self, sent: Sequence[object]) -> bytes:
        return b""

    def receive(self, message: bytes) -> Any:
        return self

    @property
    def frames(self) -> Sequence[object]:
        return self.answers


async def shake(told: Told) -> tuple[Hash32, str]:
    stream, session = cast("MessageStream", Silent()), cast("ClientSession", told)
    return await SHAKING.dialled(stream, session, OTHER.relay_id)


async def test_what_the_dialled_relay_answers_is_its_own_introduction_and_nothing_else() -> None:
    """No greeting, a refusal, another frame, or more than one: not a peer."""
    peered = frames.Peered(1, introduction(OTHER))
    challenge, _ = await shake(Told([peered]))
    assert challenge == CHALLENGE
    for told, code in (
        (Told([peered], welcome=None), Code.OUT_OF_ORDER),
        (Told([frames.Failure(1, "not_federated", "no")]), Code.NOT_FEDERATED),
        (Told([frames.Pong(1)]), Code.OUT_OF_ORDER),
        (Told([]), Code.OUT_OF_ORDER),
        (Told([peered, peered]), Code.OUT_OF_ORDER),
        (Told([frames.Peered(1, introduction(OWN))]), Code.BAD_SIGNATURE),
    ):
        with pytest.raises(ProtocolError) as refused:
            await shake(told)
        assert refused.value.kind is code
