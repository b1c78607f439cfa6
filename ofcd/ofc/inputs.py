"""What commands without anything to type are given."""

from __future__ import annotations

from typing import Any

import trio

from ofcd.ofc.console import Input

__all__ = ["no_input"]


def no_input() -> Input:
    """Of a command that takes none."""
    send, receive = trio.open_memory_channel[dict[str, Any]](0)
    send.close()
    return receive
