"""Relays that break a promise towards other relays, or towards members of another relay's rooms."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from attrs import evolve

from ofcd.daemon import hub
from ofcd.daemon.peers import copies, federation, handshake, link, outgoing, telling
from ofcd.protocol import frames
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import RoomId, log_hash, relay_id_of
from ofcd.protocol.records import CONTROL_TYPES
from ofcd.relay import Decision, Entry, Verified, following, joining, moving, outbox, posting, relay
from ofcd.session import session as sessions
from ofcd.themis import generate_keypair
from ofcd.themis.lineage import Lineage
from ofcd.themis.signed import peek, sign_record
from tests.compliance.broken import broken, nothing


@broken("peering.opens")
def introduces_itself_as_another(patch: pytest.MonkeyPatch) -> None:
    def by_another_key(_: bytes, record: Any) -> Any:
        return sign_record(generate_keypair().private, record)

    patch.setattr(handshake, "sign_record", by_another_key)


@broken("peering.proof")
def takes_any_introduction(patch: pytest.MonkeyPatch) -> None:
    async def check(self: Any, envelope: bytes, key: Any, *_: object) -> Any:
        return Lineage(relay_id_of(key))

    patch.setattr(handshake.Handshake, "check", check)


@broken("peering.network")
def holds_the_network_against_relays(patch: pytest.MonkeyPatch) -> None:
    real = link.PeerLink.end

    def end(self: Any, failure: Any) -> None:
        real(self, failure)
        if failure.code == Code.OUT_OF_ORDER:
            self.offend("out of order")

    patch.setattr(link.PeerLink, "end", end)


@broken("peering.garbage", "peering.roles")
def passes_over_nonsense(patch: pytest.MonkeyPatch) -> None:
    real_peer, real_client = frames.decode_peer_frame, frames.decode_client_frame

    def decode_peer(raw: bytes) -> Any:
        try:
            return real_peer(raw)
        except Malformed:
            return frames.Ping(0)

    def decode_client(raw: bytes) -> Any:
        try:
            return real_client(raw)
        except Malformed:
            return frames.Detach(1, RoomId(bytes(32)))

    patch.setattr(sessions, "decode_peer_frame", decode_peer)
    patch.setattr(sessions, "decode_client_frame", decode_client)


@broken("follower.served", "follower.evicted", "follower.boxes")
def serves_nobody(patch: pytest.MonkeyPatch) -> None:
    def check(*_: Any) -> Any:
        raise Refused(Code.NOT_FOUND)

    patch.setattr(relay.Relay, "check_follow", check)


@broken("follower.uninvited", "follower.boxes")
def everybody_is_at_home_everywhere(patch: pytest.MonkeyPatch) -> None:
    def homed(self: Any, room: RoomId, peer: Any) -> Any:
        held = self._core.rooms.get(room)
        return frozenset(held.state.members) if held else frozenset()

    patch.setattr(relay.Relay, "homed", homed)
    patch.setattr(relay.Relay, "last_for", lambda *_: None)


@broken("follower.anothers")
def lanes_for_anybody(patch: pytest.MonkeyPatch) -> None:
    def enter(self: Any, lane: Any, room: RoomId, mid: Any) -> Any:
        held = self._core.links.get(lane)
        self._core.links.attach(held, room, mid)
        return Decision()

    patch.setattr(relay.Relay, "enter_lane", enter)


@broken("follower.forged")
def no_signatures_in_lanes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ofcd.relay.request.Examined.verify", nothing)


@broken("follower.homes")
def any_home(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(joining, "_check_new", nothing)


@broken("follower.again")
def repeats_in_lanes_are_new(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(posting, "repeated", nothing)


@broken("follower.forked")
def any_log(patch: pytest.MonkeyPatch) -> None:
    real = relay.Relay.check_follow
    patch.setattr(
        relay.Relay,
        "check_follow",
        lambda self, room, peer, start, log: real(self, room, peer, 0, None),
    )


@broken("follower.evicted", "follower.moved")
def never_ends_a_copy(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(federation.Federation, "members_changed", nothing)


@broken("follower.hands_over")
def hands_over_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(moving, "is_ready", lambda *_: True)


@broken("hub.takes_over")
def stays_a_follower(patch: pytest.MonkeyPatch) -> None:
    def change(core: Any, room: Any, before: Any, *_: Any) -> None:
        room.ahead = before.hub

    patch.setattr(following, "change_hub", change)


@broken("forced.taken")
def takes_a_forced_move_anywhere(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(moving, "is_ready", lambda *_: True)


@broken("forced.taken_back")
def hears_of_no_move(patch: pytest.MonkeyPatch) -> None:
    async def take(*_: Any) -> None:
        pass

    patch.setattr(telling.Telling, "take", take)


@broken("follower.local_only")
def local_only_means_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(joining, "_require_open", nothing)


@broken("follower.refill")
def takes_any_refill(patch: pytest.MonkeyPatch) -> None:
    async def take(
        hub: Any, relay: Any, workers: Any, identity: Any, peer: Any, frame: Any
    ) -> None:
        room = await hub.room(frame.room)
        entry = Entry(frame.start, frame.entries[0], frame.entries[1])
        await hub.do(lambda: relay.replicate(frame.room, believed(room, [entry]), 0), frame.room)

    patch.setattr(federation, "take_refill", take)


def believed(room: Any, entries: Any) -> list[Verified]:
    """Entries without a look at them: `verify_entries` with everything taken out."""
    found: list[Verified] = []
    log, state = room.log, room.state
    for entry in entries:
        signed = peek(entry.record)
        record: Any = signed.record
        log = log_hash(log, entry.seq, signed.event_id)
        after = None
        if isinstance(record, CONTROL_TYPES):
            try:
                state = state.apply(record, signed.event_id, entry.seq)
            except Refused:
                state = evolve(state, ctl=signed.event_id, seq=entry.seq)
            after = state
        found.append(Verified(entry, signed, log, record.mid, after))
    return found


@broken(
    "hub.forged",
    "hub.strangers",
    "hub.reordered",
    "hub.dropped",
    "hub.rights",
    "hub.usurped",
    "hub.cells",
    "hub.boxes",
)
def believes_its_hubs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(copies, "verify_entries", believed)


@broken("hub.replayed", "hub.reordered", "hub.dropped")
def passes_on_unread(patch: pytest.MonkeyPatch) -> None:
    real = copies.Copies.grow

    async def grow(self: Any, room: Any, entries: Any) -> None:
        for entry in entries:
            delivery = frames.Delivery(room, entry.seq, entry.record, entry.cell)
            for link_id, _ in self._relay.links_in(room):
                self._push(link_id, frames.encode_frame(delivery))
        await real(self, room, entries)

    patch.setattr(copies.Copies, "grow", grow)


@broken("hub.returned")
def one_reason_for_all(patch: pytest.MonkeyPatch) -> None:
    conflict = frames.Failure(0, Code.SID_CONFLICT.value, "refused", 1)
    patch.setattr(outbox, "_BEHIND", conflict)


@broken("hub.gap")
def never_asks_again(patch: pytest.MonkeyPatch) -> None:
    async def gap(self: Any, *_: Any) -> None:
        return

    patch.setattr(copies.Copies, "_gap", gap)


@broken("hub.followed")
def keeps_the_outbox(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outgoing.Outgoing, "pump", nothing)


@broken("hub.equivocates", "hub.history")
def believes_every_head(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(copies.Copies, "_accept", lambda *_: Decision())


@broken("follower.flood", "hub.flood")
def relays_first(patch: pytest.MonkeyPatch) -> None:
    real_take, real_peer = hub.Hub.take, link.PeerLink._take_peer
    turn = trio.Lock()

    async def take(self: Any, end: Any, batch: Any) -> None:
        async with turn:
            await real_take(self, end, batch)

    async def take_peer(self: Any, received: Any) -> None:
        given = list(received)
        if len(given) > 10:
            async with turn:
                await trio.sleep(11)
        await real_peer(self, given)

    patch.setattr(hub.Hub, "take", take)
    patch.setattr(link.PeerLink, "_take_peer", take_peer)
