"""Which room each [[portal]] means: found by its name once, and by its id from then on.

A name is its owner's to change, and anybody's to give a room of their own. So the first room that a
portal is found to mean is kept in the journal, and another one takes its place only by its id, in
the settings. A room that a portal means already is never found by the name of another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from bridge.core.journal import Journal
from bridge.core.settings import Portal, Settings
from ofcd.client import Client, NoSuchRoom, Room, RoomStatus, VaultUnwritable
from ofcd.client.applog import Log
from ofcd.protocol.ids import RoomId

__all__ = ["MeantRooms"]

_SETTLED_MS: Final = 60_000
"""By when the rooms of an earlier life are there."""
_JOINED_MS: Final = 600_000
"""For which a join that waits to be let in is waited for, before a portal without room is told."""
_OVER: Final = frozenset({RoomStatus.LEFT, RoomStatus.EVICTED, RoomStatus.CLOSED})
_GONE: Final = _OVER | {RoomStatus.HIDDEN}
_HIDDEN_MS: Final = 3_600_000
"""For which the relay has to say that a room is not there, before others are told that it is over:
who was evicted while away hears nothing else, and nobody has signed it."""

_Key = tuple[str, str, str]


def _key(portal: Portal) -> _Key:
    return portal.network, portal.place, portal.room


class MeantRooms:
    """The rooms of the portals that stand in the settings."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        journal: Journal,
        log: Log,
        is_members: Callable[[RoomId], bool],
    ) -> None:
        """`is_members(room)`: a member gave it, so no portal of the settings means it."""
        self._portals = settings.portals
        self._client = client
        self._journal = journal
        self._log = log
        self._is_members = is_members
        self._began = client.now()
        self._kept: dict[_Key, RoomId] = {}
        self._hidden: dict[_Key, int] = {}
        """Since when the relay says that the room is not there, milliseconds since 1970."""
        self._told: dict[_Key, str] = {}
        """Of what each portal's operator was told last; "": it means a room that is there."""
        for portal in self._portals:
            kept = journal.fact(client.vault, _fact(portal))
            if kept is not None:
                self._kept[_key(portal)] = RoomId(bytes.fromhex(kept))
            hidden = journal.fact(client.vault, _fact(portal, "hidden"))
            if hidden is not None:
                self._hidden[_key(portal)] = hidden

    def room_of(self, portal: Portal) -> Room | None:
        """The one room that a portal means, as far as it can be used."""
        room = self._found(portal)
        return room if room is not None and room.status.is_open else None

    def all_of(self, room: Room) -> list[Portal]:
        """The portals that mean a room."""
        return [one for one in self._portals if self.room_of(one) == room]

    def at(self, network: str, place: str) -> Iterator[tuple[Portal, Room]]:
        """The portals of a place, with their rooms, as far as those are joined."""
        for portal in self._portals:
            if (portal.network, portal.place) == (network, place):
                room = self.room_of(portal)
                if room is not None:
                    yield portal, room

    def without_room(self, network: str) -> int:
        """How many portals of a network mean no room that can be used."""
        mine = [one for one in self._portals if one.network == network]
        return sum(self.room_of(one) is None for one in mine)

    def is_over(self, network: str, place: str) -> bool:
        """Whether the bridge was put out of each room that a place's portals mean."""
        mine = [one for one in self._portals if (one.network, one.place) == (network, place)]
        return bool(mine) and all(self._is_gone(one) for one in mine)

    def _is_gone(self, portal: Portal) -> bool:
        key = _key(portal)
        if key not in self._kept:
            return False
        if key in self._hidden:
            return self._client.now() - self._hidden[key] >= _HIDDEN_MS
        room = self._found(portal)
        return self._is_settled() if room is None else room.status in _OVER

    def _found(self, portal: Portal) -> Room | None:
        kept = self._kept.get(_key(portal))
        if kept is None:
            found = self._candidates(portal)
            return found[0] if len(found) == 1 else None
        try:
            return self._client.room(kept)
        except NoSuchRoom:
            return None

    def _candidates(self, portal: Portal) -> list[Room]:
        """The rooms that a portal may mean of which none is kept yet."""
        # A member names the rooms they give: neither may that stand for another, nor be it.
        rooms = [room for room in self._client.rooms if not self._is_members(room.id)]
        rooms = [room for room in rooms if room.status.is_open]
        by_id = [room for room in rooms if portal.means(room.id)]
        taken = self._taken(portal)
        return by_id or [
            room for room in rooms if room.name == portal.room and room.id not in taken
        ]

    def _taken(self, portal: Portal) -> set[RoomId]:
        """Rooms that are another portal's, under other words: they may be called what they like."""
        return {
            room
            for (_, _, words), room in self._kept.items()
            if words.casefold() != portal.room.casefold()
        }

    # -- looking ---------------------------------------------------------------------------------

    def look(self) -> None:
        """Called each second: keep what was found, and tell of what can not be. Raises nothing."""
        for portal in self._portals:
            if _key(portal) not in self._kept:
                found = self._candidates(portal)
                if len(found) == 1:
                    self._keep(portal, found[0].id)
            self._note_hidden(portal)
            why = self.trouble(portal)
            if why != self._told.get(_key(portal), "") and (not why or self._is_settled()):
                self._told[_key(portal)] = why
                where = {"network": portal.network, "place": portal.place}
                if why:
                    self._log.error(why, **where)
                else:
                    self._log.info("the room of a [[portal]] is there", **where)

    def _keep(self, portal: Portal, room: RoomId) -> None:
        try:
            with self._client.transaction() as tx:
                self._journal.keep_fact(tx, _fact(portal), room.hex())
        except VaultUnwritable:
            return  # it is found again until there is space
        self._kept[_key(portal)] = room

    def _note_hidden(self, portal: Portal) -> None:
        """Since when it is so: kept, for the bridge may be started anew meanwhile."""
        key = _key(portal)
        room = self._found(portal) if key in self._kept else None
        is_hidden = room is not None and room.status is RoomStatus.HIDDEN
        if is_hidden == (key in self._hidden):
            return
        since = self._client.now()
        try:
            with self._client.transaction() as tx:
                kept = since if is_hidden else None
                self._journal.keep_fact(tx, _fact(portal, "hidden"), kept)
        except VaultUnwritable:
            return  # it is noted once there is space
        if is_hidden:
            self._hidden[key] = since
        else:
            del self._hidden[key]

    def _is_settled(self) -> bool:
        """Whether the rooms that will come by themselves are there."""
        age = self._client.now() - self._began
        return age >= _JOINED_MS or (age >= _SETTLED_MS and not self._client.pending_joins)

    def trouble(self, portal: Portal) -> str:
        """Why a portal means no room that can be used; "": it means one."""
        kept = self._kept.get(_key(portal))
        if kept is None:
            count = len(self._candidates(portal))
            if count > 1:
                return "two rooms are called what a [[portal]] names: write the id's first 8 digits"
            return "" if count else self._nowhere(portal)
        room = self._found(portal)
        if room is None or room.status in _GONE:
            state = "" if room is None else f" ({room.status.value})"
            return (
                f"the bridge is not in the room of a [[portal]] any more{state}: if another room is"
                " to take its place, write the first 8 digits of its id"
            )
        return ""

    def _nowhere(self, portal: Portal) -> str:
        rooms = [room for room in self._client.rooms if not self._is_members(room.id)]
        if any(room.name == portal.room and room.id in self._taken(portal) for room in rooms):
            return (
                "a [[portal]] names a room that another [[portal]] has under another name: write "
                "the same in both, or the first 8 digits of its id"
            )
        return (
            "a [[portal]] names a room that the bridge is not in: is it written as the room is "
            "called, and was its invite used?"
        )


def _fact(portal: Portal, what: str = "portal") -> str:
    return f"{what}/" + "/".join(_key(portal))
