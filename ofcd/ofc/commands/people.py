"""People and keys: who is in a room, and who may do what."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Final

from attrs import frozen

from ofcd.client import HandedOver, HandoverOffered, Room
from ofcd.ofc.command import Command, Options
from ofcd.ofc.console import Shape
from ofcd.ofc.context import Context, room_label
from ofcd.ofc.errors import CommandError, UsageError
from ofcd.ofc.records import member_record
from ofcd.ofc.sentences import label
from ofcd.protocol.records import Cap, Role

__all__ = ["EVICT", "GRANT", "HAND_OVER", "MEMBERS", "ROTATE", "say_members"]

ROLES: Final = tuple(role.value for role in (Role.CO_OWNER, Role.MEMBER, Role.READONLY))
CAPS: Final = tuple(cap.value for cap in Cap)


@frozen(kw_only=True)
class RoomOptions(Options):
    """Of a command on a room."""

    room: str


@frozen(kw_only=True)
class MemberOptions(RoomOptions):
    """Of a command on a member."""

    member: str


def room_argument(parser: ArgumentParser) -> None:
    """ROOM."""
    parser.add_argument("room", metavar="ROOM", help="its name, or the beginning of its id")


def member_argument(parser: ArgumentParser) -> None:
    """ROOM MEMBER."""
    room_argument(parser)
    parser.add_argument("member", metavar="MEMBER", help="a name, or the beginning of an id")


# -- members ---------------------------------------------------------------------------------------


async def members(context: Context, options: RoomOptions) -> None:
    """The current members, as far as this client knows."""
    room = context.room(options.room)
    failed = await context.catch_up(room)
    await say_members(context, room)
    if failed is not None:
        raise failed


async def say_members(context: Context, room: Room) -> None:
    """One object a member."""
    for member in room.members():
        await context.say(Shape.MEMBER, **member_record(member))


MEMBERS: Final = Command(
    name="members",
    summary="list who is in a room",
    examples=("ofc members 'Book club'",),
    options=RoomOptions,
    run=members,
    arguments=room_argument,
    expects=Shape.MEMBER,
)


# -- evict, rotate ---------------------------------------------------------------------------------


@frozen(kw_only=True)
class EvictOptions(MemberOptions):
    """Of `evict`."""

    reason: str = ""


def _evict_arguments(parser: ArgumentParser) -> None:
    member_argument(parser)
    parser.add_argument("--reason", default="", help="shown to the others, and to the relay")


async def evict(context: Context, options: EvictOptions) -> None:
    """Remove a member and renew the key, in one step."""
    room = await context.live_room(options.room)
    member = context.member(room, options.member)
    if member.is_me:
        raise UsageError("that is you: `ofc leave` leaves a room")
    await room.evict(member.mid, reason=options.reason)
    await context.say(
        Shape.CHANGED,
        room=room.id.hex(),
        member=member.mid.hex(),
        epoch=room.epoch,
        did=f"{label(member.name, member.mid.hex())} is out of {room_label(room)}, and the key is "
        f"renewed (epoch {room.epoch}): they read nothing said from now on.",
    )


EVICT: Final = Command(
    name="evict",
    summary="remove a member and renew the room key (owners)",
    examples=("ofc evict 'Book club' Mallory", "ofc evict ops 3fa2c1 --reason 'lost laptop'"),
    options=EvictOptions,
    run=evict,
    arguments=_evict_arguments,
)


@frozen(kw_only=True)
class RotateOptions(RoomOptions):
    """Of `rotate`."""

    boxed: bool = False


def _rotate_arguments(parser: ArgumentParser) -> None:
    room_argument(parser)
    parser.add_argument(
        "--boxed",
        action="store_true",
        help="hand the key to each member anew: a thief of older keys is out",
    )


async def rotate(context: Context, options: RotateOptions) -> None:
    """Renew the room key."""
    room = await context.live_room(options.room)
    epoch = await room.rotate(boxed=options.boxed)
    await context.say(
        Shape.CHANGED,
        room=room.id.hex(),
        epoch=epoch,
        did=f"The key of {room_label(room)} is renewed (epoch {epoch}).",
    )


ROTATE: Final = Command(
    name="rotate",
    summary="renew the room key now (owners)",
    examples=("ofc rotate 'Book club'", "ofc rotate 'Book club' --boxed"),
    options=RotateOptions,
    run=rotate,
    arguments=_rotate_arguments,
    details="Owners' clients do it by themselves every 100 messages and every day.",
)


# -- grant, hand-over ------------------------------------------------------------------------------


@frozen(kw_only=True)
class GrantOptions(MemberOptions):
    """Of `grant`."""

    role: str
    caps: tuple[str, ...] | None = None


def _grant_arguments(parser: ArgumentParser) -> None:
    member_argument(parser)
    parser.add_argument("role", choices=ROLES, metavar="ROLE", help=", ".join(ROLES))
    parser.add_argument(
        "--cap",
        dest="caps",
        action="append",
        choices=(*CAPS, "none"),
        help="exactly these marks from now on (repeat it; none for none); else they stay",
    )


async def grant(context: Context, options: GrantOptions) -> None:
    """Give a member a role, and capabilities."""
    room = await context.live_room(options.room)
    member = context.member(room, options.member)
    caps = member.caps
    if options.caps is not None:
        caps = frozenset(Cap(cap) for cap in options.caps if cap != "none")
    await room.grant(member.mid, Role(options.role), caps)
    marks = sorted(cap.value for cap in caps)
    await context.say(
        Shape.CHANGED,
        room=room.id.hex(),
        member=member.mid.hex(),
        role=options.role,
        caps=marks,
        did=f"{label(member.name, member.mid.hex())} is {options.role} of {room_label(room)} now"
        + (f" [{', '.join(marks)}]" if marks else "")
        + ".",
    )


GRANT: Final = Command(
    name="grant",
    summary="give a member another role (owners)",
    examples=(
        "ofc grant 'Book club' Bo co-owner",
        "ofc grant ops doorkeeper member --cap bot --cap admit",
    ),
    options=GrantOptions,
    run=grant,
    arguments=_grant_arguments,
    details="co-owner: may invite, evict, rotate and remove messages. member: may write. "
    "readonly: may read. The mark `admit` lets a member invite and admit.",
)


@frozen(kw_only=True)
class HandOverOptions(RoomOptions):
    """Of `hand-over`."""

    member: str | None = None
    accept: bool = False


def _hand_over_arguments(parser: ArgumentParser) -> None:
    room_argument(parser)
    parser.add_argument("member", metavar="MEMBER", nargs="?", help="who is to be the root owner")
    parser.add_argument("--accept", action="store_true", help="take a room that you are offered")


async def hand_over(context: Context, options: HandOverOptions) -> None:
    """Offer a room to a member, and see it through; or take what is offered."""
    if options.accept == (options.member is not None):
        raise UsageError("name the member to hand over to, or say --accept")
    room = await context.live_room(options.room)
    cursor = room.head
    if options.member is None:
        await _accept(context, room)
    else:
        await _offer(context, room, options.member)
    async for event in room.events_since(cursor):
        if isinstance(event, HandedOver):
            name = room.name_of(event.to)
            await context.say(
                Shape.CHANGED,
                room=room.id.hex(),
                member=event.to.hex(),
                did=f"{label(name, event.to.hex())} is the root owner of {room_label(room)} now.",
            )
            return


async def _offer(context: Context, room: Room, word: str) -> None:
    member = context.member(room, word)
    if member.is_me:
        raise UsageError("that is you: name the member to hand over to")
    await room.hand_over(member.mid)
    await context.note(
        f"Offered. {label(member.name, member.mid.hex())} takes it with `ofc hand-over "
        f"{room_label(room)} --accept`; it is done when your client sees that. You may stop "
        "waiting (Ctrl-C): `ofc serve` finishes it too."
    )


async def _accept(context: Context, room: Room) -> None:
    offered = False
    async for event in room.events_since(give_up_after=0, follow=False):
        offered = event.to == room.me if isinstance(event, HandoverOffered) else offered
        offered = offered and not isinstance(event, HandedOver)
    if not offered:
        raise CommandError("nobody offers you this room: its root owner runs `ofc hand-over`")
    await room.accept_handover()
    await context.note("Accepted. It is done once the present owner's client is online.")


HAND_OVER: Final = Command(
    name="hand-over",
    summary="make another member the root owner, with their consent",
    examples=("ofc hand-over 'Book club' Bo", "ofc hand-over 'Book club' --accept   (Bo's)"),
    options=HandOverOptions,
    run=hand_over,
    arguments=_hand_over_arguments,
    timeout=None,
    lasts=lambda _: True,
    details="The owner offers, the member accepts, the owner's client completes it; then the key "
    "is renewed. Waits until it is done, or for --timeout seconds.",
)
