"""A room's whole history, to keep or to work on elsewhere."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from ofcd.ofc.command import Command
from ofcd.ofc.commands.people import RoomOptions, room_argument
from ofcd.ofc.console import Shape
from ofcd.ofc.context import Context
from ofcd.ofc.history import void_before

__all__ = ["EXPORT", "ExportOptions"]


@frozen(kw_only=True)
class ExportOptions(RoomOptions):
    """Of `export`."""

    format: str = "json"
    output: str | None = None
    local: bool = False


def _arguments(parser: ArgumentParser) -> None:
    room_argument(parser)
    parser.add_argument(
        "--format", choices=("json", "text"), default="json", help="default: json, one line each"
    )
    parser.add_argument("--output", metavar="FILE", help="a new file, readable by you alone")
    parser.add_argument("--local", action="store_true", help="what is here, without the relay")


def _localise(options: ExportOptions) -> ExportOptions:
    if options.output is None:
        return options
    return evolve(options, output=str(Path(options.output).expanduser().absolute()))


async def export(context: Context, options: ExportOptions) -> None:
    """Every entry; the terminal's side writes the file."""
    room = context.room(options.room, local=options.local)
    late = None if options.local else await context.catch_up(room)
    count = 0
    async for event in room.events_since(give_up_after=0, follow=False):
        for message in void_before(room, event):
            count += 1
            await context.say(Shape.EVENT, **context.void(room, message))
        made = context.event(room, event)
        if made is not None:
            count += 1
            await context.say(Shape.EVENT, **made)
    await context.note(f"{count} entries exported. They are not encrypted any more.")
    if late is not None:
        raise late


EXPORT: Final = Command(
    name="export",
    summary="print a room's whole history as JSON lines or text",
    examples=(
        "ofc export 'Book club' --output club.jsonl",
        "ofc export 'Book club' --format text | less",
    ),
    options=ExportOptions,
    run=export,
    arguments=_arguments,
    localise=_localise,
    details="What comes out is not encrypted any more.",
)
