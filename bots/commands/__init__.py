"""Commands: a Python function's signature is the grammar, its docstring the help.

    async def deploy(ctx, service: Service, *, to: Env = Env.TEST, dry_run: bool = False):
        '''Roll a service out.'''

is typed `!deploy api --to prod --dry-run`. What a parameter is on the line:

- a positional parameter is a word: `str`, `int`, `float`, `bool` (yes, no), an `Enum` or a
  `Literal` (in any case), `timedelta` ("10m", "2 days"), `datetime`, `date`, `time`, `Schedule`
  ("every monday 9am"), or any type with a converter; `X | None` may be left out
- `*args: int`, `list[X]`, `tuple[X, ...]` take all words that follow
- a keyword-only parameter is an option, `--to prod` or `--to=prod`; a `bool` is a flag,
  `--dry-run`, `--no-dry-run`; a list may be given several times. Options stand anywhere before
  the rest of the line; `--` ends them
- `Rest` (`*, text: Rest` or the last positional one) is the rest of the line as written
- `Annotated[int, Range(1, 100)]`, `Length`, `Choice`, `Match` narrow it
- `ctx`, and types that the bot injects, are not typed at all

Pure: time and zone are handed in with `Given`. `Commands.find` never raises for what it reads.
"""

from __future__ import annotations

from bots.commands.command import Command
from bots.commands.constraints import Choice, Constraint, Length, Match, Range, Rest, near_words
from bots.commands.converters import Converter, Converters, Given
from bots.commands.errors import BadValue, Problem, SignatureError, UsageError
from bots.commands.registry import (
    Commands,
    Found,
    Invocation,
    May,
    NotACommand,
    Unknown,
    Usage,
    everybody,
)
from bots.commands.signature import Inject, Injected, Kind, Parameter
from bots.commands.words import quote, shown

__all__ = [
    "BadValue",
    "Choice",
    "Command",
    "Commands",
    "Constraint",
    "Converter",
    "Converters",
    "Found",
    "Given",
    "Inject",
    "Injected",
    "Invocation",
    "Kind",
    "Length",
    "Match",
    "May",
    "NotACommand",
    "Parameter",
    "Problem",
    "Range",
    "Rest",
    "SignatureError",
    "Unknown",
    "Usage",
    "UsageError",
    "everybody",
    "near_words",
    "quote",
    "shown",
]
