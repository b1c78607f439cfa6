"""Whether members are who they seem: the code to compare, the phrase to compare, the devices."""

from __future__ import annotations

import getpass
import sys
from argparse import ArgumentParser
from typing import Final

import trio
from attrs import evolve, field, frozen

from ofcd.client import MemberInfo, Room
from ofcd.ofc.command import Command
from ofcd.ofc.commands.people import MemberOptions, member_argument
from ofcd.ofc.console import Shape
from ofcd.ofc.context import Context, room_label
from ofcd.ofc.errors import PhraseDiffers, UsageError
from ofcd.ofc.sentences import label

__all__ = ["ALIAS", "VERIFY"]

_LINE: Final = 1024
_FLUSH_SECONDS: Final = 2.0
"""How long a command whose time is up tries to tell the other side so."""


# -- verify ----------------------------------------------------------------------------------------


@frozen(kw_only=True)
class VerifyOptions(MemberOptions):
    """Of `verify`."""

    phrase: str | None = field(default=None, repr=False)
    """What the person typed; never an argument: others on the machine can read those."""


def _verify_arguments(parser: ArgumentParser) -> None:
    member_argument(parser)
    parser.add_argument(
        "--phrase",
        action="store_const",
        const="",
        help="compare a secret phrase instead: you are asked for it (or it is the first line of "
        "standard input)",
    )


def _verify_localise(options: VerifyOptions) -> VerifyOptions:
    """The phrase is typed where the person is."""
    if options.phrase is None:
        return options
    try:
        typed = _read_phrase(options.member)
    except EOFError:
        typed = ""
    if not typed.strip():
        raise UsageError("no phrase was typed: agree on one, and both type it")
    return evolve(options, phrase=typed)


def _read_phrase(member: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(f"Phrase that {member} types too: ", stream=sys.stderr)
    return sys.stdin.readline(_LINE).rstrip("\r\n")


async def verify(context: Context, options: VerifyOptions) -> None:
    """The number that both sides compare, or the phrase that both type."""
    room = context.room(options.room)
    member = context.member(room, options.member)
    if member.is_me:
        raise UsageError("that is you: name the member to compare with")
    if options.phrase is not None:
        await _compare(context, room, member, options.phrase)
        return
    await context.say(
        Shape.VERIFY,
        room=room.id.hex(),
        member=member.mid.hex(),
        name=member.name,
        code=room.short_code(member.mid),
        safety_number=room.safety_number(member.mid),
        fingerprint=member.fingerprint,
    )


async def _compare(context: Context, room: Room, member: MemberInfo, phrase: str) -> None:
    who = label(member.name, member.mid.hex())
    await context.note(
        f"Waiting for {who} to type the same phrase, within ten minutes: `ofc verify --phrase` "
        "with the room's name and yours."
    )
    try:
        same = await room.compare(member.mid, phrase)
    except trio.Cancelled:
        if context.scope.cancel_called:  # else the client is stopped too (Ctrl-C)
            with trio.move_on_after(_FLUSH_SECONDS, shield=True):
                await context.flush(room)
        raise
    await context.flush(room)  # their side waits for our last step
    if not same:
        raise PhraseDiffers(
            f"{who} did not type the same phrase, or somebody stands between you: ask them over "
            "another channel what they typed, and say nothing here until it is clear"
        )
    await context.say(
        Shape.CHANGED,
        room=room.id.hex(),
        member=member.mid.hex(),
        verified=room.member(member.mid).verified,
        did=f"The same phrase: {who}'s keys are genuine, and `ofc members` shows it.",
    )


VERIFY: Final = Command(
    name="verify",
    summary="find out whether a member's keys are genuine, by a code or a phrase",
    examples=("ofc verify 'Book club' Bo", "ofc verify 'Book club' Bo --phrase"),
    options=VerifyOptions,
    run=verify,
    arguments=_verify_arguments,
    localise=_verify_localise,
    timeout=None,
    lasts=lambda options: options.phrase is not None,
    details="Both of you run it, each with the other's name. Without --phrase, read the code to "
    "each other over a channel the relay does not carry: the same code means that nobody stands "
    "between you. With --phrase, agree on a secret (where you met; two words told by voice), and "
    "both type it within ten minutes: you learn only whether it is the same. Whoever pretends to "
    "be the other has one guess a run, three a day: choose nothing that can be guessed.",
)


# -- alias -----------------------------------------------------------------------------------------


@frozen(kw_only=True)
class AliasOptions(MemberOptions):
    """Of `alias`."""

    remove: bool = False


def _alias_arguments(parser: ArgumentParser) -> None:
    member_argument(parser)
    parser.add_argument("--remove", action="store_true", help="say so no longer")


async def alias(context: Context, options: AliasOptions) -> None:
    """Say that a member is this person too, on another device."""
    room = await context.live_room(options.room)
    member = context.member(room, options.member)
    if member.is_me:
        raise UsageError("that is this device: name the other one")
    same = await room.set_alias(member.mid, removed=options.remove)
    who = label(member.name, member.mid.hex())
    await context.say(
        Shape.CHANGED,
        room=room.id.hex(),
        member=member.mid.hex(),
        same=same,
        did=_alias_sentence(room, who, same=same, removed=options.remove),
    )


def _alias_sentence(room: Room, who: str, *, same: bool, removed: bool) -> str:
    if removed:
        return f"{who} is not shown as your device any more."
    if same:
        return f"{who} and this device are shown as one person's in {room_label(room)}."
    me = label(room.my_name, room.me.hex())
    return (
        f"Said. It shows once {who} says it too: there, run `ofc alias` with this room and {me} "
        f"({room.me.hex()[:8]})."
    )


ALIAS: Final = Command(
    name="alias",
    summary="say that a member is you too, on another device",
    examples=("ofc alias 'Book club' 'Ana (phone)'", "ofc alias 'Book club' 3fa2c1 --remove"),
    options=AliasOptions,
    run=alias,
    arguments=_alias_arguments,
    details="Others see that the two are one person's once both devices have said so. It grants "
    "nothing: each keeps its own keys, role and words.",
)
