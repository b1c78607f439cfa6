"""Two relays introduce themselves: PEER."""

from __future__ import annotations

from contextlib import suppress

from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.errors import LinkEnded
from ofcd.compliance.lab import Lab
from ofcd.compliance.people import random_hash
from ofcd.compliance.relays import RelayEnd, introduce, open_relay, shaken_relay
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.frames import encode_frame
from ofcd.protocol.ids import Hash32, RelayId, RoomId
from ofcd.themis import generate_keypair, sign
from ofcd.themis.signed import SignedRecord

check = group("peering")


@check("opens", "19", "Two relays that prove their keys to each other, on this link, are peers.")
async def opens(lab: Lab) -> None:
    """The control; and a ping is answered."""
    end = await open_relay(lab)
    await end.send(frames.Ping(7))
    pong = await end.next(frames.Pong)
    require(pong.number == 7, "another ping was answered")


@check("proof", "19", "A relay that does not prove who it is, to whom, and here, is no peer.")
async def proof(lab: Lab) -> None:
    """Wrong end, old challenge, another relay's name, another key's signature."""
    await open_relay(lab)  # skips where no stranger is taken
    other = generate_keypair()
    for name in ("for another relay", "for another link", "in another's name", "of another key"):
        end = await shaken_relay(lab)
        good = end.introduction()
        made = {
            "for another relay": end.introduction(peer_id=RelayId(random_hash())),
            "for another link": end.introduction(challenge=random_hash()),
            "in another's name": end.introduction(relay_id=RelayId(random_hash())),
            "of another key": SignedRecord(
                good.record, good.payload, sign(other.private, good.payload)
            ),
        }
        require(not await _is_taken(end, made[name]), f"an introduction {name} was taken")


async def _is_taken(end: RelayEnd, record: SignedRecord) -> bool:
    try:
        return isinstance(await introduce(end, record), frames.Peered)
    except LinkEnded:
        return False


@check("network", "19", "What the network does to a link is not held against the other relay.")
async def network(lab: Lab) -> None:
    """Replayed, cut, changed: the link ends; a new one of the same relay is taken."""
    keys = generate_keypair()
    for name in ("a replayed message", "a message cut short", "a changed message"):
        end = await open_relay(lab, keys)
        good = end.wrap(frames.Ping(1))
        if name == "a replayed message":
            await end.send_message(good)
        made = {
            "a replayed message": good,
            "a message cut short": good[:-5],
            "a changed message": good[:-5] + bytes([good[-5] ^ 1]) + good[-4:],
        }
        with suppress(LinkEnded):
            await end.send_message(made[name])
        await end.ended()
    end = await open_relay(lab, keys)
    await end.send(frames.Ping(2))
    await end.next(frames.Pong)


@check("roles", "19", "What relays say to each other is refused from clients, and the other way.")
async def roles(lab: Lab) -> None:
    """A client can not follow a room, a relay does not attach to one."""
    end = await open_relay(lab)
    await end.send(frames.Detach(1, RoomId(bytes(32))))
    gone = await end.ended()
    require(
        not any(isinstance(f, frames.Done) for f in end.inbox), "a relay was served as a client"
    )
    refused = (Code.BAD_FRAME, Code.BAD_RECORD, Code.RATE_LIMITED, "")
    require(gone.last_words in refused, f"a relay that attaches: {gone.last_words!r}")
    client = await lab.link()
    await client.send(encode_frame(frames.Follow(1, RoomId(bytes(32)), 0, Hash32(bytes(32)))))
    gone = await client.ended()
    require(gone.last_words == Code.BAD_FRAME, f"a client's FOLLOW: {gone.last_words!r}")


@check("garbage", "19", "A relay that sends what is no frame loses its link; nobody else does.")
async def garbage(lab: Lab) -> None:
    """Noise, a head that lies, a part too many."""
    ana, bo = await lab.pair()
    for raw in (b"noise", (1000).to_bytes(4, "big") + b"{}", encode_frame(frames.Ping(1)) + b"x"):
        end = await open_relay(lab)
        await end.send(raw)
        await end.ended()
    entry = await ana.say()
    await bo.deliveries(entry.seq)
