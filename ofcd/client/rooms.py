"""A room, as an application uses it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, cast

from ofcd.client import files
from ofcd.client.admitting import keep_token
from ofcd.client.controls import Change, Made
from ofcd.client.core import refusal
from ofcd.client.errors import Offline
from ofcd.client.events import JoinAsked, Message
from ofcd.client.forcing import Survey, force_move, look_at_copy, make_plain_move
from ofcd.client.inviting import keep_code, kept_code, was_opened
from ofcd.client.model import Sent
from ofcd.client.outbox import Queued
from ofcd.client.reaching import move_home, move_hub
from ofcd.client.roomview import Delivery, MemberInfo, Sponsor
from ofcd.client.trusting import RoomTrust
from ofcd.client.turn import Ticket, Turn
from ofcd.client.vault import Transaction
from ofcd.e2e import bodies
from ofcd.e2e.controls import (
    accept_handover,
    make_grant,
    make_home,
    make_leave,
)
from ofcd.e2e.epochs import make_boxed_rekey
from ofcd.e2e.errors import KeyMissing
from ofcd.e2e.invites import InviteCode, make_invite
from ofcd.e2e.keys import new_sid
from ofcd.e2e.names import display_name
from ofcd.e2e.signals import Signal, SignalKind, seal_signal
from ofcd.protocol.codes import Code
from ofcd.protocol.frames import Signal as SignalFrame
from ofcd.protocol.ids import EventId, Hash32, InviteId, MemberId, RelayId, Sid
from ofcd.protocol.records import Cap, History, HubMove, Role

__all__ = ["Delivery", "MemberInfo", "Room", "Sponsor"]

_WEEK: Final = 7 * 24 * 3_600_000


class Room(RoomTrust):
    """A handle: cheap, equal for the same room, valid as long as its client is open."""

    # -- saying something ------------------------------------------------------------------------

    async def send(
        self,
        text: str,
        *,
        reply_to: EventId | None = None,
        mentions: Collection[MemberId] = (),
        markdown: bool = False,
        sid: Sid | None = None,
        hops: int = 0,
        via: bodies.Via | None = None,
    ) -> Sent:
        """Send a message; returns where it stands in the log, once the relay has committed it.

        Raises `Offline` when that takes longer than the client's `patience`: the message stays
        queued and is sent later; so it does when this is cancelled. Raises `RelayRefused` (of the
        message: for good; of the room, `not_found` for one: while it lasts), `BodyTooLong`,
        `NotAllowed`, `RoomFrozen`.

        The same `sid` again is the same message, however often it is sent.
        """
        form = bodies.TextFormat.LITE if markdown else bodies.TextFormat.PLAIN
        content = bodies.Text(text, form, reply_to, None, tuple(mentions))
        return await self.send_body(content, sid=sid, hops=hops, via=via)

    async def send_body(
        self,
        content: bodies.Content,
        *,
        sid: Sid | None = None,
        hops: int = 0,
        via: bodies.Via | None = None,
    ) -> Sent:
        """Send any kind of content; see `send`."""
        sid = sid or new_sid()
        with self._client.transaction() as tx:
            sent = self.queue(tx, content, sid=sid, hops=hops, via=via)
            if sent is None:
                self._client._machine(self.id).check_open()
        return sent or await self.wait_sent(sid)

    def queue(
        self,
        tx: Transaction,
        content: bodies.Content | str,
        *,
        sid: Sid | None = None,
        hops: int = 0,
        via: bodies.Via | None = None,
    ) -> Sent | None:
        """Queue a message in a transaction of yours: sent once, and only if that is committed.

        Returns where the message is in the log if this `sid` was sent before, else None.
        Raises as `send` does, at once.
        """
        machine = self._client._machine(self.id)
        made = bodies.Text(content) if isinstance(content, str) else content
        now = self._client.now()
        sent = machine.outbox.queue(tx, made, sid or new_sid(), now, hops=hops, via=via)
        tx.on_commit(self._client._connection(self.id).stir)
        return sent

    def sent(self, sid: Sid) -> Sent | None:
        """Where a message of yours is in the log; None while it is on its way, or failed."""
        return self._client._machine(self.id).outbox.sent(self._client.vault, sid)

    async def wait_sent(self, sid: Sid) -> Sent:
        """Wait for a queued message to be accepted; see `send` for what is raised."""
        machine = self._client._machine(self.id)
        sent = machine.outbox.sent(self._client.vault, sid)
        if sent is not None:
            return sent
        ticket = Ticket("send")
        machine.outbox.await_accepted(sid, ticket)
        connection = self._client._connection(self.id)
        return cast(Sent, await self._client._settled(ticket, connection))

    def outbox(self) -> list[Queued]:
        """What is queued, under way or failed, in order."""
        return self._client._machine(self.id).outbox.items

    def discard(self, sid: Sid) -> bool:
        """Drop a queued message that failed or was never sent; False if it is too late."""
        with self._client.transaction() as tx:
            return self._client._machine(self.id).outbox.discard(tx, sid)

    async def edit(self, target: EventId, text: str) -> Sent:
        """New words for an earlier message of yours."""
        return await self.send_body(bodies.Edit(target, text))

    async def redact(self, target: EventId, reason: str = "") -> Sent:
        """Take a message back: your own, or (as an owner) anyone's."""
        return await self.send_body(bodies.Redaction(target, reason))

    async def react(self, target: EventId, emoji: str, *, remove: bool = False) -> Sent:
        """Put a reaction on a message, or withdraw it."""
        return await self.send_body(bodies.Reaction(target, emoji, remove))

    async def set_name(self, name: str) -> Sent:
        """Call yourself something else here."""
        with self._change() as turn:
            self._client._core(self.id).save_head(turn, my_name=display_name(name))
        return await self.send_body(bodies.Profile(display_name(name)))

    async def rename(self, name: str, topic: str = "") -> Sent:
        """Change the room's name and topic (owners)."""
        self._require_owner()
        return await self.send_body(bodies.RoomInfo(display_name(name), topic))

    def typing(self, kind: SignalKind = SignalKind.TYPING) -> None:
        """Signal something ephemeral, if the room is live: never stored, never waited for."""
        core = self._client._core(self.id)
        if not self.is_live:
            return
        signal = Signal(kind, self._client.now())
        try:
            cell = seal_signal(self.id, core.state.epoch, core.keys, core.me, signal)
        except KeyMissing:
            return
        frame = SignalFrame(self.id, core.state.epoch, cell)
        self._client._connection(self.id).post([frame])

    # -- files -----------------------------------------------------------------------------------

    async def send_file(
        self,
        path: Path | str | bytes,
        *,
        name: str | None = None,
        mime: str = "application/octet-stream",
        caption: str = "",
        progress: Callable[[int, int], None] | None = None,
    ) -> Sent:
        """Send a file, or bytes under a `name`: sealed chunk by chunk, then told of in a message.

        `progress(done, total)` counts chunks. Raises as `send` does (`patience` is for each chunk),
        `BadAttachment` for a file too large or changing, `OSError` for one that can not be read.
        """
        ref = await self.upload(path, name=name, mime=mime, caption=caption, progress=progress)
        return await self.send_body(ref)

    async def upload(
        self,
        path: Path | str | bytes,
        *,
        name: str | None = None,
        mime: str = "application/octet-stream",
        caption: str = "",
        progress: Callable[[int, int], None] | None = None,
    ) -> bodies.FileRef:
        """The first half of `send_file`: the file is at the relay, and no message tells of it yet.

        What comes back can be queued in a transaction of yours. Raises as `send_file` does.
        """
        source = path if isinstance(path, bytes) else Path(path)
        return await files.upload(self, source, name, mime, caption, progress)

    async def fetch_file(
        self,
        message: Message | int,
        target: Path | str,
        *,
        limit: int = files.DEFAULT_LIMIT,
        progress: Callable[[int, int], None] | None = None,
    ) -> Path:
        """Fetch the attachment of a message (or its seq), check all of it, and put it at `target`.

        A directory as `target` takes the file under a safe form of its own name. Nothing is left
        there if the file is not what its sender described (`BadAttachment`).
        """
        ref = self.attachment(message)
        return await files.download(self, ref, Path(target), limit, progress)

    async def read_file(self, message: Message | int, *, limit: int = files.READ_LIMIT) -> bytes:
        """The attachment of a message (or its seq), checked, and put on no disk.

        Raises `BadAttachment`, also for one of over `limit` bytes.
        """
        return await files.read(self, self.attachment(message), limit)

    # -- members and keys ------------------------------------------------------------------------

    async def invite(
        self,
        *,
        role: Role = Role.MEMBER,
        caps: Collection[Cap] = (),
        expires_in: int = _WEEK,
        history: History | None = None,
        admitters: Collection[MemberId] | None = None,
        invite_id: InviteId | None = None,
    ) -> InviteCode:
        """A new invite, for one person, once; `code.link()` is what to hand over.

        `expires_in` is milliseconds. Whoever may answer it (by default you and every owner; a bot's
        you alone) must be online for the joiner to get in. `history`: by default since the last
        rotation, for a bot from its joining on. Asked again for the same `invite_id`, it returns
        the first code and opens no second invite. Raises `RelayRefused`, `NotAllowed`, `Offline`.
        """
        core = self._client._core(self.id)
        since = history or (History.JOIN if Cap.BOT in caps else History.ROTATION)

        def make(turn: Turn) -> Made | None:
            known = invite_id and kept_code(turn.records, core, invite_id)
            if known and was_opened(turn.records, core, known.invite_id):
                return None
            invite = make_invite(
                core.state,
                core.mine,
                core.log.seen,
                turn.now,
                relay_url=core.identity.invite_url,
                expires=turn.now + expires_in,
                role=role,
                caps=caps,
                history=since,
                admitters=admitters,
                invite_id=invite_id,
                token=known.token if known else None,
            )
            keep_token(turn.records, core, invite.code.invite_id, invite.code.token)
            if invite_id:
                keep_code(turn.records, core, invite.code, turn.now + expires_in, turn.now)
            return Made(invite.signed, (), invite.code)

        made = await self._ask("invite", make)
        if made is None and invite_id is not None:
            made = kept_code(self._client.vault, core, invite_id)
        return cast(InviteCode, made)

    async def close_invite(self, invite_id: InviteId) -> None:
        """Cancel an open invite."""
        ticket, machine = Ticket("close invite"), self._client._machine(self.id)
        machine.check_open()
        with self._change():
            machine.admissions.close_invite(invite_id, ticket)
        await self._client._settled(ticket, self._client._connection(self.id))

    # -- who is let in ---------------------------------------------------------------------------

    def hold_joins(self, on: bool = True) -> None:
        """Decide yourself who is let in, by `answer_join`; kept in the vault, so it holds at once.

        Off (as it is at first), whoever bears an invite that this client may answer gets in.
        """
        machine = self._client._machine(self.id)
        if machine.core.head.hold_joins == on:
            return
        with self._change() as turn:
            machine.core.save_head(turn, hold_joins=on)
            if not on:
                machine.admissions.release(turn)

    def held_joins(self) -> list[JoinAsked]:
        """Who asks in and waits for `answer_join`; told again on every link to the relay."""
        return self._client._machine(self.id).admissions.held

    def answer_join(self, request: Hash32, *, admit: bool) -> bool:
        """Let a held request in, or leave it (other admitters may answer); False if it is gone."""
        with self._change() as turn:
            return self._client._machine(self.id).admissions.decide(turn, request, admit)

    # -- out, and new keys -----------------------------------------------------------------------

    async def evict(self, *members: MemberId, reason: str = "") -> None:
        """Remove members; in the same record everyone else gets a new key."""
        core = self._client._core(self.id)

        def make(turn: Turn) -> Made | None:
            there = [mid for mid in members if mid in core.state.members]
            if not there:
                return None
            made = make_boxed_rekey(
                core.state, core.mine, core.log.seen, turn.now, removed=there, reason=reason
            )
            return Made(made.signed, made.boxes)

        for mid in members:
            self._member(mid)
        await self._ask("evict", make)

    async def rotate(self, *, boxed: bool = False, since: int | None = None) -> int:
        """Renew the room key; returns the new epoch. Boxed: whoever holds only old keys is out.

        With `since`, only while that epoch is the current one.
        """
        core = self._client._core(self.id)

        def make(turn: Turn) -> Made | None:
            if since is not None and core.state.epoch != since:
                return None
            if boxed:
                made = make_boxed_rekey(core.state, core.mine, core.log.seen, turn.now)
                return Made(made.signed, made.boxes)
            return self._client._machine(self.id).rekeys.make(turn)

        await self._ask("rotate", make)
        return core.state.epoch

    async def grant(
        self,
        member: MemberId,
        role: Role,
        caps: Collection[Cap] = (),
    ) -> None:
        """Give a member this role and exactly these capabilities; nothing, if they have them."""
        core = self._client._core(self.id)

        def make(turn: Turn) -> Made | None:
            now = core.state.members.get(member)
            if now is not None and (now.role, now.caps) == (role, frozenset(caps)):
                return None
            return Made(
                make_grant(
                    core.state,
                    core.mine,
                    core.log.seen,
                    turn.now,
                    member=member,
                    role=role,
                    caps=caps,
                )
            )

        await self._ask("grant", make)

    async def leave(self) -> None:
        """Leave for good; history stays here. Root must hand over first, unless alone."""
        core = self._client._core(self.id)

        def make(turn: Turn) -> Made:
            return Made(make_leave(core.state, core.mine, core.log.seen, turn.now))

        await self._ask("leave", make)

    async def move_home(self, url: str, *, relay_id: RelayId | None = None) -> None:
        """Be at home at the relay at `url` from now on, and stay the same member.

        Done when the room is live there. `relay_id` pins that relay; without it, its key is trusted
        on first use. Where the relay so far can not be reached, the room's own is asked directly.
        Raises `Offline`, `NotAllowed` (the room is local-only), `RelayRefused`; called again, it
        goes on from where it had come.
        """
        await move_home(self._client, self.id, url, relay_id)

    async def _say_home(self, home: RelayId) -> None:
        core = self._client._core(self.id)

        def make(turn: Turn) -> Made | None:
            if core.state.member(core.me).home == home:
                return None
            return Made(make_home(core.state, core.mine, core.log.seen, turn.now, home=home))

        await self._ask("home", make)

    async def move_hub(self, url: str, *, relay_id: RelayId | None = None) -> None:
        """Have the relay at `url` order this room from now on; root's alone to say.

        Root is at home there first, if nobody is: the new hub needs the room's copy. Done when the
        record stands in the log. The relay so far has to agree, and the new one to have all of it:
        where that does not come about within some tries the room stays where it is (but root at
        home at the new relay), and nothing else has waited for it. Raises as `move_home`,
        `RelayRefused` with the code of the last try.
        """
        await move_hub(self._client, self.id, url, relay_id)

    async def survey_hub(self, url: str, *, relay_id: RelayId | None = None) -> Survey:
        """What the relay at `url` has of this room, and what would be lost if it went on from that.

        For root, where the room's own relay is gone for good. Whatever the copy has and this client
        had not is here afterwards. Raises `Offline`, `NotAllowed` (`no_copy`: nobody is at home
        there; `fork`: it is of another log), `RelayRefused`.
        """
        return await look_at_copy(self._client, self.id, url, relay_id)

    async def force_hub(self, found: Survey) -> None:
        """Have that relay order this room from the end of its copy on, the one so far unasked.

        What else was ever ordered behind that is void, for everybody. Root's alone to say. Done
        when the record stands in the log there, and the room is live. Raises as `survey_hub`, and
        `NotAllowed` (`copy_lacks`: a change of the room would come to nothing; `copy_changed`).
        """
        await force_move(self._client, self.id, found)

    async def _say_hub(self, hub: RelayId, url: str) -> None:
        core = self._client._core(self.id)

        def make(turn: Turn) -> Made | None:
            if core.state.hub == hub:
                return None
            made = make_plain_move(core, hub, url, turn.now)
            core.note_term(turn, cast(HubMove, made.record))
            return Made(made)

        await self._ask("move", make, gives_way=True)

    async def hand_over(self, to: MemberId, *, sid: Sid | None = None) -> Sent:
        """Ask `to` to become root; done by itself once they accept (`HandedOver`).

        The same `sid` again is the same offer.
        """
        core = self._client._core(self.id)
        if core.state.root != core.me:
            raise refusal(Code.FORBIDDEN.value)
        self._member(to)
        with self._change() as turn:
            core.save_head(turn, offered_to=to)
        return await self.send_body(bodies.HandoverOffer(to), sid=sid)

    async def accept_handover(self, *, sid: Sid | None = None) -> Sent:
        """Accept root's offer (`HandoverOffered`); the same `sid` again is the same answer."""
        core = self._client._core(self.id)
        signed = accept_handover(core.state, core.mine, self._client.now())
        return await self.send_body(bodies.HandoverAccepted(signed.envelope), sid=sid)

    # -- inside ----------------------------------------------------------------------------------

    async def _ask(
        self, what: str, make: Callable[[Turn], Made | None], *, gives_way: bool = False
    ) -> object:
        machine = self._client._machine(self.id)
        machine.check_open()
        ticket = Ticket(what)
        machine.controls.add(Change(what, make, ticket, gives_way=gives_way))
        connection = self._client._connection(self.id)
        connection.stir()
        try:
            return await self._client._settled(ticket, connection)
        finally:
            if not ticket.settled:
                with self._change() as turn:
                    machine.controls.withdraw(turn, ticket, Offline("nobody waits for it"))

    def _require_owner(self) -> None:
        if not self._client._core(self.id).is_owner:
            raise refusal(Code.FORBIDDEN.value)
