"""The state of a room as its control log defines it (protocol.md §2.2, §2.3).

`found` and `RoomState.apply` are the one table of who may do what. The relay runs it before it
commits a record, every client runs it on what it receives, and neither trusts the other's word:
given the same verified records, both reach the same state, or raise the same `Refused`.

The caller has already verified the record's signature under `RoomState.key_of(record)`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import singledispatchmethod
from typing import Final, TypeVar

from attrs import Factory, evolve, field, frozen

from ofcd.protocol import limits
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import (
    EventId,
    Hash32,
    InviteId,
    MemberId,
    PublicKey,
    RelayId,
    RoomId,
    event_id_of,
    member_id_of,
    room_id_of,
)
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
    UpdateKey,
)

__all__ = [
    "Departure",
    "HubTerm",
    "Invite",
    "Member",
    "RoomState",
    "found",
    "may_assign",
    "may_evict",
]

K = TypeVar("K")
V = TypeVar("V")

_OWNERS: Final = frozenset({Role.ROOT, Role.CO_OWNER})
_PLAIN: Final = frozenset({Role.MEMBER, Role.READONLY})


@frozen
class Member:
    """One current member, as ADMIT (or GENESIS) and later GRANTs and UPDATE_Es made it."""

    mid: MemberId
    sign_key: PublicKey
    enc_key: PublicKey
    role: Role
    caps: frozenset[Cap]
    history_from: int
    """First seq this member may read."""
    joined_seq: int
    home: RelayId
    first_enc_key: PublicKey = Factory(lambda self: self.enc_key, takes_self=True)
    """The one it came with, that another member vouched for; every later one is its own word."""
    renewed_ts: int = 0
    """When `enc_key` was set, by the signer's clock."""
    boxed_ts: int = 0
    """When something that stays secret was first boxed for or by it; 0: nothing was yet."""
    renewals: int = 0
    """UPDATE_Es since the last boxed REKEY."""

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """What nobody may take for a new encryption key."""
        return (self.sign_key, self.enc_key, self.first_enc_key)

    @property
    def has_renewed(self) -> bool:
        """`enc_key` was set by the member's own signature, not by whoever admitted it."""
        return self.enc_key != self.first_enc_key

    @property
    def is_owner(self) -> bool:
        """Root or co-owner."""
        return self.role in _OWNERS

    @property
    def may_admit(self) -> bool:
        """May open invites and admit who bears them."""
        return self.is_owner or Cap.ADMIT in self.caps

    @property
    def may_post(self) -> bool:
        """May send events."""
        return self.role is not Role.READONLY

    @property
    def may_attach(self) -> bool:
        """May send attachments."""
        return self.may_post and Cap.NO_FILES not in self.caps


@frozen
class Invite:
    """An open invite."""

    invite_id: InviteId
    commit: Hash32
    expires: int
    """Milliseconds since 1970."""
    admitters: tuple[MemberId, ...]
    role: Role
    caps: frozenset[Cap]
    history: History
    inviter: MemberId


class Departure:
    """Why someone is no longer a member."""

    EVICTED: Final = Code.EVICTED
    LEFT: Final = Code.LEFT


@frozen
class HubTerm:
    """One relay's time as the room's hub."""

    term: int
    relay_id: RelayId
    since: int
    """The seq of the HUB_MOVE that began it; 0: GENESIS."""
    urls: tuple[str, ...] = ()
    """Where HUB_MOVE says it is reached; GENESIS says nothing."""
    forced: bool = False
    """Whether the hub before had no part in it."""
    event_id: EventId = field(default=EventId(b""))
    """Of the HUB_MOVE; GENESIS has none here."""

    @property
    def rank(self) -> tuple[int, int]:
        """Of two HUB_MOVEs that can not stand in one log, the one with the higher rank counts."""
        return self.term, -int.from_bytes(self.event_id, "big")


@frozen
class RoomState:
    """Everything the control log says, after its record number `seq`."""

    room: RoomId
    nonce: Hash32
    relay_id: RelayId
    """The relay that GENESIS names: the first hub."""
    policy: Policy
    root: MemberId
    epoch: int
    key_commitment: Hash32
    epoch_seq: int
    """Seq of the record that opened the current epoch (0: GENESIS)."""
    ctl: EventId
    """Head of the control log: the id of its last record."""
    seq: int
    members: Mapping[MemberId, Member]
    invites: Mapping[InviteId, Invite]
    departed: Mapping[MemberId, Code] = field(factory=dict)
    sponsors: Mapping[MemberId, MemberId] = field(factory=dict)
    """For each bot, gone ones too: who signed the record over its keys that made it one."""
    boxed_due: bool = False
    """A boxed REKEY must come next: someone left, the room was handed over, or a key may be out."""
    routine_rekeys: int = 0
    """Routine rotations since the last boxed one."""
    closed: bool = False
    heads: tuple[EventId, ...] = ()
    """The control heads at which an heir may have accepted a handover that comes next.

    No HOME and no UPDATE_E is one: every member makes these, and could wear out an heir's
    acceptance with them.
    """
    moves: Mapping[MemberId, int] = field(factory=dict)
    """The HOMEs of each member in the current epoch."""
    moved: tuple[HubTerm, ...] = ()
    """The hubs after the first one, in order."""

    # -- questions -------------------------------------------------------------------------------

    def member(self, mid: MemberId) -> Member:
        """The current member `mid`; raises `Refused` (not_found) if there is none."""
        found_member = self.members.get(mid)
        if found_member is None:
            raise Refused(Code.NOT_FOUND)
        return found_member

    @property
    def hubs(self) -> tuple[HubTerm, ...]:
        """All hubs so far, the one of now last."""
        return (HubTerm(0, self.relay_id, 0), *self.moved)

    @property
    def hub(self) -> RelayId:
        """The relay that orders the room now."""
        return self.moved[-1].relay_id if self.moved else self.relay_id

    @property
    def term(self) -> int:
        """The number of the hub's time: one more with each move, or more where one was forced."""
        return self.moved[-1].term if self.moved else 0

    def hub_at(self, seq: int) -> HubTerm:
        """Whose LOG_HEADs for entry `seq` count: the relay that had the room by then."""
        return next(hub for hub in reversed(self.hubs) if hub.since <= seq)

    @property
    def homes(self) -> Mapping[MemberId, RelayId]:
        """Where each member is at home."""
        return {mid: member.home for mid, member in self.members.items()}

    def is_in_use(self, key: PublicKey) -> bool:
        """Whether it is a member's, of either kind, or an encryption key that one came with."""
        return any(key in member.keys for member in self.members.values())

    def key_of(self, record: Control) -> PublicKey:
        """The key that must have signed `record`; raises `Refused` (not_found) for a stranger."""
        if isinstance(record, Genesis):
            return record.sign_key
        return self.member(record.mid).sign_key

    @property
    def boxed_required(self) -> bool:
        """The next REKEY must be boxed (after a departure, and every `boxed_every`-th)."""
        return self.boxed_due or self.routine_rekeys + 1 >= self.policy.boxed_every

    def check_accepted(self, ctl: EventId) -> None:
        """Raises `Refused` if what an heir signed at the control head `ctl` is too old to use.

        A HANDOVER ends all acceptances before it: none can be used again, or for another turn.
        """
        if ctl not in self.heads:
            raise Refused(Code.FORBIDDEN, "the heir's acceptance is too old: offer it again")

    # -- changes ---------------------------------------------------------------------------------

    def apply(self, record: Control, event_id: EventId, seq: int) -> RoomState:
        """The state after `record`, whose signature the caller has verified.

        Raises `Refused` with the code a peer is told; the state itself never changes.
        """
        if isinstance(record, Genesis) or record.room != self.room:
            raise Refused(Code.NOT_FOUND)
        if self.closed:
            raise Refused(Code.ROOM_CLOSED)
        if record.prev != self.ctl:
            raise Refused(Code.CONFLICT)
        changed = self._apply(record, self.member(record.mid), seq)
        if isinstance(record, HubMove):
            *before, last = changed.moved
            changed = evolve(changed, moved=(*before, evolve(last, event_id=event_id)))
        return evolve(changed, ctl=event_id, seq=seq, heads=self._heads_after(record, event_id))

    def _heads_after(self, record: Control, event_id: EventId) -> tuple[EventId, ...]:
        if isinstance(record, Home | UpdateKey):
            return self.heads
        earlier = () if isinstance(record, Handover) else self.heads
        return (*earlier, event_id)[-limits.HANDOVER_RECORDS :]

    @singledispatchmethod
    def _apply(self, record: Control, by: Member, seq: int) -> RoomState:
        raise Refused(Code.BAD_RECORD)

    @_apply.register(InviteOpen)
    def _(self, record: InviteOpen, by: Member, seq: int) -> RoomState:
        _require(by.may_admit and may_assign(by, record.role, frozenset(record.caps)))
        _require(all(self.member(mid).may_admit for mid in record.admitters))
        # Whose bot it is, is who signs for its keys: nobody else may answer this invite.
        _require(Cap.BOT not in record.caps or set(record.admitters) == {by.mid})
        if len(self.invites) >= limits.OPEN_INVITES:
            raise Refused(Code.QUOTA, f"the room has {limits.OPEN_INVITES} open invites")
        if record.invite_id in self.invites:
            raise Refused(Code.SID_CONFLICT)
        invite = Invite(
            invite_id=record.invite_id,
            commit=record.commit,
            expires=record.expires,
            admitters=record.admitters,
            role=record.role,
            caps=frozenset(record.caps),
            history=record.history,
            inviter=by.mid,
        )
        return evolve(self, invites={**self.invites, invite.invite_id: invite})

    @_apply.register(InviteClose)
    def _(self, record: InviteClose, by: Member, seq: int) -> RoomState:
        invite = self._invite(record.invite_id)
        answers = by.may_admit and by.mid in invite.admitters
        _require(by.is_owner or invite.inviter == by.mid or answers)
        return evolve(
            self,
            invites=_without(self.invites, invite.invite_id),
            boxed_due=self.boxed_due or record.answered or self._may_be_answered(invite, by),
        )

    @_apply.register(Admit)
    def _(self, record: Admit, by: Member, seq: int) -> RoomState:
        invite = self._invite(record.invite_id)
        _require(by.may_admit and by.mid in invite.admitters)
        _require(record.role is invite.role and frozenset(record.caps) == invite.caps)
        _require(may_assign(by, record.role, frozenset(record.caps)))
        mid = member_id_of(record.sign_key)
        if mid in self.members or mid in self.departed:
            raise Refused(Code.ALREADY_MEMBER)
        if len(self.members) >= self.policy.max_members:
            raise Refused(Code.ROOM_FULL)
        if record.epoch != self.epoch:
            raise Refused(Code.EPOCH_STALE)
        _require(self._history_floor(invite, record) <= record.history_from <= seq)
        _require(record.home == self.hub or not self.policy.local_only)
        newcomer = Member(
            mid=mid,
            sign_key=record.sign_key,
            enc_key=record.enc_key,
            role=record.role,
            caps=frozenset(record.caps),
            history_from=record.history_from,
            joined_seq=seq,
            home=record.home,
            renewed_ts=record.ts,
            boxed_ts=max(record.ts, 1),
        )
        return evolve(
            self,
            members={**self.members, by.mid: _boxed(by, record.ts), mid: newcomer},
            invites=_without(self.invites, invite.invite_id),
            sponsors=_sponsored(self.sponsors, newcomer, by),
        )

    @_apply.register(RekeyRoutine)
    def _(self, record: RekeyRoutine, by: Member, seq: int) -> RoomState:
        _require(by.is_owner)
        if self.boxed_required:
            raise Refused(Code.BOXED_REQUIRED)
        opened = self._open_epoch(record.epoch, record.key_commitment, seq)
        return evolve(opened, routine_rekeys=self.routine_rekeys + 1)

    @_apply.register(RekeyBoxed)
    def _(self, record: RekeyBoxed, by: Member, seq: int) -> RoomState:
        _require(by.is_owner)
        for mid in record.removed:
            _require(may_evict(by, self.member(mid)))
        staying = {
            m: evolve(_boxed(member, record.ts), renewals=0)
            for m, member in self.members.items()
            if m not in record.removed
        }
        listed = [mid for mid, _ in record.boxes]
        if len(listed) != len(staying) or set(listed) != set(staying):
            raise Refused(Code.BOX_LIST_MISMATCH)
        opened = self._open_epoch(record.epoch, record.key_commitment, seq)
        return evolve(
            opened,
            members=staying,
            departed={**self.departed, **dict.fromkeys(record.removed, Departure.EVICTED)},
            invites=_still_answerable(self.invites, staying),
            boxed_due=False,
            routine_rekeys=0,
        )

    @_apply.register(Leave)
    def _(self, record: Leave, by: Member, seq: int) -> RoomState:
        if by.role is Role.ROOT and len(self.members) > 1:
            raise Refused(Code.ROOT_MUST_HAND_OVER)
        staying = _without(self.members, by.mid)
        return evolve(
            self,
            members=staying,
            departed={**self.departed, by.mid: Departure.LEFT},
            invites=_still_answerable(self.invites, staying),
            boxed_due=True,
            closed=not staying,
        )

    @_apply.register(Grant)
    def _(self, record: Grant, by: Member, seq: int) -> RoomState:
        target = self.member(record.member)
        _require(by.is_owner and target.mid != by.mid and may_evict(by, target))
        _require(may_assign(by, record.role, frozenset(record.caps)))
        changed = evolve(target, role=record.role, caps=frozenset(record.caps))
        members = {**self.members, target.mid: changed}
        invites = _still_answerable(self.invites, members)
        return evolve(
            self,
            members=members,
            invites=invites,
            boxed_due=self.boxed_due or len(invites) < len(self.invites),
            sponsors=_sponsored(self.sponsors, changed, by),
        )

    @_apply.register(Handover)
    def _(self, record: Handover, by: Member, seq: int) -> RoomState:
        _require(by.role is Role.ROOT and record.to != by.mid)
        heir = self.member(record.to)
        members = {
            **self.members,
            by.mid: evolve(by, role=Role.CO_OWNER),
            heir.mid: evolve(heir, role=Role.ROOT),
        }
        return evolve(self, members=members, root=heir.mid, boxed_due=True)

    @_apply.register(Home)
    def _(self, record: Home, by: Member, seq: int) -> RoomState:
        _require(record.home != by.home)
        _require(record.home == self.hub or not self.policy.local_only)
        moves = self.moves.get(by.mid, 0) + 1
        if moves > limits.HOMES_PER_EPOCH:
            raise Refused(Code.QUOTA, "this member has moved often enough until the next rotation")
        return evolve(
            self,
            members={**self.members, by.mid: evolve(by, home=record.home)},
            moves={**self.moves, by.mid: moves},
        )

    @_apply.register(UpdateKey)
    def _(self, record: UpdateKey, by: Member, seq: int) -> RoomState:
        if by.renewals >= limits.KEY_RENEWALS + by.is_owner:
            raise Refused(Code.QUOTA, "renewed often enough until the next boxed rotation")
        if self.is_in_use(record.enc_key):
            raise Refused(Code.BAD_KEY, "this key is in use in the room already")
        renewed = evolve(
            by,
            enc_key=record.enc_key,
            renewed_ts=record.ts,
            boxed_ts=0,
            renewals=by.renewals + 1,
        )
        return evolve(self, members={**self.members, by.mid: renewed})

    @_apply.register(HubMove)
    def _(self, record: HubMove, by: Member, seq: int) -> RoomState:
        _require(by.role is Role.ROOT and not self.policy.local_only)
        _require(record.hub != self.hub and record.term > self.term)
        _require(record.force or record.term == self.term + 1)
        before = self.moved[-1].event_id if self.moved else None
        _require(record.after == before or (record.after is None and not record.force))
        # Who has the room's copy is whom a member is at home at: nobody else can go on with it.
        _require(record.hub in self.homes.values())
        if record.seen.seq != seq - 1:
            raise Refused(Code.SEEN_STALE)
        lately = [term for term in self.moved if term.since > self.epoch_seq]
        if len(lately) >= limits.HUB_MOVES_PER_EPOCH:
            raise Refused(Code.QUOTA, "moved often enough until the next rotation")
        return evolve(
            self,
            moved=(*self.moved, HubTerm(record.term, record.hub, seq, record.urls, record.force)),
            # An invite names the hub; what was answered under it, and how far, stays there.
            invites={},
            # Behind a forced one all keys are new: nobody knows who had which of a void epoch.
            boxed_due=self.boxed_due or bool(self.invites) or record.force,
        )

    def _invite(self, invite_id: InviteId) -> Invite:
        invite = self.invites.get(invite_id)
        if invite is None:
            raise Refused(Code.INVITE_UNKNOWN)
        return invite

    def _may_be_answered(self, invite: Invite, closer: Member) -> bool:
        """Whether someone who can not make the boxed REKEY may have answered it, and not said so.

        An owner that has answered makes it, and the closer says in the record whether it has.
        """
        others = (self.members.get(mid) for mid in invite.admitters if mid != closer.mid)
        return any(other is not None and not other.is_owner for other in others)

    def _history_floor(self, invite: Invite, record: Admit) -> int:
        """The earliest seq this newcomer may read."""
        joins_only = History.JOIN in (invite.history, self.policy.history)
        return max(self.epoch_seq, record.seen.seq if joins_only else 0) + 1

    def _open_epoch(self, epoch: int, key_commitment: Hash32, seq: int) -> RoomState:
        if epoch != self.epoch + 1:
            raise Refused(Code.EPOCH_STALE)
        return evolve(self, epoch=epoch, key_commitment=key_commitment, epoch_seq=seq, moves={})


def found(genesis: Genesis, payload: bytes) -> RoomState:
    """The state that a verified GENESIS opens; `payload` is what was signed."""
    root = Member(
        mid=member_id_of(genesis.sign_key),
        sign_key=genesis.sign_key,
        enc_key=genesis.enc_key,
        role=Role.ROOT,
        caps=frozenset(),
        history_from=0,
        joined_seq=0,
        home=genesis.relay_id,
        renewed_ts=genesis.ts,
    )
    return RoomState(
        room=room_id_of(payload),
        nonce=genesis.nonce,
        relay_id=genesis.relay_id,
        policy=genesis.policy,
        root=root.mid,
        epoch=0,
        key_commitment=genesis.key_commitment,
        epoch_seq=0,
        ctl=event_id_of(payload),
        seq=0,
        members={root.mid: root},
        invites={},
        heads=(event_id_of(payload),),
    )


def _require(allowed: bool) -> None:
    if not allowed:
        raise Refused(Code.FORBIDDEN)


def may_assign(by: Member, role: Role, caps: Collection[Cap]) -> bool:
    """Root makes co-owners and hands out `admit`; other admitters make plain members."""
    if by.role is Role.ROOT:
        return True
    return role in _PLAIN and (by.is_owner or not caps) and Cap.ADMIT not in caps


def may_evict(by: Member, target: Member) -> bool:
    """Root may change or remove anyone else; co-owners neither root nor each other."""
    if by.mid == target.mid or target.role is Role.ROOT:
        return False
    return by.role is Role.ROOT or (by.is_owner and target.role in _PLAIN)


def _sponsored(
    sponsors: Mapping[MemberId, MemberId], member: Member, by: Member
) -> Mapping[MemberId, MemberId]:
    """The bots' sponsors once `by` has signed for what `member` is now: the first one stays."""
    if Cap.BOT not in member.caps:
        return _without(sponsors, member.mid)
    return {member.mid: by.mid, **sponsors}


def _boxed(member: Member, ts: int) -> Member:
    """With a key that a thief would have use for."""
    return member if member.boxed_ts else evolve(member, boxed_ts=max(ts, 1))


def _without(mapping: Mapping[K, V], key: K) -> dict[K, V]:
    return {k: v for k, v in mapping.items() if k != key}


def _still_answerable(
    invites: Mapping[InviteId, Invite], members: Mapping[MemberId, Member]
) -> dict[InviteId, Invite]:
    """The invites that some admitter is still there, and allowed, to answer."""
    able = {mid for mid, member in members.items() if member.may_admit}
    return {i: invite for i, invite in invites.items() if able.intersection(invite.admitters)}
