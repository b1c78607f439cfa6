"""Rooms: make one, list them, leave one."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from typing import Final

from attrs import frozen

from ofcd.client import BadInvite, Room
from ofcd.ofc.command import Command, Options
from ofcd.ofc.commands.forcing import force
from ofcd.ofc.console import Shape
from ofcd.ofc.context import Context, room_label
from ofcd.ofc.errors import UsageError
from ofcd.ofc.sentences import label
from ofcd.ofc.text import one_line
from ofcd.protocol.ids import RelayId
from ofcd.protocol.records import Policy

__all__ = ["CREATE", "HOME", "LEAVE", "MOVE", "ROOMS"]

_RELAY_ID: Final = re.compile(r"[0-9a-f]{64}")


@frozen(kw_only=True)
class CreateOptions(Options):
    """Of `create`."""

    room_name: str
    name: str | None = None
    token: str = ""
    local_only: bool = False


def _create_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("room_name", metavar="NAME", help="what the room is called")
    parser.add_argument("--name", help="what you are called (remembered)")
    parser.add_argument("--token", default="", help="what the relay may ask of who makes rooms")
    parser.add_argument(
        "--local-only",
        action="store_true",
        help="nobody may join through another relay: no copy of the room leaves this one",
    )


async def create(context: Context, options: CreateOptions) -> None:
    """Found a room at the relay."""
    if not one_line(options.room_name):
        raise UsageError("that name shows nothing: choose another for the room")
    url, my_name = context.relay(options.relay), context.my_name(options.name)
    if any(room.name == options.room_name for room in context.client.rooms):
        await context.note("You have a room of that name: commands tell the two apart by their ids")
    try:
        room = await context.client.create_room(
            url,
            options.room_name,
            my_name=my_name,
            token=options.token,
            policy=Policy(local_only=options.local_only),
        )
    except BadInvite as error:  # no invite could carry this address
        raise UsageError(str(error)) from error
    context.remember_relay(url)
    await context.flush(room)
    await context.say(
        Shape.CREATED,
        room=room.id.hex(),
        name=room.name,
        relay=url,
        member=room.me.hex(),
    )


CREATE: Final = Command(
    name="create",
    summary="make a room; you are its owner",
    examples=(
        "ofc create 'Book club' --relay wss://relay.example --name Ana",
        "ofc create ops --json",
    ),
    options=CreateOptions,
    run=create,
    arguments=_create_arguments,
    creates_vault=True,
)


async def rooms(context: Context, options: Options) -> None:
    """Every room of the vault, as it stands here."""
    for room in context.client.rooms:
        await context.say(
            Shape.ROOM,
            room=room.id.hex(),
            name=room.name,
            relay=room.relay_url,
            status=room.status.value,
            unread=room.unread,
            members=len(room.members()),
            seq=room.head if room.head >= 0 else None,
            me=room.me.hex(),
        )
    for join in context.client.pending_joins:
        await context.note(
            f"also joining {join.room.hex()[:8]} at {join.relay_url} ({join.stage.value}): "
            "it goes on whenever `ofc serve` or another command runs"
        )


ROOMS: Final = Command(
    name="rooms",
    summary="list your rooms",
    examples=("ofc rooms",),
    options=Options,
    run=rooms,
    expects=Shape.ROOM,
    details="Shows what this vault knows, without waiting for the relay.",
)


@frozen(kw_only=True)
class HomeOptions(Options):
    """Of `home`."""

    room: str
    url: str
    relay_id: str = ""


def _home_arguments(parser: ArgumentParser, url: str = "the relay to be at home at") -> None:
    parser.add_argument("room", metavar="ROOM", help="its name, or the beginning of its id")
    parser.add_argument("url", metavar="URL", help=url)
    parser.add_argument("--relay-id", default="", help="its id, as its operator tells it")


def _pin(options: HomeOptions) -> RelayId | None:
    word = options.relay_id.lower()
    if word and not _RELAY_ID.fullmatch(word):
        raise UsageError("--relay-id takes the 64 hex digits of a relay's id")
    return RelayId(bytes.fromhex(word)) if word else None


async def _relay_there(context: Context, room: Room, options: HomeOptions) -> RelayId:
    """The relay to go to, once it answers: until then it is the one that is waited for."""
    context.relay_url = options.url
    try:
        relay_id = await context.client.relay_at(options.url, _pin(options))
    except BadInvite as error:  # it is no address at all
        raise UsageError(str(error)) from error
    context.relay_url = room.relay_url
    return relay_id


def _home_late(options: HomeOptions) -> str:
    return (
        "Call it again to go on; or, should the two relays not talk to each other, go back: "
        "`ofc home` with the address of before."
    )


async def home(context: Context, options: HomeOptions) -> None:
    """Move to another relay, in one room."""
    room = context.room(options.room)
    relay_id = await _relay_there(context, room, options)
    await room.move_home(options.url, relay_id=relay_id)
    await context.say(
        Shape.CHANGED,
        did=f"you are at home at {options.url} now, in {room_label(room)}",
        room=room.id.hex(),
        relay=options.url,
        relay_id=room.relay_id.hex(),
    )


HOME: Final = Command(
    name="home",
    summary="be at home at another relay, in one room",
    examples=("ofc home 'Book club' wss://relay.other.example",),
    options=HomeOptions,
    run=home,
    arguments=_home_arguments,
    if_late=_home_late,
    timeout=90,
    details="You stay the same member: keys, history and what is queued go along. Your relay need "
    "not be there any more; the room's own must be. Called again, it goes on where it had come.",
)


@frozen(kw_only=True)
class MoveOptions(HomeOptions):
    """Of `move`."""

    force: bool = False
    yes: bool = False


def _move_arguments(parser: ArgumentParser) -> None:
    _home_arguments(parser, "the relay that is to order the room")
    parser.add_argument(
        "--force",
        action="store_true",
        help="the relay so far is gone for good, or does not agree: go on from the other's copy",
    )
    parser.add_argument(
        "--yes", action="store_true", help="with --force: do it, whatever the copy lacks"
    )


async def move(context: Context, options: MoveOptions) -> None:
    """Have another relay order a room."""
    room = context.room(options.room)
    relay_id = await _relay_there(context, room, options)
    follow = "everybody follows by themselves"
    if options.force:
        before = room.hub_id
        await force(context, room, options.url, relay_id, confirmed=options.yes)
        follow = f"tell who was at the old relay: ofc home ROOM {options.url}"
        others = [m for m in room.members() if room.home_of(m.mid) not in (before, room.hub_id)]
        if others:
            names = ", ".join(label(one.name, one.mid.hex()) for one in others)
            follow += f"; so it may be for those at other relays, if theirs is not told: {names}"
    else:
        await room.move_hub(options.url, relay_id=relay_id)
    await context.say(
        Shape.CHANGED,
        did=f"{room_label(room)} is at {options.url} now: {follow}",
        room=room.id.hex(),
        relay=options.url,
        relay_id=room.hub_id.hex(),
    )


MOVE: Final = Command(
    name="move",
    summary="move a room to another relay, which orders it from now on",
    examples=(
        "ofc move 'Book club' wss://relay.other.example",
        "ofc move 'Book club' wss://relay.other.example --force --yes",
    ),
    options=MoveOptions,
    run=move,
    arguments=_move_arguments,
    details="For the room's root owner. Somebody has to be at home at that relay, so that it has "
    "the room; if nobody is, you are from then on. The relay so far has to be there, and to agree. "
    "Invites that are open end: make new ones. With --force the relay so far is not asked: say it "
    "without --yes first, and it tells what that relay's copy lacks. Nothing that would undo a "
    "change of the room which you have seen is done.",
)


@frozen(kw_only=True)
class LeaveOptions(Options):
    """Of `leave`."""

    room: str


def _leave_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("room", metavar="ROOM", help="its name, or the beginning of its id")


async def leave(context: Context, options: LeaveOptions) -> None:
    """Leave for good; what was said stays in the vault."""
    room = await context.live_room(options.room)
    await room.leave()
    await context.say(
        Shape.CHANGED,
        room=room.id.hex(),
        status=room.status.value,
        did=f"You have left {room_label(room)}. Its history stays in your vault.",
    )


LEAVE: Final = Command(
    name="leave",
    summary="leave a room for good",
    examples=("ofc leave 'Book club'",),
    options=LeaveOptions,
    run=leave,
    arguments=_leave_arguments,
    details="Its history stays in your vault; coming back takes a new invite. The root owner of "
    "a room with others in it hands it over first (`ofc hand-over`).",
)
