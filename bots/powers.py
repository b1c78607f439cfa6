"""What a handler can do as an admitter or co-owner of its room: once, however often it runs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from bots.acts import AcceptHandover, Act, CloseInvite, Evict, Grant, HandOver, Rotate, keep_act
from bots.door import Decision, decide
from bots.effects import Effects
from bots.errors import BotError, NoRight
from bots.events import Event, JoinRequest, Member
from bots.records import Draft
from ofcd.client import InviteCode, Room
from ofcd.protocol.ids import EventId, InviteId, MemberId
from ofcd.protocol.records import Cap, History, Role

__all__ = ["Powers"]

_WEEK: Final = 7 * 24 * 3_600_000


class Powers:
    """The half of a handler's context that changes the room itself.

    All but `invite` takes effect when the handler has ended, together with what it says, and is
    tried until it is done; rights are looked at when it is asked for (`NoRight`). Should it be
    refused later, the room is told.
    """

    now: int
    effects: Effects
    records: Draft
    event: Event | None

    @property
    def room(self) -> Room:
        """The room."""
        raise NotImplementedError

    # -- who comes in ----------------------------------------------------------------------------

    async def invite(
        self,
        *,
        role: Role = Role.MEMBER,
        caps: Collection[Cap] = (),
        expires_in: int = _WEEK,
        history: History | None = None,
    ) -> InviteCode:
        """An invite for one person, made at once; run again, this gets the same one.

        `expires_in` is milliseconds. `code.link()` is what to hand over, and not in the room.
        Raises `NoRight`, and what `Room.invite` does.
        """
        _require(self.room.may_invite(role, caps), "I may not invite anyone as that here")
        return await self.room.invite(
            role=role,
            caps=caps,
            expires_in=expires_in,
            history=history,
            invite_id=InviteId(self.effects.next_sid_at_once()),
        )

    def close_invite(self, invite_id: InviteId) -> None:
        """Let nobody join by it any more."""
        invite = next((one for one in self.room.invites() if one.invite_id == invite_id), None)
        if invite is not None:
            mine = invite.inviter == self.room.me
            _require(mine or self.room.is_owner, "I may only close invites of my own here")
        self._keep(CloseInvite(invite_id))

    def admit(self, request: EventId | None = None) -> bool:
        """Let in who asks: by the `JoinRequest` handled, or by the id of an earlier one.

        False where that request is decided or gone already.
        """
        return self._decide(request, Decision.ADMIT)

    def refuse(self, request: EventId | None = None) -> bool:
        """Do not let them in; an invite of the bot's own is closed, others may still answer theirs.

        False where that request is decided or gone already.
        """
        return self._decide(request, Decision.REFUSE)

    def _decide(self, request: EventId | None, decision: Decision) -> bool:
        if request is None:
            if not isinstance(self.event, JoinRequest):
                raise BotError("this handles no JoinRequest: say which one is meant")
            request = self.event.id
        asked = decide(self.records, self.room.id, request, decision)
        if asked is None:
            return False
        invites = {one.invite_id: one.inviter for one in self.room.invites()}
        if decision is Decision.REFUSE and invites.get(asked) == self.room.me:
            self._keep(CloseInvite(asked))
        return True

    # -- who stays, and as what ------------------------------------------------------------------

    def evict(self, *members: Member | MemberId, reason: str = "") -> None:
        """Remove members, and give everyone else a new key; who is gone already is passed over."""
        there = [mid for mid in map(_mid, members) if self._is_member(mid)]
        _require(all(map(self.room.may_evict, there)), "I may only remove those below me here")
        if there:
            self._keep(Evict(tuple(there), reason))

    def grant(self, member: Member | MemberId, role: Role, caps: Collection[Cap] = ()) -> None:
        """Give a member this role and exactly these caps."""
        mid = _mid(member)
        if not self._is_member(mid):
            raise NoRight("they are no member here")
        allowed = self.room.may_evict(mid) and self.room.may_assign(role, caps)
        _require(allowed, "I may not change that member's role to this here")
        self._keep(Grant(mid, role, tuple(sorted(caps))))

    def revoke(self, member: Member | MemberId) -> None:
        """Make a member a plain one: no owner, no rights more; marks and limits stay."""
        mid = _mid(member)
        caps = self.room.caps_of(mid) - {Cap.ADMIT}
        self.grant(mid, Role.MEMBER, caps)

    # -- keys and root ---------------------------------------------------------------------------

    def rotate(self, *, boxed: bool = False) -> None:
        """Renew the room's key, unless somebody else does first. `boxed`: to each member anew."""
        _require(self.room.is_owner, "only owners renew the key here, and I am none")
        self._keep(Rotate(self.room.epoch, boxed))

    def hand_over(self, to: Member | MemberId) -> None:
        """Ask a member to become root in the bot's place; it is done once they accept."""
        mid = _mid(to)
        if not self._is_member(mid):
            raise NoRight("they are no member here")
        _require(self.room.is_root, "only root hands the room over, and I am not root here")
        self._keep(HandOver(mid))

    def accept_handover(self) -> None:
        """Become root, where root has asked the bot to (`HandoverOffer`)."""
        self._keep(AcceptHandover())

    # -- inside ----------------------------------------------------------------------------------

    def _keep(self, act: Act) -> None:
        keep_act(self.records, self.room.id, self.effects, self.now, act)

    def _is_member(self, mid: MemberId) -> bool:
        return any(one.mid == mid for one in self.room.members())


def _mid(member: Member | MemberId) -> MemberId:
    return member.mid if isinstance(member, Member) else member


def _require(allowed: bool, sentence: str) -> None:
    if not allowed:
        raise NoRight(f"{sentence}: an owner can give me the right (ofc grant)")
