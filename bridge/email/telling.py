"""Notices of which anybody can cause as many as they like: told once an hour each."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from bridge.core.network import Host
from bridge.email.schedule import HOUR_MS
from ofcd.client import VaultUnwritable

__all__ = ["Hourly"]

_REMEMBERED: Final = 1000
"""Things told; those told first are forgotten first."""


class Hourly:
    """Whoever tells rooms and operator of what strangers do, for one network."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._told: OrderedDict[tuple[str, str], int] = OrderedDict()

    def notice(self, place: str, what: str, text: str) -> None:
        """Tell a place's rooms, unless they were told of the same thing within the hour."""
        if self._is_new(place, what):
            self._host.notice(place, text)

    def operator(self, what: str, text: str, **facts: Any) -> None:
        """Tell who runs the bridge, unless they were within the hour."""
        if self._is_new("", what):
            self._host.operator(text, **facts)

    def disk(self, error: VaultUnwritable) -> None:
        """The disk takes nothing: whoever needed it waits, and tries again once there is space."""
        self.operator("disk", "the disk takes nothing: mail waits", why=str(error))

    def _is_new(self, place: str, what: str) -> bool:
        now, key = self._host.now(), (place, what)
        if now - self._told.get(key, -HOUR_MS) < HOUR_MS:
            return False
        self._told.pop(key, None)
        self._told[key] = now
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return True
