"""A timer that is due while its bot is away runs before what was said meanwhile; this waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bots import Context, Tick

__all__ = ["key_of", "waits"]

_STEP: Final = 2_000
_LONGEST: Final = 60_000
_MOST: Final = 500
"""How often a timer is put off: for about eight hours; then it goes by what is known."""


def key_of(tick: Tick) -> str:
    """The payload that the timer was first set with (one word)."""
    return tick.payload.partition(" ")[0]


def waits(ctx: Context, timer: Callable[..., object], tick: Tick) -> bool:
    """Whether the timer was put off, since there is still something to be handled before it."""
    tries = int(tick.payload.partition(" ")[2] or 0)
    if ctx.is_caught_up or tries >= _MOST:
        return False
    pause = min(_STEP * (tries + 1), _LONGEST)
    ctx.once(timer, ctx.now + pause, f"{key_of(tick)} {tries + 1}")
    return True
