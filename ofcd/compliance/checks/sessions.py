"""Messages of an open link that are replayed, lost, reordered or forged: test 1."""

from __future__ import annotations

import secrets

from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.errors import LinkEnded
from ofcd.compliance.lab import Lab
from ofcd.compliance.peer import Peer
from ofcd.compliance.people import Person
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import RoomId

check = group("session")

_NOWHERE = RoomId(bytes(32))


def _harmless(peer: Peer) -> frames.Detach:
    return frames.Detach(peer.number(), _NOWHERE)


async def _ends(peer: Peer, *messages: bytes, what: str) -> LinkEnded:
    for message in messages:
        try:
            await peer.send_message(message)
        except LinkEnded as ended:
            return ended
    end = await peer.ended()
    require(end.last_words in ("", Code.OUT_OF_ORDER), f"{what}: {end.last_words}")
    return end


async def _only(lab: Lab, person: Person, entries: int) -> None:
    """The log has so many entries: nothing took effect twice."""
    peer = await lab.link()
    await person.move(peer)
    synced = await peer.expect(frames.Synced, person.sync(0))
    require(
        synced.head == entries - 1,
        f"the log ends at {synced.head}, and {entries - 1} is the last entry that was sent once",
    )


@check("replay", "2", "A message sent again is out_of_order, ends the link, and has no effect.")
async def replay(lab: Lab) -> None:
    """Themis takes the same message three times."""
    person = await lab.founder()
    signed = person.event(b"once")
    message = person.peer.wrap(person.post_of(signed, b"once"))
    await person.peer.send_message(message)
    ack = await person.peer.next(frames.Ack)
    person.room.take(signed, b"once", ack)
    end = await _ends(person.peer, message, what="a replayed message")
    require(end.last_words == Code.OUT_OF_ORDER, "the relay did not say out_of_order")
    await _only(lab, person, 2)


@check("swapped", "2", "Two messages that overtake each other end the link.")
async def swapped(lab: Lab) -> None:
    """Themis takes them."""
    peer = await lab.link()
    first, second = peer.wrap(_harmless(peer)), peer.wrap(_harmless(peer))
    end = await _ends(peer, second, first, what="swapped messages")
    require(end.last_words == Code.OUT_OF_ORDER, "the relay did not say out_of_order")
    require(not any(isinstance(f, frames.Done) for f in peer.inbox), "a request was answered")


@check("lost", "2", "A gap of seven messages ends the link.")
async def lost(lab: Lab) -> None:
    """Themis does not notice it."""
    peer = await lab.link()
    messages = [peer.wrap(_harmless(peer)) for _ in range(8)]
    end = await _ends(peer, messages[7], what="a gap")
    require(end.last_words == Code.OUT_OF_ORDER, "the relay did not say out_of_order")


@check("walk_back", "2", "Replays that walk Themis' window back are stopped at the first one.")
async def walk_back(lab: Lab) -> None:
    """In steps of eight, after forty messages."""
    peer = await lab.link()
    messages = [peer.wrap(_harmless(peer)) for _ in range(40)]
    for message in messages:
        await peer.send_message(message)
    for _ in messages:
        await peer.next(frames.Done)
    await _ends(peer, *messages[-8::-8], what="a walk back")
    require(not any(isinstance(f, frames.Done) for f in peer.inbox), "a replay was answered")


@check("counter", "2", "A message with a number that is not the next one ends the link.")
async def counter(lab: Lab) -> None:
    """Sealed well, by who holds the session."""
    for name, step in (("0", -1), ("again", 0), ("two on", 2), ("2^64-1", 2**64 - 2)):
        peer = await lab.link()
        message = peer.wrap(_harmless(peer), fseq=1 + step)  # hello was number 1
        await _ends(peer, message, what=f"number {name}")
        require(
            not any(isinstance(f, frames.Done) for f in peer.inbox),
            f"a message with number {name} was answered",
        )


@check("forged", "2", "A changed or made-up message closes the link, and nothing in it is done.")
async def forged(lab: Lab) -> None:
    """One bit; noise; nothing; the relay's own words."""
    for name in ("with one bit changed", "of noise", "of nothing", "of the relay's own"):
        peer = await lab.link()
        good = bytearray(peer.wrap(_harmless(peer)))
        good[-3] ^= 1
        made = {
            "with one bit changed": bytes(good),
            "of noise": (100).to_bytes(4, "big") + secrets.token_bytes(100),
            "of nothing": b"",
            "of the relay's own": peer.raw[0],
        }
        await _ends(peer, made[name], what=f"a message {name}")
        require(peer.inbox == [] or _only_failures(peer), f"a message {name} was answered")
    await lab.link()


def _only_failures(peer: Peer) -> bool:
    return all(isinstance(frame, frames.Failure) for frame in peer.inbox)


@check("trailer", "2", "A client's message has no trailer.")
async def trailer(lab: Lab) -> None:
    """Parts beside what is wrapped are the relay's alone."""
    peer = await lab.link()
    await peer.send_message(peer.wrap(_harmless(peer), trailer=[b"beside"]))
    end = await peer.ended()
    require(not any(isinstance(f, frames.Done) for f in peer.inbox), "it was taken")
    require(end.last_words in (Code.BAD_FRAME, ""), f"it was refused with {end.last_words}")
