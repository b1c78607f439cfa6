"""Who wrote to a member alone, and how they are known again (on disk).

By their account with the network's services, where the server names it (account-tag): then a nick
is that account, wherever it comes from, and nobody else's word changes that. Elsewhere by
user@host.
"""

from __future__ import annotations

import json
from typing import Final

from bridge.core.network import Host
from bridge.irc.asking import Who
from bridge.irc.kept import Kept
from bridge.irc.mirc import clean
from bridge.irc.wire import Line, fold

__all__ = ["People", "is_same"]

_TABLE: Final = "private-people"
_PEOPLE: Final = 100
"""Who wrote to one member last, and may be answered by their nick."""


class People:
    """Those of all members of one network."""

    def __init__(self, host: Host) -> None:
        self._kept, self._table = Kept(host), host.table(_TABLE)

    def of(self, place: str, nick: str) -> Who | None:
        """Who wrote to a member under a nick; None: nobody."""
        return self._all(place).get(fold(nick))

    def _all(self, place: str) -> dict[str, Who]:
        raw = self._kept.get(self._table, place)
        pairs = [] if raw is None else json.loads(raw)
        return {nick: Who(*known.split(" ", 1)) for nick, known in pairs}

    def remember(self, place: str, line: Line) -> str | None:
        """Somebody wrote. What the member is to know first; None: nothing.

        A nick that is an account stays that, whoever else writes under it.
        """
        people, nick = self._all(place), fold(line.nick)
        now, before = who_of(line), people.get(nick)
        if before == now:
            return None
        warning = None if before is None else _warning(clean(line.nick), before, now)
        if before is not None and warning is not None and before.account:
            return warning
        people.pop(nick, None)
        kept = [*people.items(), (nick, now)][-_PEOPLE:]
        records = [(nick, f"{one.where} {one.account}".rstrip()) for nick, one in kept]
        self._kept.note(self._table, place, json.dumps(records).encode())
        self._kept.keep()
        return warning

    def forget(self, place: str) -> None:
        """All who wrote to one member."""
        self._kept.note(self._table, place, None)
        self._kept.keep()


def who_of(line: Line) -> Who:
    """Who says a line."""
    return Who(f"{line.user}@{line.host}", line.tags.get("account", ""))


def is_same(known: Who, now: Who) -> bool:
    """Whether who has a nick now is who is meant: by account, else by user@host."""
    if known.account:
        return fold(known.account) == fold(now.account)
    return bool(now.where) and known.where == now.where


def _warning(nick: str, before: Who, now: Who) -> str | None:
    if is_same(before, now):
        return None
    if before.account:
        is_now = f"is logged in as {clean(now.account)}" if now.account else "is not logged in"
        return (
            f"{nick}, who writes now, {is_now}, and is not {clean(before.account)}, who wrote "
            f"before. “{nick}: ” still goes to {clean(before.account)} alone; answer this one by a "
            "reply."
        )
    return (
        f"{nick} writes from {clean(now.where)} now, and not from {clean(before.where)} as before: "
        f"it may be somebody else. “{nick}: ” goes to them from now on."
    )
