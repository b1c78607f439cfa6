"""The room's control log: who may do what, as one table, and what each record changes."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from attrs import evolve

from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import (
    EventId,
    Hash32,
    InviteId,
    MemberId,
    PublicKey,
    RelayId,
    event_id_of,
    member_id_of,
    sha256,
)
from ofcd.protocol.limits import HUB_MOVES_PER_EPOCH
from ofcd.protocol.records import (
    Admit,
    Cap,
    Control,
    Genesis,
    Grant,
    Handover,
    History,
    Home,
    HubMove,
    InviteClose,
    InviteOpen,
    Leave,
    Policy,
    RekeyBoxed,
    RekeyRoutine,
    Role,
    Seen,
    encode_record,
)
from ofcd.protocol.room import HubTerm, RoomState, found

RELAY = RelayId(sha256(b"relay"))


def key(name: str) -> PublicKey:
    return PublicKey(b"UEC2\0\0\0\x2d" + bytes(4) + b"\x02" + sha256(name.encode()))


def mid(name: str) -> MemberId:
    return member_id_of(key(name))


class Chain:
    """A control log without signatures: `do` applies a record as `by` would send it."""

    def __init__(self, **policy: Any) -> None:
        genesis = Genesis(
            v=1,
            nonce=sha256(b"nonce"),
            sign_key=key("root"),
            enc_key=key("root box"),
            relay_id=RELAY,
            policy=Policy(**policy),
            key_commitment=sha256(b"k0"),
            ts=0,
        )
        self.state = found(genesis, encode_record(genesis))
        self._seq = count(1)

    def make(self, cls: type[Any], by: str, **fields: Any) -> Any:
        seen = Seen(self.state.seq, Hash32(self.state.room))
        return cls(
            v=1, room=self.state.room, mid=mid(by), prev=self.state.ctl, seen=seen, ts=0, **fields
        )

    def do(self, cls: type[Any], by: str, **fields: Any) -> RoomState:
        return self.apply(self.make(cls, by, **fields))

    def apply(self, record: Control) -> RoomState:
        event_id = event_id_of(encode_record(record))
        self.state = self.state.apply(record, event_id, next(self._seq))
        return self.state

    def invite(self, by: str = "root", *, n: int = 1, **fields: Any) -> InviteId:
        invite_id = InviteId(sha256(b"invite%d" % n)[:16])
        wanted: dict[str, Any] = {"admitters": (mid(by),), "role": Role.MEMBER, **fields}
        self.do(InviteOpen, by, invite_id=invite_id, commit=sha256(b"c"), expires=9, **wanted)
        return invite_id

    def admit(self, who: str, by: str = "root", **fields: Any) -> RoomState:
        n = len(self.state.members) + len(self.state.departed)
        role, caps = fields.get("role", Role.MEMBER), fields.get("caps", ())
        invite_id = self.invite(by, n=n, role=role, caps=caps)
        return self.do(Admit, by, **self.admission(who, invite_id, role=role, caps=caps))

    def admission(self, who: str, invite_id: InviteId, **fields: Any) -> dict[str, Any]:
        return {
            "invite_id": invite_id,
            "sign_key": key(who),
            "enc_key": key(who + " box"),
            "role": Role.MEMBER,
            "confirm_hash": sha256(b"confirm"),
            "epoch": self.state.epoch,
            "history_from": self.state.epoch_seq + 1,
            "home": RELAY,
            **fields,
        }

    def boxes(self, *without: str) -> tuple[tuple[MemberId, Hash32], ...]:
        gone = {mid(name) for name in without}
        return tuple((m, sha256(m)) for m in self.state.members if m not in gone)

    def rekey(self, by: str = "root", *, removed: tuple[str, ...] = ()) -> RoomState:
        return self.do(
            RekeyBoxed,
            by,
            epoch=self.state.epoch + 1,
            key_commitment=sha256(b"kb"),
            boxes=self.boxes(*removed),
            removed=tuple(map(mid, removed)),
        )

    def rotate(self, by: str = "root") -> RoomState:
        epoch = self.state.epoch + 1
        return self.do(RekeyRoutine, by, epoch=epoch, key_commitment=sha256(b"kr"), cell=b"c")


def full_room(**policy: Any) -> Chain:
    """A room with root, two co-owners, a doorkeeper, a plain member and a reader."""
    chain = Chain(**policy)
    chain.admit("co", role=Role.CO_OWNER)
    chain.admit("co2", role=Role.CO_OWNER)
    chain.admit("door", caps=(Cap.ADMIT,))
    chain.admit("member")
    chain.admit("reader", role=Role.READONLY)
    return chain


def refused(code: Code) -> _Refusal:
    """`Refused` is raised, with this code."""
    return _Refusal(code)


class _Refusal:
    def __init__(self, code: Code) -> None:
        self._code = code
        self._raises = pytest.raises(Refused)

    def __enter__(self) -> None:
        self._info = self._raises.__enter__()

    def __exit__(self, *details: Any) -> bool:
        done = bool(self._raises.__exit__(*details))
        assert self._info.value.kind is self._code
        return done


WHO = ["root", "co", "door", "member", "reader"]
MAY: dict[str, set[str]] = {
    "invite a member": {"root", "co", "door"},
    "invite a co-owner": {"root"},
    "invite a bot": {"root", "co"},
    "invite a doorkeeper": {"root"},
    "rotate": {"root", "co"},
    "rekey": {"root", "co"},
    "evict a member": {"root", "co"},
    "evict a co-owner": {"root"},
    "evict root": set(),
    "make a co-owner": {"root"},
    "silence a member": {"root", "co"},
    "hand over": {"root"},
    "leave": {"co", "door", "member", "reader"},
}


def attempt(chain: Chain, what: str, by: str) -> None:
    match what:
        case "invite a member":
            chain.invite(by)
        case "invite a co-owner":
            chain.invite(by, role=Role.CO_OWNER)
        case "invite a bot":
            chain.invite(by, caps=(Cap.BOT,))
        case "invite a doorkeeper":
            chain.invite(by, caps=(Cap.ADMIT,))
        case "rotate":
            chain.rotate(by)
        case "rekey":
            chain.rekey(by)
        case "evict a member":
            chain.rekey(by, removed=("member",))
        case "evict a co-owner":
            chain.rekey(by, removed=("co2",))
        case "evict root":
            chain.rekey(by, removed=("root",))
        case "make a co-owner":
            chain.do(Grant, by, member=mid("member"), role=Role.CO_OWNER)
        case "silence a member":
            chain.do(Grant, by, member=mid("member"), role=Role.READONLY)
        case "hand over":
            chain.do(Handover, by, to=mid("co2"), accept=b"a")
        case "leave":
            chain.do(Leave, by)


@pytest.mark.parametrize("by", WHO)
@pytest.mark.parametrize("what", MAY)
def test_roles(what: str, by: str) -> None:
    """The whole table of rights: what each role may do, and that nothing changes if it may not."""
    chain = full_room()
    before = chain.state
    if by in MAY[what] and not (what == "evict a member" and by == "member"):
        attempt(chain, what, by)
        assert chain.state.ctl != before.ctl
    else:
        with pytest.raises(Refused):
            attempt(chain, what, by)
        assert chain.state is before


def test_a_stranger_may_do_nothing() -> None:
    """Records of someone who is not a member are `not_found`."""
    chain = full_room()
    for what in MAY:
        with refused(Code.NOT_FOUND):
            attempt(chain, what, "stranger")


def test_a_lost_race_is_a_conflict() -> None:
    """A record on an old head is refused, so two co-owners never open one epoch twice."""
    chain = full_room()
    fields = {"epoch": 1, "key_commitment": sha256(b"x"), "cell": b"c"}
    late = chain.make(RekeyRoutine, "co", **fields)
    chain.rotate("root")
    with refused(Code.CONFLICT):
        chain.apply(late)


def test_an_epoch_can_not_be_skipped_or_repeated() -> None:
    """REKEY opens exactly the next epoch."""
    chain = full_room()
    for epoch in (0, 2, 9):
        with refused(Code.EPOCH_STALE):
            chain.do(RekeyRoutine, "root", epoch=epoch, key_commitment=sha256(b"x"), cell=b"c")


def test_24_a_boxed_rekey_lists_exactly_the_members() -> None:
    """§5 test 24: one left out, a stranger put in, or one listed twice is a mismatch."""
    chain = full_room()
    whole = chain.boxes()
    for listed in (whole[1:], (*whole, (mid("x"), sha256(b"x"))), (*whole[1:], whole[1])):
        with refused(Code.BOX_LIST_MISMATCH):
            chain.do(RekeyBoxed, "root", epoch=1, key_commitment=sha256(b"x"), boxes=listed)


def test_23_a_departure_must_be_followed_by_a_boxed_rekey() -> None:
    """§5 test 23: a pending LEAVE blocks routine rotation until a boxed one."""
    chain = full_room()
    chain.do(Leave, "member")
    with refused(Code.BOXED_REQUIRED):
        chain.rotate()
    chain.rekey("co")
    chain.rotate()


def test_every_nth_rotation_is_boxed() -> None:
    """With boxed_every=3, two routine rotations may follow each other, not three."""
    chain = full_room(boxed_every=3)
    chain.rotate()
    chain.rotate()
    with refused(Code.BOXED_REQUIRED):
        chain.rotate()
    chain.rekey()
    chain.rotate()


def test_a_handover_swaps_root_and_asks_for_a_boxed_rekey() -> None:
    """After HANDOVER the heir is root, the old root a co-owner."""
    chain = full_room()
    state = chain.do(Handover, "root", to=mid("member"), accept=b"a")
    assert state.root == mid("member")
    assert state.member(mid("root")).role is Role.CO_OWNER
    with refused(Code.BOXED_REQUIRED):
        chain.rotate("member")


def test_moving_home_again_and_again_wears_nothing_out() -> None:
    """Few HOMEs of one member in one epoch, each member's own; an heir's acceptance outlives them.

    And an heir whose last control record is a HOME has one to name all the same.
    """
    chain = full_room()
    heads = chain.state.heads
    there, back = RelayId(sha256(b"other relay")), RELAY
    for who in ("reader", "member"):
        for home in (there, back, there, back):
            chain.do(Home, who, home=home)
        with refused(Code.QUOTA):
            chain.do(Home, who, home=there)
    assert chain.state.heads == heads
    chain.state.check_accepted(heads[-1])
    chain.rotate()
    chain.do(Home, "reader", home=there)
    with refused(Code.FORBIDDEN):
        chain.state.check_accepted(chain.state.ctl)


def test_root_leaves_only_an_empty_room() -> None:
    """Root hands over first; the last one out closes the room, and nothing follows."""
    chain = full_room()
    with refused(Code.ROOT_MUST_HAND_OVER):
        chain.do(Leave, "root")
    alone = Chain()
    assert alone.do(Leave, "root").closed
    with refused(Code.ROOM_CLOSED):
        alone.rotate()


def test_09_an_admit_needs_its_invite() -> None:
    """§5 test 9: without an open invite, by another admitter, or twice, nobody is admitted."""
    chain = full_room()
    invite_id = chain.invite("co", n=50)
    unknown = InviteId(bytes(16))
    with refused(Code.INVITE_UNKNOWN):
        chain.do(Admit, "co", **chain.admission("new", unknown))
    with refused(Code.FORBIDDEN):
        chain.do(Admit, "root", **chain.admission("new", invite_id))
    chain.do(Admit, "co", **chain.admission("new", invite_id))
    with refused(Code.INVITE_UNKNOWN):
        chain.do(Admit, "co", **chain.admission("newer", invite_id))


def test_09_an_admit_can_not_be_replayed_after_an_eviction() -> None:
    """§5 test 9: who was evicted can not come back under the same key, by any invite."""
    chain = full_room()
    chain.rekey(removed=("member",))
    with refused(Code.ALREADY_MEMBER):
        chain.admit("member")


def test_an_admit_gives_what_the_invite_says() -> None:
    """Role and capabilities are the invite's, not the admitter's choice of the moment."""
    chain = full_room()
    invite_id = chain.invite(n=50, role=Role.READONLY)
    with refused(Code.FORBIDDEN):
        chain.do(Admit, "root", **chain.admission("new", invite_id))
    admission = chain.admission("new", invite_id, role=Role.READONLY)
    with refused(Code.FORBIDDEN):
        chain.do(Admit, "root", **(admission | {"caps": (Cap.BOT,)}))
    assert chain.do(Admit, "root", **admission).member(mid("new")).role is Role.READONLY


def test_26_a_newcomer_reads_from_the_last_rotation_at_most() -> None:
    """§5 test 26: history_from before the epoch's own REKEY is refused."""
    chain = full_room()
    chain.rotate()
    opened = chain.state.epoch_seq
    invite_id = chain.invite(n=50)
    admission = chain.admission("new", invite_id)
    for start in (0, 1, opened):
        with refused(Code.FORBIDDEN):
            chain.do(Admit, "root", **(admission | {"history_from": start}))
    chain.do(Admit, "root", **(admission | {"history_from": opened + 1}))


def test_an_invite_may_give_no_history_at_all() -> None:
    """With history "join" a newcomer reads only what comes after the admitter's last word."""
    chain = full_room()
    invite_id = chain.invite(n=50, history=History.JOIN)
    admission = chain.admission("new", invite_id)
    with refused(Code.FORBIDDEN):
        chain.do(Admit, "root", **admission)
    chain.do(Admit, "root", **(admission | {"history_from": chain.state.seq + 1}))


def test_a_full_room_takes_nobody() -> None:
    """max_members is the room's own limit."""
    chain = Chain(max_members=2)
    chain.admit("one")
    with refused(Code.ROOM_FULL):
        chain.admit("two")


def test_an_invite_dies_with_its_last_admitter() -> None:
    """Nobody is left to answer it: it is no longer open."""
    chain = full_room()
    invite_id = chain.invite("door", n=50)
    chain.rekey(removed=("door",))
    assert invite_id not in chain.state.invites


def test_an_invite_is_closed_by_its_inviter_or_an_owner() -> None:
    """A doorkeeper can not close another's invite."""
    chain = full_room()
    invite_id = chain.invite("co", n=50)
    with refused(Code.FORBIDDEN):
        chain.do(InviteClose, "door", invite_id=invite_id)
    assert not chain.do(InviteClose, "co2", invite_id=invite_id).invites


@pytest.mark.parametrize(
    ("admitters", "closer", "answered", "due"),
    [
        (("co",), "co", False, False),
        (("co",), "co", True, True),
        (("co", "co2"), "root", False, False),
        (("co", "door"), "door", False, False),
        (("co", "door"), "door", True, True),
        (("co", "door"), "co", False, True),
        (("door",), "root", False, True),
    ],
)
def test_a_key_given_under_a_closed_invite_is_to_be_renewed(
    admitters: tuple[str, ...], closer: str, answered: bool, due: bool
) -> None:
    """The closer says whether it gave one; of a doorkeeper that did not speak it is assumed."""
    chain = full_room()
    invite_id = chain.invite(n=50, admitters=tuple(map(mid, admitters)))
    state = chain.do(InviteClose, closer, invite_id=invite_id, answered=answered)
    assert (state.boxed_due, state.boxed_required) == (due, due)
    assert not chain.rekey().boxed_due


def test_who_loses_the_right_to_admit_may_have_given_the_key() -> None:
    """An invite that a grant closes leaves the room with a key to renew; any other does not."""
    chain = full_room()
    chain.invite("door", n=50, admitters=(mid("co"), mid("door")))
    assert not chain.do(Grant, "root", member=mid("door"), role=Role.MEMBER).boxed_due
    assert chain.do(Grant, "root", member=mid("co"), role=Role.MEMBER).boxed_due


def test_open_invites_are_bounded() -> None:
    """The fifty-first open invite is refused."""
    chain = Chain()
    for n in range(50):
        chain.invite(n=n)
    with refused(Code.QUOTA):
        chain.invite(n=50)


def test_a_record_for_another_room_is_refused() -> None:
    """Nothing crosses from one room to another."""
    chain = full_room()
    record = chain.make(Leave, "member")
    with refused(Code.NOT_FOUND):
        chain.apply(evolve(record, room=type(record.room)(bytes(32))))
    with refused(Code.CONFLICT):
        chain.apply(evolve(record, prev=EventId(bytes(32))))


def test_a_member_says_where_it_is_at_home_and_nothing_else_changes() -> None:
    """Anybody, of themselves alone; not where they are already, nor out of a local-only room."""
    chain = full_room()
    before = chain.state
    other = RelayId(sha256(b"another relay"))
    for who in ("root", "reader"):
        chain.do(Home, who, home=other)
        assert chain.state.member(mid(who)) == evolve(before.member(mid(who)), home=other)
        with refused(Code.FORBIDDEN):
            chain.do(Home, who, home=other)
    chain.do(Home, "root", home=RELAY)
    assert chain.state.homes == {**before.homes, mid("reader"): other}
    kept = evolve(chain.state, members=before.members)
    assert (kept.epoch, kept.boxed_due, kept.invites) == (before.epoch, False, before.invites)
    local = full_room(local_only=True)
    with refused(Code.FORBIDDEN):
        local.do(Home, "root", home=other)


def test_a_room_moves_so_often_in_one_epoch() -> None:
    """Each move stays in the state for good: any rotation begins anew."""
    chain = full_room()
    other = RelayId(sha256(b"another relay"))
    chain.do(Home, "reader", home=other)

    def move() -> None:
        hub = RELAY if chain.state.hub == other else other
        urls = ("wss://r.example",)
        chain.do(HubMove, "root", hub=hub, urls=urls, term=chain.state.term + 1)

    for _ in range(HUB_MOVES_PER_EPOCH):
        move()
    with refused(Code.QUOTA):
        move()
    chain.rotate()
    move()
    assert chain.state.term == HUB_MOVES_PER_EPOCH + 1


def test_root_moves_the_room_to_where_a_member_is_at_home() -> None:
    """By root alone, a term further, behind what it has seen; invites end, and a key may be out."""
    chain = full_room()
    other = RelayId(sha256(b"another relay"))
    chain.do(Home, "reader", home=other)
    chain.invite()
    fields: dict[str, Any] = {"hub": other, "urls": ("wss://r.example",), "term": 1}
    for by, changes in (
        ("co", {}),
        ("reader", {}),
        ("root", {"term": 0}),
        ("root", {"term": 2}),
        ("root", {"hub": RELAY}),
        ("root", {"hub": RelayId(sha256(b"empty"))}),
    ):
        with refused(Code.FORBIDDEN):
            chain.do(HubMove, by, **{**fields, **changes})
    place = chain.state.seq + 1
    late = chain.make(HubMove, "root", **fields)
    for seq in (place + 1, place - 1):
        with refused(Code.SEEN_STALE):
            chain.state.apply(late, EventId(bytes(32)), seq)
    state = chain.state.apply(late, EventId(bytes(32)), place)
    assert (state.hub, state.term, state.relay_id) == (other, 1, RELAY)
    assert (state.invites, state.boxed_due) == ({}, True)
    assert state.hub_at(place - 1) == HubTerm(0, RELAY, 0)
    assert (
        state.hub_at(place)
        == state.hub_at(10**9)
        == HubTerm(1, other, place, fields["urls"], event_id=EventId(bytes(32)))
    )
    local = full_room(local_only=True)
    with refused(Code.FORBIDDEN):
        local.do(HubMove, "root", **fields)
