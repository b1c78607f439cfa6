"""What the parts of one IRC network share: where it is, as whom, and what it has said (trio)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import define, field

from bridge.core.model import Outgoing
from bridge.core.network import Host, PlaceInfo
from bridge.irc.answers import Answers
from bridge.irc.connection import Connection
from bridge.irc.history import History
from bridge.irc.mirc import clean
from bridge.irc.presence import Presence
from bridge.irc.proof import OwnLines
from bridge.irc.puppets import Puppets
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.wire import Line, fold

__all__ = ["MADE", "ORIGIN_TAG", "REACT", "RELAYED", "REPLY", "Shared", "msgids", "tags_of"]

ORIGIN_TAG: Final = "+ofcd/origin"
RELAYED: Final = "draft/relaymsg"
REPLY: Final = "+draft/reply"
REACT: Final = "+draft/react"
MADE: Final = "made "
"""Begins the id of a line to which the server gave none; none of a server's has a space."""
_NAMED: Final = 200


def tags_of(connection: Connection, one: Outgoing) -> dict[str, str]:
    """What goes with each line of something: where it has been, and what it answers."""
    tags: dict[str, str] = {}
    if "message-tags" in connection.caps:
        if one.path:
            tags[ORIGIN_TAG] = ",".join(one.path)
        if one.reply_to is not None and (there := msgids(one.reply_to.remote_ids)):
            tags[REPLY] = there[0]
    return tags


def msgids(remote_ids: Sequence[str]) -> tuple[str, ...]:
    """Those ids of a message that the server gave it, and knows."""
    return tuple(one for one in remote_ids if not one.startswith(MADE))


@define(eq=False)
class Shared:
    """One network's state, as far as more than one part needs it."""

    settings: IrcSettings
    places: Mapping[str, PlaceInfo[IrcPlace]]
    host: Host
    puppets: Puppets | None = None
    connection: Connection | None = None
    """The bridge's own nick's."""
    presence: Presence = field(factory=Presence)
    history: History | None = None
    joined: set[str] = field(factory=set)
    _by_fold: dict[str, dict[str, str]] = field(factory=dict)
    """By how the server compares names: by what it takes for the same channel, its place."""
    skew: int = 0
    """What the server's clock is ahead of ours, milliseconds."""
    own: OwnLines = field(init=False)
    answers: Answers = field(init=False)

    def __attrs_post_init__(self) -> None:
        """The journal knows which lines have an id already."""
        self.answers = Answers(self.host.now)
        self.own = OwnLines(lambda place, msgid: self.host.event_of(place, msgid) is not None)

    def place_of(self, connection: Connection, channel: str) -> str | None:
        """The place that a channel is; None: none of ours."""
        mapping = connection.case_mapping
        if mapping not in self._by_fold:
            self._by_fold = {mapping: {fold(place, mapping): place for place in self.places}}
        return self._by_fold[mapping].get(fold(channel, mapping))

    def names(self, place: str) -> str:
        """Who is in a channel besides the bridge, as far as the server says, in a sentence."""
        if place not in self.joined or self.connection is None:
            return f"I am not in {place}."
        puppets = {} if self.puppets is None else self.puppets.nicks()
        own = {fold(one) for one in (*puppets, self.connection.nick)}
        people = self.presence.members.get(place, {}).values()
        others = sorted(clean(one) for one in people if fold(one) not in own)
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        return f"{place}, {len(others)} others: {', '.join(others[:_NAMED])}{more}"

    def own_nick(self, connection: Connection, line: Line) -> str | None:
        """Which of the bridge's nicks this is: "" its own, a member's; None: somebody else."""
        if connection.is_me(line.nick):
            return ""
        if self.puppets is not None and (owner := self.puppets.owner(line)) is not None:
            return owner
        relayed = line.tags.get(RELAYED, "")
        return f"relayed/{line.nick}" if relayed and connection.is_me(relayed) else None

    def is_own_mask(self, mask: str) -> bool:
        """Whether `nick!user@host` is the bridge's own nick, or one of a member's."""
        nick, _, where = mask.partition("!")
        user, _, host = where.partition("@")
        connection = self.connection
        if connection is None:
            return False
        if connection.is_me(nick):
            return (connection.user, connection.host) == (user, host)
        line = Line("", nick=nick, user=user, host=host)
        return self.puppets is not None and self.puppets.owner(line) is not None
