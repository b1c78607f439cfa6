"""What one peer may cost: rates, and floods while others talk on."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

import trio

from ofcd.compliance.beside import beside
from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.errors import LinkEnded, NotKept, Skipped
from ofcd.compliance.lab import Lab
from ofcd.compliance.peer import Peer
from ofcd.compliance.people import Person
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import Hash32, InviteId, RoomId
from ofcd.themis import KeyPair, generate_keypair, sign
from ofcd.themis.signed import SignedRecord
from ofcd.wire import Closed

check = group("floods")

_FLOOD: Final = 20_000
_RATE: Final = 200
_BURST_SECONDS: Final = 20
"""So many seconds' worth of messages a relay may take at once: OFC/1 names no number."""
_FORGERIES: Final = 200
_FLOOD_SECONDS: Final = 60.0
"""What takes longer than this is no flood: the relay is too slow or too far away for one."""


@check("rate", "14", "Too many messages are rate_limited, with a time after which one is taken.")
async def rate(lab: Lab) -> None:
    """A burst over what welcome says, counted against the time in which the relay took it."""
    ana = await lab.founder()
    per_second = ana.peer.greeting.relay_limits.events_per_second
    if per_second > _RATE:
        raise Skipped(f"the relay takes {per_second} messages a second of one member")
    before, began = ana.room.head.seq, trio.current_time()
    while (seconds := trio.current_time() - began) < _FLOOD_SECONDS:
        refused = await ana.try_many(ana.peer.at_once)
        if refused is not None:
            await _limited(ana, *refused)
            return
        taken = ana.room.head.seq - before
        seconds = trio.current_time() - began
        require(
            taken <= per_second * (_BURST_SECONDS + seconds),
            f"{taken} messages were taken in {seconds:.1f} s, {per_second} are allowed a second",
        )
    raise Skipped(
        f"it took {taken} messages in {seconds:.0f} s, which it may: it is too slow or too far "
        "away to be sent too many"
    )


async def _limited(
    ana: Person, post: frames.Post, signed: SignedRecord, answer: frames.RelayFrame
) -> None:
    """This is `rate_limited`, and the message is taken once the time that it names is over."""
    if not isinstance(answer, frames.Failure) or answer.code != Code.RATE_LIMITED:
        raise NotKept("a fast message was neither taken nor rate_limited")
    wait = answer.retry_after or 0
    require(0 < wait < 60_000, f"retry_after is {wait} ms")
    await trio.sleep(wait / 1000)
    again = ana.post_of(signed, post.cell)
    ana.room.take(signed, post.cell, await ana.peer.expect(frames.Ack, again))


@check("signatures", "14", "Who sends false signatures without end loses the link.")
async def signatures(lab: Lab) -> None:
    """Each costs the relay a verification."""
    ana = await lab.founder()
    key = generate_keypair()
    began = trio.current_time()
    try:
        for _ in range(_FORGERIES // ana.peer.at_once + 1):
            answers = await ana.peer.ask_all([_forged(ana, key) for _ in range(ana.peer.at_once)])
            waits = [a.retry_after or 0 for a in answers if isinstance(a, frames.Failure)]
            await trio.sleep(max(waits, default=0) / 1000)
    except LinkEnded as end:
        require(end.last_words in ("", Code.RATE_LIMITED, Code.BAD_SIGNATURE), end.last_words)
        return
    seconds = trio.current_time() - began
    if seconds > _FLOOD_SECONDS:
        raise Skipped(f"it took {seconds:.0f} s to send what is too much in a minute")
    raise NotKept(f"{_FORGERIES} false signatures, and the link is still open")


def _forged(ana: Person, key: KeyPair) -> frames.Post:
    good = ana.event(b"cell")
    return ana.post_of(
        SignedRecord(good.record, good.payload, sign(key.private, good.payload)), b"cell"
    )


@check("frames", "14", "A flood of small requests does not keep others from talking.")
async def flood(lab: Lab) -> None:
    """Nor a flooder that never reads its answers."""
    ana, bo = await lab.pair()
    reading, deaf = await lab.link(), await lab.link()
    await beside(ana, bo, partial(_flood, reading, True), partial(_flood, deaf, False))


async def _flood(peer: Peer, reads: bool) -> None:
    """Ask without end; the relay may end this link when it has had enough of it."""
    guess = (RoomId(bytes(32)), InviteId(bytes(16)), Hash32(bytes(32)))
    with suppress(Closed, trio.BrokenResourceError):
        for _ in range(_FLOOD):
            await peer.stream.send(peer.wrap(frames.Lookup(peer.number(), *guess)))
            if reads:
                await _drain(peer)


async def _drain(peer: Peer) -> None:
    """Read what is there, without a wait."""
    with trio.move_on_after(0.001):
        while True:
            await peer.stream.receive()
