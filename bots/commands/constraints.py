"""What narrows a parameter: `Annotated[int, Range(1, 100)]`, and `Rest` for the rest of a line.

Each is a value whose `check` returns what the handler gets, or raises `BadValue`.
"""

from __future__ import annotations

import difflib
import re
from abc import ABC, abstractmethod
from typing import Annotated, Any, Final

from attrs import field, frozen

from bots.commands.errors import BadValue

__all__ = ["Choice", "Constraint", "Length", "Match", "Range", "Rest", "RestMark", "near_words"]


class Constraint(ABC):
    """Base of what may stand in `Annotated` beside a type; bots may add their own."""

    @abstractmethod
    def check(self, value: Any) -> Any:
        """Return `value`, or what it stands for.

        Raises:
            BadValue: It is out of bounds.
        """

    @property
    def hint(self) -> str:
        """How help describes it: a few words, or none."""
        return ""

    @property
    def choices(self) -> tuple[str, ...]:
        """All that is allowed, where that is a short list."""
        return ()


@frozen
class Range(Constraint):
    """From `least` to `most`, both included; None leaves a side open."""

    least: Any = None
    most: Any = None

    def check(self, value: Any) -> Any:
        """Compare; the value has to be of a kind with the bounds."""
        too_small = self.least is not None and value < self.least
        if too_small or (self.most is not None and value > self.most):
            raise BadValue(f"is not {self.hint}")
        return value

    @property
    def hint(self) -> str:
        """The bounds, in words."""
        if self.least is None:
            return f"at most {self.most}"
        return f"at least {self.least}" if self.most is None else f"{self.least} to {self.most}"


@frozen
class Length(Constraint):
    """A text of `least` to `most` characters; or, on a list, so many values."""

    least: int = 0
    most: int | None = None

    def check(self, value: Any) -> Any:
        """Measure its `len`."""
        if len(value) < self.least or (self.most is not None and len(value) > self.most):
            raise BadValue(f"is not {self.hint}")
        return value

    @property
    def hint(self) -> str:
        """The bounds, in words."""
        return f"{self.bounds} long"

    @property
    def bounds(self) -> str:
        """How many: "1 to 5", "2 or more"."""
        return f"{self.least}{' or more' if self.most is None else f' to {self.most}'}"


class Choice(Constraint):
    """One of these texts, in any case; the handler gets it as written here."""

    def __init__(self, *choices: str) -> None:
        self._choices: Final = {choice.casefold(): choice for choice in choices}

    def check(self, value: Any) -> Any:
        """Look it up."""
        try:
            return self._choices[value.casefold()]
        except KeyError:
            raise BadValue(_one_of(self.choices), near_words(value, self.choices)) from None

    @property
    def choices(self) -> tuple[str, ...]:
        """As given."""
        return tuple(self._choices.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and other.choices == self.choices

    def __hash__(self) -> int:
        return hash(self.choices)


def _one_of(choices: tuple[str, ...]) -> str:
    return f"is not one of {', '.join(choices[:12])}{' ...' if len(choices) > 12 else ''}"


def _compiled(pattern: str | re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(pattern)


@frozen
class Match(Constraint):
    r"""A text that a regular expression matches as a whole: `Match(r"\d+d\d+", "such as 2d6")`.

    The text comes from a stranger: write an expression that does not backtrack without end.
    """

    pattern: re.Pattern[str] = field(converter=_compiled)
    example: str = ""

    def check(self, value: Any) -> Any:
        """Match."""
        if not self.pattern.fullmatch(value):
            raise BadValue(f"is not {self.example}" if self.example else "does not fit")
        return value

    @property
    def hint(self) -> str:
        """The example."""
        return self.example


class RestMark:
    """Marks `Rest`."""


Rest = Annotated[str, RestMark()]
"""The rest of the line as it was written, quotes and all: a `str` to the handler."""


def near_words(word: str, known: tuple[str, ...], most: int = 3) -> tuple[str, ...]:
    """Return those of `known` that `word` may be a slip of, best first."""
    folded = {name.casefold(): name for name in reversed(known)}
    close = difflib.get_close_matches(word.casefold()[:64], folded, n=most, cutoff=0.6)
    return tuple(folded[name] for name in close)
