"""The loop guard's memory (`guard`) fed with what the rooms say, and asked (G3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.formatting import (
    EDIT,
    EDIT_CHARACTERS,
    FILE,
    NICK_ONLY,
    TAKEN_BACK,
    document_of,
    excerpt,
    plain_text,
)
from bridge.core.guard import EchoMemory, HeardMemory, Told
from bridge.core.journal import Entry
from bridge.core.model import Kind, RemoteMessage
from bridge.core.names import outside_name, remote_name
from bridge.core.settings import Portal
from ofcd.client import (
    LoggedEvent,
    Message,
    MessageEdited,
    MessageReceived,
    MessageRedacted,
    Room,
    lite,
)
from ofcd.protocol.ids import RoomId

if TYPE_CHECKING:
    from bridge.core.engine import Engine

__all__ = ["Echoes"]


class Echoes:
    """What was said in each room, and heard at each place, just now."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._said: dict[RoomId, EchoMemory] = {}
        self._heard: dict[tuple[str, str], HeardMemory] = {}

    def said(self, room: Room, event: LoggedEvent) -> None:
        """Something was said in a room; not by the bridge itself, but for whom it speaks."""
        memory, now = self._of(room.id), self._engine.client.now()
        match event:
            case MessageReceived(message=message) if not message.mine or message.via is not None:
                memory.said(_told(now, message))
            case MessageEdited(message=message) if not message.mine or message.via is not None:
                memory.said(_told_edit(now, message))
            case MessageRedacted(mid=mid) if mid != room.me:
                name = outside_name(room.name_of(mid))
                memory.said(Told(now, name, "", mid=mid.hex(), also=(TAKEN_BACK,)))

    def heard(self, network: str, remote: RemoteMessage) -> None:
        """Somebody outside said something at a place."""
        memory = self._heard.setdefault((network, remote.place), HeardMemory())
        words = plain_text(remote.document)
        memory.heard(self._engine.client.now(), remote.author.id, words)

    def is_brought_back(self, room: Room, network: str, remote: RemoteMessage) -> bool:
        """Whether words from outside are those of a room."""
        who, text = f"{network}/{remote.author.id}", plain_text(remote.document)
        memory, now = self._of(room.id), self._engine.client.now()
        return memory.is_echo(now, remote.author.name, who, text, notice=remote.notice)

    def came_back(self, portal: Portal, message: Message) -> bool:
        """Whether what another bridge brought is known at a place: said by us, or heard there."""
        if message.mine or message.via is None:
            return False
        who = message.via.remote_id
        if any(one.is_own(who) for one in self._engine.networks.values()):
            return True
        words = plain_text(document_of(message.text, message.format))
        return self._has_heard(portal.network, portal.place, who, words)

    def is_there(self, entry: Entry, room: Room) -> bool:
        """Whether what another bridge brought was heard there while it waited."""
        if entry.via is None or entry.kind is not Kind.MESSAGE or entry.mid == room.me:
            return False
        words = plain_text(document_of(entry.text, entry.format))
        return self._has_heard(entry.network, entry.place, entry.via.remote_id, words)

    def _of(self, room: RoomId) -> EchoMemory:
        return self._said.setdefault(room, EchoMemory())

    def _has_heard(self, network: str, place: str, who: str, words: str) -> bool:
        memory = self._heard.get((network, place))
        return memory is not None and memory.has(self._engine.client.now(), who, words)


def _told(now: int, message: Message) -> Told:
    document = document_of(message.text, message.format)
    name, identity = outside_name(message.name), ""
    if message.via is not None:
        name = remote_name(message.via.name, message.via.remote_id)
        identity = f"{message.via.network}/{message.via.remote_id}" if message.mine else ""
    return Told(
        now,
        name,
        plain_text(document),
        tuple(row.first + "".join(one.text for one in row.spans) for row in lite.rows(document)),
        identity,
        "" if message.via is not None else message.mid.hex(),
        (NICK_ONLY, *(() if message.file is None else (FILE,))),
    )


def _told_edit(now: int, message: Message) -> Told:
    told = _told(now, message)
    words = excerpt(document_of(message.text, message.format), EDIT_CHARACTERS)
    return Told(now, told.name, "", (f"{EDIT}{words}",), told.identity, told.mid, (EDIT,))
