"""The onion around every handler: each layer calls the next, or does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bots.context import Context

__all__ = ["Middleware", "Next", "wrap"]

Next = Callable[["Context"], Awaitable[None]]
"""What a middleware calls to run the layers below it, and in the end the handler."""
Middleware = Callable[["Context", Next], Awaitable[None]]


def wrap(layers: Sequence[Middleware], core: Next) -> Next:
    """`core` inside `layers`, the first of which is outermost."""
    call = core
    for layer in reversed(layers):
        call = _around(layer, call)
    return call


def _around(layer: Middleware, inner: Next) -> Next:
    async def call(ctx: Context) -> None:
        await layer(ctx, inner)

    return call
