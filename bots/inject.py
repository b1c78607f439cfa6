"""Resources by type: made once when the bot starts, handed to whoever names their type."""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
)
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast, get_args, get_origin

from attrs import frozen

from bots.errors import SetupError

__all__ = ["Factory", "Resources", "factory_of", "hints_of", "injected"]


@frozen
class Factory:
    """How a resource is made; with what it needs, by parameter."""

    kind: type
    make: Callable[..., Any]
    needs: Mapping[str, type]


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function's parameters and of its result (as `return`)."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError as error:
        raise SetupError(
            f"an annotation of {function.__qualname__} can not be read ({error}): "
            "what it names has to be importable in its module"
        ) from None
    hints = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    hints["return"] = signature.return_annotation
    return hints


def injected(function: Callable[..., Any], known: Collection[type]) -> dict[str, type]:
    """The parameters of a handler that are handed over by their type, and what that is."""
    hints = hints_of(function)
    del hints["return"]
    return {name: hint for name, hint in hints.items() if isinstance(hint, type) and hint in known}


def factory_of(function: Callable[..., Any]) -> Factory:
    """A resource's factory, from its annotations; raises `SetupError`."""
    hints = hints_of(function)
    made = hints.pop("return")
    if inspect.isasyncgenfunction(function):
        if get_origin(made) not in (AsyncIterator, AsyncGenerator):
            raise SetupError(f"{function.__name__}: say what it makes, as -> AsyncIterator[Store]")
        made = get_args(made)[0]
    if not isinstance(made, type):
        raise SetupError(f"{function.__name__}: say what it makes, as -> Store")
    for name, hint in hints.items():
        if not isinstance(hint, type):
            raise SetupError(f"{function.__name__}: annotate {name!r} with the resource it needs")
    return Factory(made, function, hints)


class Resources:
    """The resources of one run of a bot: made in the order of their needs, ended in reverse."""

    def __init__(self, factories: Mapping[type, Factory], given: Mapping[type, object]) -> None:
        """`given` are values that need no making: the bot itself, and overrides of tests."""
        self._factories = factories
        self._values: dict[type, object] = dict(given)
        self._making: list[type] = []
        self._stack = AsyncExitStack()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Resources]:
        """All of them, made."""
        async with self._stack:
            for kind in self._factories:
                await self._make(kind)
            yield self

    def get(self, kind: type) -> object:
        """The resource of a type; KeyError where there is none."""
        return self._values[kind]

    def __contains__(self, kind: type) -> bool:
        return kind in self._values

    async def _make(self, kind: type) -> object:
        if kind in self._values:
            return self._values[kind]
        if kind in self._making or kind not in self._factories:
            chain = " needs ".join(one.__name__ for one in [*self._making, kind])
            raise SetupError(f"resources can not be made: {chain}, which is not to be had")
        factory = self._factories[kind]
        self._making.append(kind)
        needs = {name: await self._make(wanted) for name, wanted in factory.needs.items()}
        self._values[kind] = value = await self._call(factory, needs)
        self._making.pop()
        return value

    async def _call(self, factory: Factory, needs: Mapping[str, object]) -> object:
        if inspect.isasyncgenfunction(factory.make):
            manager = asynccontextmanager(factory.make)
            return await self._stack.enter_async_context(manager(**needs))
        made = factory.make(**needs)
        return await cast("Awaitable[object]", made) if inspect.isawaitable(made) else made
