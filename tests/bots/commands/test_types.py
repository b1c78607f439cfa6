"""Decorators keep the signature of what they decorate. mypy proves it: `make types`.

`assert_type` does nothing at run time; an `ignore` that mypy finds needless is an error to it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, assert_type

from bots.commands import Commands, Given, Invocation, NotACommand, Rest, Unknown, Usage

commands = Commands()


@commands.command
def bare(ctx: object, n: int) -> str:
    """Count."""
    return str(n)


@commands.command("named", aliases=["n"], group="some")
async def named(ctx: object, *, text: Rest) -> int:
    """Measure."""
    return len(text)


def test_a_command_stays_the_function_it_was() -> None:
    """It is called as written: arguments and result keep their types."""
    assert_type(bare(None, 3), str)
    unchanged: Callable[[object, int], str] = bare
    assert unchanged(None, 3) == "3"
    kept: Callable[..., Coroutine[Any, Any, int]] = named
    assert kept is named


async def test_an_async_command_stays_one() -> None:
    """Awaiting it gives what it returns."""
    assert_type(await named(None, text="a plain str will do"), int)


def test_what_mypy_refuses() -> None:
    """A wrong call of a command is a type error."""
    assert bare(None, "x") == "x"  # type: ignore[arg-type]


def test_the_answers_are_a_closed_union() -> None:
    """A `match` over the four answers is complete."""
    found = commands.find("hello", given=Given(0))
    assert_type(found, Invocation | NotACommand | Unknown | Usage)
    assert isinstance(found, NotACommand)
