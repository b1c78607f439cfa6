"""forced.json: a room whose hub is gone for good, for those who had seen more, or less, of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any, Final

from attrs import evolve, frozen

from ofcd.e2e.chain import verify_chain
from ofcd.e2e.controls import (
    accept_handover,
    header_fields,
    make_grant,
    make_handover,
    make_home,
)
from ofcd.protocol.codes import Code, ProtocolError
from ofcd.protocol.ids import EventId, Hash32, PublicKey, RelayId, RoomId, relay_id_of
from ofcd.protocol.records import HubMove, Record, Role, Seen
from ofcd.protocol.room import RoomState
from ofcd.themis import generate_keypair
from ofcd.themis.moves import Moves, check_claim, seen_of
from ofcd.themis.signed import SignedRecord, peek, sign_record
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
    made = {name: forced(world.root, hub) for name, hub in (("new", new), ("third", third))}
    made["asked"] = forced(world.root, new, force=False)
    worlds = {
        "short": short,
        "copy": world,
        "tail": _tail(world),
        "handed": _handed_over(world),
        "new": _moved(world, made["new"]),
        "third": _moved(world, made["third"]),
        "asked": _moved(world, made["asked"], boxed=False),
    }
    made["later"] = forced(worlds["new"].root, third)
    made["left"] = forced(worlds["asked"].root, third)
    made["silent"] = forced(worlds["new"].root, third, force=False, after=None)
    worlds["later"] = _moved(worlds["new"], made["later"])
    worlds["left"] = _moved(worlds["asked"], made["left"])
    worlds["silent"] = _moved(worlds["new"], made["silent"], boxed=False)
    worlds["beyond"] = deepcopy(worlds["asked"])
    for number in range(2):
        worlds["beyond"].say(ana_of(worlds["beyond"]), f"void behind a move, {number}")
    return {
        "about": "Made once. `logs`: control logs of one room, and L from entry 0 to the end of "
        "each: `copy` is a copy whose hub is gone, `short` one that is shorter, `tail` goes on as "
        "the hub of before had it, `handed` by a handover; `new`, `third` and `asked` go on from "
        "the copy by HUB_MOVEs, the last one without force; `later` and `silent` go on from `new`, "
        "and `left` and `beyond` from `asked`. `parts`: HUB_MOVEs that are told to who has one of "
        "them, and what follows: null where nothing does, the entry behind which it is void and "
        "who orders the room now, or the code by which they are not taken. With `blind`, L is not "
        "known of that log before its last entry; `kept` is the last one that was told before, and "
        "taken. `rivals`: pairs of one term, of that log and told. `states`: what stands in a log "
        "at its end. `refused`: records that may not stand at the end of `log`.",
        "room": world.relay.room.hex(),
        "logs": {name: _log(one) for name, one in worlds.items()},
        "states": {
            name: state_fields(one.root.view.state) | {"hubs": hub_fields(one.root.view.state)}
            for name, one in worlds.items()
        },
        "parts": [_part(worlds, case) for case in _told(worlds, made)],
        "refused": _refused(worlds, made),
    }


def ana_of(world: World) -> Person:
    """The plain member."""
    return world.people[1]


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
    state = by.view.state
    fields = header_fields(state, by.mine, by.view.seen, NOW)
    after = state.moved[-1].event_id if state.moved else None
    move = HubMove(**fields, hub=hub, urls=URLS, term=state.term + 1, force=True, after=after)
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


def _moved(world: World, move: SignedRecord, *, boxed: bool = True) -> World:
    """It goes on by this move, and, as it has to where that is by force, by a boxed rotation."""
    more = deepcopy(world)
    more.control(move)
    if boxed:
        more.rotate_boxed(more.root)
    more.say(ana_of(more), "behind the move")
    return more


@frozen
class Case:
    """What is told to who has one of the logs, and what follows."""

    why: str
    log: str
    told: tuple[SignedRecord, ...]
    result: int | str | None
    """The entry behind which all is void, or a code."""
    blind: bool = False
    kept: SignedRecord | None = None


def _told(worlds: dict[str, World], made: dict[str, SignedRecord]) -> Iterator[Case]:
    end = worlds["copy"].relay.head
    new, third, asked = made["new"], made["third"], made["asked"]
    later, left = made["later"], made["left"]
    ends = {name: world.relay.head for name, world in worlds.items()}
    yield from (
        Case("nothing is void", "copy", (new,), end),
        Case("it is not here yet", "short", (new,), end - 1),
        Case("a tail is void", "tail", (new,), end),
        Case("a tail is void, of which nothing earlier is known", "tail", (new,), end, blind=True),
        Case("it stands there", "new", (new,), None),
        Case("it stands there, with more", "later", (new,), None),
        Case("two, one behind the other", "tail", (new, later), end),
        Case("two, of which none is here yet", "short", (new, later), end - 1),
        Case("the second of two", "new", (new, later), ends["new"]),
        Case("the second of two alone", "new", (later,), ends["new"]),
        Case("a higher term, over another one", "third", (new, later), end),
        Case("a lower term", "later", (third,), "conflict"),
        Case("one that begins behind where the logs part", "third", (later,), "conflict"),
        Case("the same, and nothing is known of before", "tail", (later,), "conflict", blind=True),
    )
    lower = new.event_id < third.event_id
    yield Case("one of the same term", "new", (third,), "conflict" if lower else end)
    yield Case("the other of that term", "third", (new,), end if lower else "conflict")
    yield from _without_force(worlds, made, end)
    yield from (
        Case("by force behind one without", "tail", (asked, left), end),
        Case("by force behind one without, not here yet", "short", (asked, left), end - 1),
        Case("by force, where the one without stands", "asked", (asked, left), ends["asked"]),
        Case("what came behind the one without is void", "beyond", (asked, left), ends["asked"]),
        Case("by force, before one without", "tail", (new, made["silent"]), end),
        Case("a move without force is void", "asked", (new, later), end),
        Case("told before, and taken", "short", (new,), None, kept=new),
        Case("less than was told before", "short", (new,), "conflict", kept=later),
        Case("more than was told before", "short", (new, later), end - 1, kept=new),
        Case("another log than was told before", "short", (third,), "conflict", kept=later),
    )
    other = forced(worlds["copy"].root, _hub(third), force=False)
    for one, kept in ((asked, other), (other, asked)):
        yield Case("without force, for what was told before", "short", (one,), end - 1, kept=kept)
    yield from _rivals(worlds, made, end)
    yield from _hostile(worlds, made)


def _without_force(
    worlds: dict[str, World], made: dict[str, SignedRecord], end: int
) -> Iterator[Case]:
    root, asked = worlds["copy"].root, made["asked"]
    new, silent = made["new"], made["silent"]
    other = forced(root, _hub(asked), force=False, seen=Seen(end, HASH))
    second = forced(worlds["asked"].root, _hub(made["third"]), force=False)
    yield from (
        Case("without force, and nothing is void", "copy", (asked,), end),
        Case("without force, not here yet", "short", (asked,), end - 1),
        Case("without force, and the log goes on", "tail", (asked,), "conflict"),
        Case("without force, blind", "tail", (asked,), "conflict", blind=True),
        Case("without force, over another log", "copy", (other,), "conflict"),
        Case("without force, of the same term", "third", (asked,), "conflict"),
        Case("two without force, over another move", "third", (asked, second), "conflict"),
        Case("two without force", "asked", (asked, second), worlds["asked"].relay.head),
        Case("two without force, and the log goes on", "beyond", (asked, second), "conflict"),
        Case("by an older client", "new", (new, silent), worlds["new"].relay.head),
        Case("by an older client, it stands there", "silent", (new, silent), None),
        Case("by an older client, alone", "short", (silent,), end - 1),
    )


def _rivals(worlds: dict[str, World], made: dict[str, SignedRecord], end: int) -> Iterator[Case]:
    """Where other moves stand in the own log, and its L is not, or can not be, theirs."""
    new = made["new"]
    hub = _hub(made["third"])
    short, tail = worlds["short"].root, worlds["tail"].root
    behind = forced(tail, hub, term=5)
    anchored = forced(tail, hub, term=5, after=new.event_id)
    before = forced(short, hub, term=5)
    yield from (
        Case("a higher term, behind a longer end", "new", (behind,), end),
        Case("the same, and nothing is known of before", "new", (behind,), end, blind=True),
        Case("a higher term, behind a shorter end", "new", (before,), end - 1),
        Case("behind a move that both have", "later", (anchored,), made_at(worlds, "later")),
        Case("the same, both told", "later", (new, anchored), made_at(worlds, "later")),
    )


def made_at(worlds: dict[str, World], log: str) -> int:
    """The entry before the last HUB_MOVE of a log."""
    return worlds[log].root.view.state.moved[-1].since - 1


def _hostile(worlds: dict[str, World], made: dict[str, SignedRecord]) -> Iterator[Case]:
    world, new, later = worlds["copy"], made["new"], made["later"]
    root, bo, hub = world.root, world.people[2], _hub(made["new"])
    yield from (
        Case("by a co-owner", "copy", (forced(bo, hub, mid=bo.mid),), "forbidden"),
        Case("as if by root", "copy", (forced(bo, hub, mid=root.mid),), "bad_signature"),
        Case("one of two as if by root", "copy", (new, _by(bo, later)), "bad_signature"),
        Case("by who has handed the room over since", "handed", (new,), "forbidden"),
        Case(
            "over another log",
            "tail",
            (forced(root, hub, seen=Seen(world.relay.head, HASH)),),
            "fork",
        ),
    )
    [genesis, *_] = world.relay.chain()
    malformed = {
        "none": (),
        "no move": (peek(genesis[1]),),
        "a move, and none": (new, peek(genesis[1])),
        "of another room": (_changed(root, new, room=RoomId(HASH)),),
        "one twice": (new, new),
        "in the wrong order": (later, new),
        "the term does not rise": (new, _changed(root, later, term=1)),
        "they do not follow": (new, _changed(root, later, seen=_seen(new))),
        "not the one before": (new, _changed(root, later, after=EventId(HASH))),
        "by force, and none before": (new, _changed(root, later, after=None)),
        "more than are told at once": tuple(_chain_of(root, hub, 9)),
    }
    for why, told in malformed.items():
        yield Case(why, "short", told, "bad_record")
    earlier = Seen(world.relay.head - 1, HASH)
    missing = _changed(root, made["asked"], seen=earlier, term=0)
    silent = worlds["silent"].root
    unlinked = forced(silent, hub, term=3)
    last_known = peek(worlds["silent"].relay.entries[made_at(worlds, "silent") + 1].envelope)
    yield Case(
        "one that is here behind one that is not", "silent", (missing, last_known), "conflict"
    )
    yield Case(
        "the whole, with one that is not", "silent", (missing, last_known, unlinked), "conflict"
    )
    yield Case(
        "as many as are told at once", "copy", tuple(_chain_of(root, hub, 8)), world.relay.head
    )


def _chain_of(by: Person, hub: RelayId, count: int) -> Iterator[SignedRecord]:
    """HUB_MOVEs, each behind the one before."""
    end, after = by.view.seen, None
    for number in range(count):
        seen = Seen(end.seq + number, end.log if number == 0 else HASH)
        made = forced(by, hub, seen=seen, term=number + 1, after=after)
        after = made.event_id
        yield made


def _changed(by: Person, move: SignedRecord, **changes: Any) -> SignedRecord:
    record: Record = evolve(move.record, **changes)
    return sign_record(by.mine.sign.private, record)


def _by(other: Person, move: SignedRecord) -> SignedRecord:
    """The same record, signed by somebody else."""
    return _changed(other, move)


def _hub(move: SignedRecord) -> RelayId:
    assert isinstance(move.record, HubMove)
    return move.record.hub


def _seen(move: SignedRecord) -> Seen:
    assert isinstance(move.record, HubMove)
    return move.record.seen


def _part(worlds: dict[str, World], given: Case) -> dict[str, Any]:
    world = worlds[given.log]
    told = [one.envelope for one in given.told]
    kept = None if given.kept is None else given.kept.envelope
    found = parted(world.relay.room, _log(world), told, blind=given.blind, kept=kept)
    is_taken = isinstance(given.result, int)
    expected = (given.result, _hub(given.told[-1])) if is_taken else given.result
    assert found == expected, (given.why, found, expected)
    case = {
        "why": given.why,
        "log": given.log,
        "told": [one.hex() for one in told],
        "blind": given.blind,
        "rivals": rivals_of(world.relay.room, _log(world), told),
    }
    if kept is not None:
        case["kept"] = kept.hex()
    if is_taken:
        return {**case, "base": given.result, "hub": _hub(given.told[-1]).hex()}
    return {**case, "code": given.result}


def rivals_of(room: RoomId, log: dict[str, Any], told: Sequence[bytes]) -> list[list[str]]:
    """Pairs of event ids, of moves of one term."""
    try:
        pairs = Moves.read(room, told).rivals(verify_chain(room, chain_of(log)))
    except ProtocolError:
        return []
    return [[own.event_id.hex(), one.event_id.hex()] for own, one in pairs]


def chain_of(log: dict[str, Any]) -> list[tuple[int, bytes]]:
    """The control log of one of `logs`."""
    return [(row["seq"], bytes.fromhex(row["record"])) for row in log["chain"]]


def parted(
    room: RoomId,
    log: dict[str, Any],
    told: Sequence[bytes],
    *,
    blind: bool,
    kept: bytes | None = None,
) -> tuple[int, RelayId] | str | None:
    """What the code makes of it: base and hub, a code, or None."""
    chain = chain_of(log)
    hashes = [Hash32(bytes.fromhex(one)) for one in log["hashes"]]
    end = len(hashes) - 1
    state = verify_chain(room, chain)
    try:
        moves = Moves.read(room, told)
        missing = moves.news(state, None if kept is None else peek(kept))
        if not missing:
            return None
        check_claim(missing, state)
        seq = seen_of(missing[0]).seq
        ours = hashes[seq] if seq <= end and not (blind and seq < end) else None
        parting = moves.part(missing, state, end, ours)
        parting.check_root(verify_chain(room, chain, before=parting.base + 1), state)
    except ProtocolError as error:
        return error.code
    return parting.base, parting.hub


def _log(world: World) -> dict[str, Any]:
    return {
        "chain": [{"seq": seq, "record": raw.hex()} for seq, raw in world.relay.chain()],
        "hashes": [world.relay.hash_at(seq).hex() for seq in range(world.relay.head + 1)],
    }


def _refused(worlds: dict[str, World], made: dict[str, SignedRecord]) -> list[dict[str, Any]]:
    copy, new = worlds["copy"], worlds["new"]
    root, bo, hub = copy.root, copy.people[2], _hub(made["new"])
    moved, third = new.root, _hub(made["third"])
    earlier = Seen(root.view.seen.seq - 1, HASH)
    cases = [
        ("by a co-owner", "copy", forced(bo, hub, mid=bo.mid), Code.FORBIDDEN),
        ("a term of before", "copy", forced(root, hub, term=0), Code.FORBIDDEN),
        (
            "a higher term, not by force",
            "copy",
            forced(root, hub, term=2, force=False),
            Code.FORBIDDEN,
        ),
        ("to the hub there is", "copy", forced(root, root.view.state.hub), Code.FORBIDDEN),
        ("to where nobody is", "copy", forced(root, RelayId(HASH)), Code.FORBIDDEN),
        ("not behind what it has seen", "copy", forced(root, hub, seen=earlier), Code.SEEN_STALE),
        ("after one that is not", "copy", forced(root, hub, after=EventId(HASH)), Code.FORBIDDEN),
        (
            "without force, after one that is not",
            "copy",
            forced(root, hub, force=False, after=EventId(HASH)),
            Code.FORBIDDEN,
        ),
        ("after none, where one is", "new", forced(moved, third, after=None), Code.FORBIDDEN),
        (
            "after another one",
            "new",
            forced(moved, third, after=made["third"].event_id),
            Code.FORBIDDEN,
        ),
        (
            "without force, after another one",
            "new",
            forced(moved, third, force=False, after=made["third"].event_id),
            Code.FORBIDDEN,
        ),
    ]
    return [
        {
            "why": why,
            "log": log,
            "seq": worlds[log].relay.head + 1,
            "record": one.envelope.hex(),
            "code": code.value,
        }
        for why, log, one, code in cases
    ]
