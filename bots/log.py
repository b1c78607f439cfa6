"""The log of bots: see `ofcd.client.applog`."""

from __future__ import annotations

from ofcd.client import applog
from ofcd.client.applog import Log, configure, traceback_of

__all__ = ["Log", "configure", "get_log", "traceback_of"]


def get_log(bot: str) -> Log:
    """A bot's logger."""
    return applog.get_log("bots", bot=bot)
