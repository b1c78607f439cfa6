"""forced.json: a room whose hub is gone for good, for those who had seen more, or less, of it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Final

from attrs import evolve

from ofcd.e2e.chain import verify_chain
from ofcd.e2e.controls import (
    accept_handover,
    header_fields,
    make_grant,
    make_handover,
    make_home,
)
from ofcd.protocol.codes import Code, ProtocolError
from ofcd.protocol.ids import PublicKey, RelayId, relay_id_of
from ofcd.protocol.records import HubMove, Record, Role, Seen
from ofcd.protocol.room import RoomState
from ofcd.themis import generate_keypair
from ofcd.themis.moves import Moves
from ofcd.themis.signed import SignedRecord, sign_record
from tests.e2e.world import NOW, Person, World, found_world
from tests.vectors.making.chain import state_fields
from tests.vectors.making.common import HASH, Keys, member, relay_pair

URLS: Final = ("wss://new.example",)


def make(keys: Keys) -> dict[str, Any]:
    """The content of forced.json."""
    old = relay_id_of(PublicKey(relay_pair(keys).public))
    new, third = (relay_id_of(PublicKey(generate_keypair().public)) for _ in range(2))
    world = found_world(None, old, member(keys, "root"))
    ana = world.join("ana", mine=member(keys, "ana"))
    bo = world.join("bo", mine=member(keys, "bo"))
    root = world.root
    view = root.view
    world.control(
        make_grant(view.state, root.mine, view.seen, NOW, member=bo.mid, role=Role.CO_OWNER)
    )
    for person, home in ((ana, new), (bo, third)):
        view = person.view
        world.control(make_home(view.state, person.mine, view.seen, NOW, home=home))
    world.say(ana, "before")
    short = deepcopy(world)
    world.say(bo, "the last that the copy has")
    first, second = forced(world.root, new), forced(world.root, third)
    worlds = {
        "short": short,
        "copy": world,
        "tail": _tail(world),
        "handed": _handed_over(world),
        "new": _moved(world, first),
        "third": _moved(world, second),
    }
    later = forced(worlds["new"].root, third)
    worlds["later"] = _moved(worlds["new"], later)
    told = _told(world, worlds, first, second, later)
    return {
        "about": "Made once. `logs`: control logs of one room, and L from entry 0 to the end of "
        "each: of a copy, of one that is shorter, of one with a tail, and of three that go on from "
        "the copy by a HUB_MOVE with force. `parts`: HUB_MOVEs that are told to who has one of "
        "them, and what follows: null where nothing does, the entry behind which it is void and "
        "who orders the room now, or the code by which they are not taken. With `blind`, L is not "
        "known of that log before its last entry. `states`: what stands in a log at its end. "
        "`refused`: records that may not stand at `seq` of the log `copy`.",
        "room": world.relay.room.hex(),
        "logs": {name: _log(one) for name, one in worlds.items()},
        "states": {
            name: state_fields(one.root.view.state) | {"hubs": hub_fields(one.root.view.state)}
            for name, one in worlds.items()
        },
        "parts": [_part(worlds, *case) for case in told],
        "refused": _refused(world, bo, first),
    }


def hub_fields(state: RoomState) -> list[dict[str, Any]]:
    """All hubs of a room, in order."""
    return [
        {
            "term": hub.term,
            "relay_id": hub.relay_id.hex(),
            "since": hub.since,
            "urls": list(hub.urls),
            "forced": hub.forced,
            "event_id": hub.event_id.hex(),
        }
        for hub in state.hubs
    ]


def forced(by: Person, hub: RelayId, **changes: Any) -> SignedRecord:
    """HUB_MOVE by force behind all that its signer has seen; but for the changes."""
    view = by.view
    fields = header_fields(view.state, by.mine, view.seen, NOW)
    move = HubMove(**fields, hub=hub, urls=URLS, term=view.state.term + 1, force=True)
    changed: Record = evolve(move, **changes)
    return sign_record(by.mine.sign.private, changed)


def _tail(world: World) -> World:
    """What the hub ordered besides: words, an eviction, and words under the key that came by it."""
    more = deepcopy(world)
    root, ana, bo = more.people
    more.say(ana, "void")
    more.evict(root, bo)
    more.people.remove(bo)
    more.say(ana, "void, under a void key")
    return more


def _handed_over(world: World) -> World:
    """Root handed the room over since."""
    more = deepcopy(world)
    root, ana, _ = more.people
    accept = accept_handover(ana.view.state, ana.mine, NOW)
    view = root.view
    more.control(
        make_handover(view.state, root.mine, view.seen, NOW, to=ana.mid, accept=accept.envelope)
    )
    return more


def _moved(world: World, move: SignedRecord) -> World:
    """It goes on by this move, and, as it has to, by a boxed rotation."""
    more = deepcopy(world)
    more.control(move)
    more.rotate_boxed(more.root)
    more.say(more.people[1], "behind the move")
    return more


Told = tuple[str, str, Sequence[bytes], int | str | None, RelayId | None, bool]


def _told(
    world: World,
    worlds: dict[str, World],
    first: SignedRecord,
    second: SignedRecord,
    later: SignedRecord,
) -> list[Told]:
    one, two, three = (made.envelope for made in (first, second, later))
    new, third = (made.record.hub for made in (first, second))  # type: ignore[union-attr]
    end = world.relay.head
    bo = world.people[2]
    lower = first.event_id < second.event_id
    by_bo = forced(bo, new, mid=bo.mid).envelope
    as_root = forced(bo, new, mid=world.root.mid).envelope
    other = forced(world.root, new, seen=Seen(end, HASH)).envelope
    return [
        ("nothing is void", "copy", [one], end, new, False),
        ("it is not here yet", "short", [one], end - 1, new, False),
        ("a tail is void", "tail", [one], end, new, False),
        ("a tail is void, of which nothing earlier is known", "tail", [one], end, new, True),
        ("it stands there", "new", [one], None, None, False),
        ("it stands there, with more", "later", [one], None, None, False),
        ("one of the same term", "new", [two], "conflict" if lower else end, third, False),
        ("the other of that term", "third", [one], end if lower else "conflict", new, False),
        ("two, one behind the other", "tail", [one, three], end, third, False),
        ("the second of two", "new", [one, three], worlds["new"].relay.head, third, False),
        ("a higher term, over another one", "third", [one, three], end, third, False),
        ("a lower term", "later", [two], "conflict", None, False),
        ("a higher term, of which nobody told on what", "third", [three], end, third, False),
        ("by a co-owner", "copy", [by_bo], "forbidden", None, False),
        ("by a co-owner, as if by root", "copy", [as_root], "bad_signature", None, False),
        ("by who has handed the room over since", "handed", [one], "forbidden", None, False),
        ("over another log", "tail", [other], "fork", None, False),
    ]


def _part(
    worlds: dict[str, World],
    why: str,
    log: str,
    told: Sequence[bytes],
    result: int | str | None,
    hub: RelayId | None,
    blind: bool,
) -> dict[str, Any]:
    world = worlds[log]
    found = parted(world.relay.room, _log(world), told, blind=blind)
    expected = (result, hub) if isinstance(result, int) else result
    assert found == expected, (why, found, expected)
    case = {"why": why, "log": log, "told": [one.hex() for one in told], "blind": blind}
    if isinstance(result, int):
        assert hub is not None
        return {**case, "base": result, "hub": hub.hex()}
    return {**case, "code": result}


def parted(
    room: Any, log: dict[str, Any], told: Sequence[bytes], *, blind: bool
) -> tuple[int, RelayId] | str | None:
    """What the code makes of it: base and hub, a code, or None."""
    chain = [(row["seq"], bytes.fromhex(row["record"])) for row in log["chain"]]
    hashes = [bytes.fromhex(one) for one in log["hashes"]]
    end = len(hashes) - 1
    state = verify_chain(room, chain)
    try:
        moves = Moves.read(room, told)
        missing = moves.first_missing(state)
        seq = -1 if missing is None else missing.seen.seq
        ours = hashes[seq] if 0 <= seq <= end and not (blind and seq < end) else None
        parting = moves.part(state, end, ours)  # type: ignore[arg-type]
        if parting is None:
            return None
        moves.check(parting, verify_chain(room, chain, before=parting.base + 1), state)
    except ProtocolError as error:
        return error.code
    return parting.base, parting.hub


def _log(world: World) -> dict[str, Any]:
    return {
        "chain": [{"seq": seq, "record": raw.hex()} for seq, raw in world.relay.chain()],
        "hashes": [world.relay.hash_at(seq).hex() for seq in range(world.relay.head + 1)],
    }


def _refused(world: World, bo: Person, first: SignedRecord) -> list[dict[str, Any]]:
    record, root = first.record, world.root
    assert isinstance(record, HubMove)
    cases = [
        ("by a co-owner", forced(bo, record.hub, mid=bo.mid), Code.FORBIDDEN),
        ("a term of before", forced(root, record.hub, term=0), Code.FORBIDDEN),
        (
            "a higher term, not by force",
            forced(root, record.hub, term=2, force=False),
            Code.FORBIDDEN,
        ),
        ("to the hub there is", forced(root, root.view.state.hub), Code.FORBIDDEN),
        ("to where nobody is", forced(root, RelayId(HASH)), Code.FORBIDDEN),
        (
            "not behind what it has seen",
            forced(root, record.hub, seen=Seen(record.seen.seq - 1, HASH)),
            Code.SEEN_STALE,
        ),
    ]
    return [
        {"why": why, "seq": world.relay.head + 1, "record": made.envelope.hex(), "code": code.value}
        for why, made, code in cases
    ]
