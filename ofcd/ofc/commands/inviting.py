"""Bringing people in: invite, join, and staying online to admit them."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from argparse import ArgumentParser
from typing import Final

import trio
from attrs import evolve, frozen

from ofcd.client import (
    AppEvent,
    BadInvite,
    InviteClosed,
    InviteCode,
    JoinStateChanged,
    LinkState,
    LinkStateChanged,
    MemberJoined,
    NotAllowed,
    Room,
    TooSlow,
    parse_link,
)
from ofcd.errors import OfcError
from ofcd.ofc.command import Command, Options
from ofcd.ofc.commands.people import ROLES, RoomOptions, room_argument
from ofcd.ofc.console import Shape
from ofcd.ofc.context import Context
from ofcd.ofc.errors import NotKnown, UsageError
from ofcd.ofc.held import Held
from ofcd.ofc.text import moment
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import InviteId
from ofcd.protocol.records import Cap, History, Role
from ofcd.protocol.scopes import Scope, caps_for

__all__ = ["INVITE", "JOIN", "SERVE"]

_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400}
_LONGEST: Final = 30 * 86_400
"""Relays take no longer ones (protocol.md §2.3)."""
_LINE: Final = 8192
_ADMITTERS: Final = "you, or another owner, are"
_BY_DEFAULT: Final = frozenset({Scope.READ_ALL, Scope.WRITE, Scope.FILES})
_NOTED: Final = (
    *("rotated", "joined", "left", "evicted", "alarm", "status", "gap", "link"),
    *("compare_asked", "compare_ended"),
)


# -- invite ----------------------------------------------------------------------------------------


@frozen(kw_only=True)
class InviteOptions(RoomOptions):
    """Of `invite`."""

    qr: bool = False
    role: str = Role.MEMBER.value
    bot: bool = False
    bridge: bool = False
    admit: bool = False
    history: bool = True
    expires: int = 7 * 86_400
    wait: bool = False
    scope: tuple[str, ...] | None = None

    @property
    def scopes(self) -> frozenset[Scope]:
        """What a bot may do: all but to read what was said before, unless `--scope` says else."""
        return _BY_DEFAULT if self.scope is None else frozenset(map(Scope, self.scope))

    @property
    def granted_role(self) -> Role:
        """The newcomer's role; a bot that may not write is `readonly`."""
        reads = self.bot and Scope.WRITE not in self.scopes
        return Role.READONLY if reads else Role(self.role)

    @property
    def caps(self) -> frozenset[Cap]:
        """What the newcomer is marked as."""
        marks = ((self.bridge, Cap.BRIDGE), (self.admit, Cap.ADMIT))
        caps = frozenset(cap for marked, cap in marks if marked)
        return caps | caps_for(self.scopes) if self.bot else caps

    @property
    def since(self) -> History:
        """From when on the newcomer reads."""
        read = self.history and (not self.bot or Scope.HISTORY in self.scopes)
        return History.ROTATION if read else History.JOIN

    def check(self) -> None:
        """Raises `UsageError` for scopes that contradict the rest."""
        if self.scope is not None and not self.bot:
            raise UsageError("--scope is for bots: add --bot")
        if self.bot and Scope.WRITE not in self.scopes and self.role != Role.MEMBER.value:
            raise UsageError("a bot without the scope write is readonly: leave out --role")


def scope(text: str) -> tuple[str, ...]:
    """`only-addressed,write` as its words; else argparse's own error."""
    words = tuple(dict.fromkeys(text.split(",")))
    strange = [word for word in words if word not in set(Scope)]
    if strange:
        known = ", ".join(one.value for one in Scope)
        raise argparse.ArgumentTypeError(f"{strange[0]!r} is no scope: there is {known}")
    if {Scope.READ_ALL, Scope.ONLY_ADDRESSED} <= set(words):
        raise argparse.ArgumentTypeError("read-all and only-addressed exclude each other")
    if Scope.FILES in words and Scope.WRITE not in words:
        raise argparse.ArgumentTypeError("files can not be sent without write")
    return words


def lifetime(text: str) -> int:
    """`90m`, `12h` or `7d` in seconds; else argparse's own error."""
    match = re.fullmatch(r"([1-9]\d{0,5})([mhd])", text)
    span = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < span <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time like 90m, 12h or 7d, 30d at most")
    return span


def _invite_arguments(parser: ArgumentParser) -> None:
    room_argument(parser)
    parser.add_argument("--qr", action="store_true", help="show the link as a QR code too")
    parser.add_argument("--role", choices=ROLES, default=Role.MEMBER.value, help="default: member")
    parser.add_argument("--bot", action="store_true", help="for a bot: shown as one to everybody")
    parser.add_argument(
        "--scope",
        type=scope,
        metavar="WORDS",
        help="what the bot may do: read-all or only-addressed, write, files, history, with commas "
        "between (read-all,write,files)",
    )
    parser.add_argument("--bridge", action="store_true", help="for a bridge to another network")
    parser.add_argument("--admit", action="store_true", help="may invite and admit others itself")
    parser.add_argument(
        "--no-history",
        dest="history",
        action="store_false",
        help="reads from the moment of joining on, not since the last key",
    )
    parser.add_argument(
        "--expires",
        type=lifetime,
        default=7 * 86_400,
        metavar="TIME",
        help="90m, 12h, 7d (default)",
    )
    parser.add_argument(
        "--wait", action="store_true", help="stay online until it is used: someone must admit"
    )


async def invite(context: Context, options: InviteOptions) -> None:
    """A link for one person, once."""
    options.check()
    room = await context.live_room(options.room)
    code = await room.invite(
        role=options.granted_role,
        caps=options.caps,
        expires_in=options.expires * 1000,
        history=options.since,
    )
    cursor = room.head
    await context.say(
        Shape.INVITE,
        link=code.link(),
        room=room.id.hex(),
        invite=code.invite_id.hex(),
        role=options.granted_role.value,
        caps=sorted(cap.value for cap in options.caps),
        expires=_expiry(room, code),
        qr=options.qr,
    )
    if options.wait:
        if options.timeout is None:
            context.take_all_the_time()
        await _until_used(context, room, code.invite_id, cursor)
    else:
        who = "you are (nobody else signs for your bot)" if options.bot else _ADMITTERS
        await context.note(
            f"They get in while {who} online: `ofc serve`, `ofc chat`, or `ofc invite --wait`."
        )


def _expiry(room: Room, code: InviteCode) -> int | None:
    return next((i.expires for i in room.invites() if i.invite_id == code.invite_id), None)


async def _until_used(context: Context, room: Room, invite_id: InviteId, cursor: int) -> None:
    await context.note("Waiting for it to be used; Ctrl-C ends the waiting, not the invite.")
    async for event in room.events_since(cursor):
        is_open = any(invite.invite_id == invite_id for invite in room.invites())
        if isinstance(event, MemberJoined) and not is_open:
            await context.name_arrives(room, event)
            made = context.event(room, event)
            if made is not None:
                await context.say(Shape.EVENT, **made)
            return
        if isinstance(event, InviteClosed) and event.invite_id == invite_id:
            await context.note("The invite was closed before anyone used it.")
            return


INVITE: Final = Command(
    name="invite",
    summary="make a link that lets one person in",
    examples=(
        "ofc invite 'Book club'",
        "ofc invite 'Book club' --qr --wait",
        "ofc invite ops --bot --scope only-addressed,write --expires 1h",
    ),
    options=InviteOptions,
    run=invite,
    arguments=_invite_arguments,
    lasts=lambda options: options.wait,
    if_late=lambda options: (
        "If a link was shown, it stays good: `ofc serve` admits who uses it."
        if options.wait
        else ""
    ),
    details="The secret stands in the part of the link after '#', which no server is sent. Send it "
    "over a channel you trust: whoever has it first gets in.",
)


# -- join ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class JoinOptions(Options):
    """Of `join`."""

    link: str
    name: str | None = None


def _join_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "link",
        metavar="LINK",
        help="the invite; in single quotes, or - to read it from standard input, so that it "
        "stays out of your shell's history",
    )
    parser.add_argument("--name", help="what you are called (remembered)")


def _join_localise(options: JoinOptions) -> JoinOptions:
    if options.link != "-":
        return options
    return evolve(options, link=sys.stdin.readline(_LINE).strip())


async def join(context: Context, options: JoinOptions) -> None:
    """Ask in, and wait to be admitted."""
    code = _code(options.link)
    via = options.relay or ""
    context.relay_url = via or code.relay_url
    name = context.my_name(options.name)
    held = Held()
    room: Room | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(_tell_of_join, context, code)
        with held:
            room = await _joined(context, code, name, via)
        nursery.cancel_scope.cancel()
    held.release()
    if room is None:
        raise NotKnown("the join ended without a room")
    await room.wait_live()
    await context.flush(room)
    context.remember_relay(room.relay_url)
    await context.say(
        Shape.JOINED,
        room=room.id.hex(),
        member=room.me.hex(),
        name=room.name,
        relay=room.relay_url,
    )


def _code(link: str) -> InviteCode:
    try:
        return parse_link(link)
    except OfcError as error:
        raise BadInvite(str(error)) from None


async def _joined(context: Context, code: InviteCode, name: str, via: str) -> Room:
    """The room; it is this client's already where an earlier try has got in meanwhile."""
    try:
        return await context.client.join(code, name=name, via=via)
    except NotAllowed as error:
        if error.code != Code.ALREADY_MEMBER:
            raise
        return context.client.room(code.room)


async def _tell_of_join(
    context: Context, code: InviteCode, task_status: trio.TaskStatus[None]
) -> None:
    """Say that somebody has to admit us, once it is clear that the relay has our request."""
    with context.client.events() as events:
        waiting = any(
            known.room == code.room and known.stage.value == "asked"
            for known in context.client.pending_joins
        )
        task_status.started()
        while not waiting:
            event = await anext(events)
            if isinstance(event, JoinStateChanged) and event.room == code.room:
                waiting = event.state == "asked"
        await context.note(
            "Asked in. Waiting for someone who may admit you to be online. Ctrl-C is safe: the "
            "join goes on with the next `ofc` command, `ofc serve` for one."
        )


JOIN: Final = Command(
    name="join",
    summary="join a room by an invite link",
    examples=("ofc join 'https://relay.example/#ofc1:…' --name Bo", "ofc join - < link.txt"),
    options=JoinOptions,
    run=join,
    arguments=_join_arguments,
    localise=_join_localise,
    timeout=None,
    lasts=lambda _: True,
    creates_vault=True,
    if_late=lambda _: "The join is kept: it goes on with the next `ofc` command.",
    details="Waits until someone who may admit you is online, without limit unless --timeout is "
    "given. Stopped with Ctrl-C, it goes on with the next `ofc` command.",
)


# -- serve -----------------------------------------------------------------------------------------


async def serve(context: Context, options: Options) -> None:
    """Stay online: joins are answered and keys rotated by the client by itself."""
    count = len(context.client.rooms)
    await context.note(
        f"Online for {count} room{'' if count == 1 else 's'}: admitting who was invited, renewing "
        f"keys. Other ofc commands work meanwhile. Ctrl-C ends it. ({moment(context.now())})"
    )
    down: set[str] = set()
    while True:
        # Behind with telling is no reason to stop: what it is here for, the client does by itself.
        with context.client.events() as events, contextlib.suppress(TooSlow):
            async for event in events:
                await _tell_served(context, event, down)


async def _tell_served(context: Context, event: AppEvent, down: set[str]) -> None:
    room = _room_of(context, getattr(event, "room", None))
    if room is not None:
        await context.name_arrives(room, event)
        made = context.event(room, event, named=True)
        if made is not None and made["kind"] in _NOTED:
            await context.say(Shape.EVENT, **made)
    elif isinstance(event, LinkStateChanged):
        await _tell_of_change(context, event, down)


async def _tell_of_change(context: Context, event: LinkStateChanged, down: set[str]) -> None:
    """Say that a relay went, and that it came back; not each try in between."""
    if event.state is LinkState.OFFLINE and event.url not in down:
        down.add(event.url)
        await context.note(f"{event.url} can not be reached: {event.detail}. Trying on…")
    elif event.state is LinkState.ONLINE and event.url in down:
        down.discard(event.url)
        await context.note(f"{event.url} is back.")


def _room_of(context: Context, room: object) -> Room | None:
    return next((known for known in context.client.rooms if known.id == room), None)


SERVE: Final = Command(
    name="serve",
    summary="stay online: admit who was invited, renew keys",
    examples=("ofc serve", "ofc serve --json | tee serve.log"),
    options=Options,
    run=serve,
    timeout=None,
    lasts=lambda _: True,
    goes_on=True,
    details="While it runs, other ofc commands on this vault need no passphrase: they are run by "
    "it, over a socket beside the vault that only you can open.",
)
