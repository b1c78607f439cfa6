"""The log of bots and bridges: structlog on standard error, as text for people or as JSON.

Never logged: message text, keys, invites. A traceback is logged without values: neither local
variables nor an error's own words, which may quote what it choked on.
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
    people = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(lambda info: traceback_of(info[1])),
            structlog.processors.JSONRenderer() if form == "json" else people,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # as it is then
        cache_logger_on_first_use=False,
    )


def get_log(name: str, **facts: str) -> Log:
    """An application's logger; each of its lines has `facts`."""
    log: Log = structlog.get_logger(name).bind(**facts)
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
    name = type(error).__qualname__
    yield f"{name}: {error}" if isinstance(error, OfcError) else name
    if isinstance(error, BaseExceptionGroup):
        for number, one in enumerate(error.exceptions, start=1):
            yield f"  {number} of {len(error.exceptions)} in the group:"
            yield from (f"    {line}" for line in _lines(one))
