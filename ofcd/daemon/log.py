"""The log: structlog on standard error, as text for people or JSON for machines.

Never logged: message text, keys, tokens, invites, frames. Ids of rooms and members only at debug.
So a traceback is logged without values: no local variables, and of an error that is not ours no
message either, which may quote what it choked on.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Literal

import structlog

from ofcd.errors import OfcError

__all__ = ["Log", "configure", "get_log", "traceback_of"]

Log = structlog.stdlib.BoundLogger


def configure(level: str, form: Literal["text", "json"]) -> None:
    """Set up the process's log once."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(lambda info: traceback_of(info[1])),
            structlog.processors.JSONRenderer() if form == "json" else _for_people(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _for_people() -> structlog.typing.Processor:
    # Its own way with exceptions (rich) would print local variables; ours has rendered them.
    plain = structlog.dev.plain_traceback
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)


def get_log() -> Log:
    """The daemon's logger."""
    log: Log = structlog.get_logger("ofcd")
    return log


def traceback_of(error: BaseException) -> str:
    """Where an error came from, with its causes and its group's errors, and no value of any."""
    return "\n".join(_lines(error))


def _lines(error: BaseException) -> Iterator[str]:
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None:
        yield from _lines(earlier)
        yield "which led to:"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
    yield _name(error)
    if isinstance(error, BaseExceptionGroup):
        for number, one in enumerate(error.exceptions, start=1):
            yield f"  {number} of {len(error.exceptions)} in the group:"
            yield from (f"    {line}" for line in _lines(one))


def _name(error: BaseException) -> str:
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    if isinstance(error, OfcError):  # whose sentences hold no secrets
        return f"{name}: {error}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}" + (f": {error.filename}" if error.filename else "")
    return name
