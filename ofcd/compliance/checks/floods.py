"""What one peer may cost: rates, and floods while others talk on."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import trio

from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.errors import LinkEnded, NotKept, Skipped
from ofcd.compliance.lab import Lab
from ofcd.compliance.peer import Peer
from ofcd.compliance.people import Person
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import Hash32, InviteId, RoomId
from ofcd.themis import generate_keypair, sign
from ofcd.themis.signed import SignedRecord
from ofcd.wire import Closed

check = group("floods")

_FLOOD: Final = 20_000
_HONEST_SECONDS: Final = 10.0
"""An honest message may take so long beside a flood; behind one it would take for ever."""
_RATE: Final = 200


@check("rate", "14", "Too many messages are rate_limited, with a time after which one is taken.")
async def rate(lab: Lab) -> None:
    """A burst over what welcome says."""
    ana = await lab.founder()
    per_second = ana.peer.greeting.relay_limits.events_per_second
    if per_second > _RATE:
        raise Skipped(f"the relay takes {per_second} messages a second of one member")
    for _ in range(per_second * 20):
        signed = ana.event(b"fast")
        answer = await ana.peer.ask(ana.post_of(signed, b"fast"), patient=False)
        if isinstance(answer, frames.Ack):
            ana.room.take(signed, b"fast", answer)
        elif isinstance(answer, frames.Failure) and answer.code == Code.RATE_LIMITED:
            wait = answer.retry_after or 0
            require(0 < wait < 60_000, f"retry_after is {wait} ms")
            await trio.sleep(wait / 1000)
            ack = await ana.peer.expect(frames.Ack, ana.post_of(signed, b"fast"))
            ana.room.take(signed, b"fast", ack)
            return
        else:
            raise NotKept("a fast message was neither taken nor rate_limited")
    raise NotKept(
        f"{per_second * 20} messages were taken in a row, {per_second} are allowed a second"
    )


@check("signatures", "14", "Who sends false signatures without end loses the link.")
async def signatures(lab: Lab) -> None:
    """Each costs the relay a verification."""
    ana = await lab.founder()
    key = generate_keypair()
    try:
        for _ in range(200):
            good = ana.event(b"cell")
            forged = SignedRecord(good.record, good.payload, sign(key.private, good.payload))
            answer = await ana.peer.ask(ana.post_of(forged, b"cell"), patient=False)
            if isinstance(answer, frames.Failure) and answer.code == Code.RATE_LIMITED:
                await trio.sleep((answer.retry_after or 100) / 1000)
    except LinkEnded as end:
        require(end.last_words in ("", Code.RATE_LIMITED, Code.BAD_SIGNATURE), end.last_words)
        return
    raise NotKept("200 false signatures, and the link is still open")


async def _measured(ana: Person, bo: Person) -> float:
    began = trio.current_time()
    entry = await ana.say(b"still here")
    await bo.deliveries(entry.seq)
    return trio.current_time() - began


@check("frames", "14", "A flood of small requests does not keep others from talking.")
async def flood(lab: Lab) -> None:
    """Nor a flooder that never reads its answers."""
    ana, bo = await lab.pair()
    reading, deaf = await lab.link(), await lab.link()
    times: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_flood, reading, True)
        nursery.start_soon(_flood, deaf, False)
        for _ in range(3):
            await trio.sleep(0.2)
            times.append(await _measured(ana, bo))
        nursery.cancel_scope.cancel()
    require(
        max(times) < _HONEST_SECONDS,
        f"beside a flood an honest message took {max(times):.1f} s",
    )


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
