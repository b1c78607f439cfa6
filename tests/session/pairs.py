"""Two ends of a link, joined by hand."""

from __future__ import annotations

from ofcd.protocol.frames import RelayLimits, Welcome
from ofcd.protocol.ids import Hash32, PublicKey, relay_id_of
from ofcd.protocol.limits import FRAME_BYTES
from ofcd.session import ClientSession, RelaySession, SessionState
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.lineage import Lineage

CHALLENGE = Hash32(bytes(range(32)))
LIMITS = RelayLimits(65536, 1 << 26, 500, 20, 64)


def welcome(version: int) -> Welcome:
    return Welcome(version=version, challenge=CHALLENGE, relay_limits=LIMITS, ts=1)


def make_pair(
    relay_keys: KeyPair | None = None,
    pin: PublicKey | None = None,
    *,
    frame_bytes: int = FRAME_BYTES,
) -> tuple[ClientSession, RelaySession]:
    """A client and a relay that have not spoken yet."""
    keys = relay_keys or generate_keypair()
    pinned = Lineage(relay_id_of(pin or PublicKey(keys.public)))
    relay = RelaySession(keys, welcome, frame_bytes=frame_bytes)
    return ClientSession(generate_keypair(), pinned), relay


def open_pair(*, frame_bytes: int = FRAME_BYTES) -> tuple[ClientSession, RelaySession]:
    """A client and a relay in state OPEN."""
    client, relay = make_pair(frame_bytes=frame_bytes)
    open_up(client, relay)
    return client, relay


def open_up(client: ClientSession, relay: RelaySession) -> None:
    """Shake hands, until the client is in state OPEN."""
    to_relay = [client.connect()]
    while client.state is not SessionState.OPEN:
        to_client = [r for message in to_relay for r in relay.receive(message).replies]
        to_relay = [r for message in to_client for r in client.receive(message).replies]
