"""From the words behind a command's name to its function's arguments."""

from __future__ import annotations

from typing import Any

from bots.commands.constraints import near_words
from bots.commands.converters import Given
from bots.commands.errors import BadValue, Problem, UsageError
from bots.commands.signature import Kind, Parameter, Signature
from bots.commands.words import DASHES, BadLine, TooManyWords, Word, Words, fold, shown
from ofcd.errors import OfcError

__all__ = ["MAX_LINE", "parse_line"]

MAX_LINE = 16_000
"""Characters of a line that are read; a longer one is refused."""


class _Wrong(OfcError):
    """Carries a `UsageError` up to `parse_line`."""

    def __init__(
        self,
        problem: Problem,
        sentence: str,
        parameter: Parameter | None = None,
        near: tuple[str, ...] = (),
    ) -> None:
        super().__init__(problem)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        name = parameter.name if parameter else None
        self.error = UsageError(problem, sentence + hint, name, near)


def parse_line(signature: Signature, line: str, given: Given) -> dict[str, Any] | UsageError:
    """Return a value for every parameter that is typed, or what is wrong with the line.

    Never raises for what stands on the line; what a converter raises other than `BadValue` is
    its own mistake and goes through.
    """
    if len(line) > MAX_LINE:
        return UsageError(Problem.TOO_LONG, "That is too long")
    try:
        return _Reader(signature, line, given).read()
    except _Wrong as wrong:
        return wrong.error
    except BadLine:
        return UsageError(Problem.UNCLOSED_QUOTE, "A quote is opened but not closed")
    except TooManyWords:
        return UsageError(Problem.TOO_LONG, "Those are too many words")


class _Reader:
    """Reads one line."""

    def __init__(self, signature: Signature, line: str, given: Given) -> None:
        self._signature = signature
        self._words = Words(line)
        self._given = given
        self._found: dict[str, list[Any]] = {}
        self._waiting = list(signature.positionals)
        self._options_end = not signature.options

    def read(self) -> dict[str, Any]:
        while True:
            if self._waiting_for_rest and not self._rest_begins_with_option():
                self._read_rest()
            elif (word := self._words.peek()) is not None:
                self._read_word(word)
            else:
                break
        return {one.name: self._value(one) for one in self._signature.parameters}

    def _read_word(self, word: Word) -> None:
        if word.text == "--" and not word.quoted and not self._options_end:
            self._words.take(word)
            self._options_end = True
        elif word.is_option and not self._options_end:
            self._read_option(word)
        else:
            self._read_positional(word)

    # ------------------------------------------------------------ in order

    @property
    def _waiting_for_rest(self) -> bool:
        return bool(self._waiting) and self._waiting[0].kind is Kind.REST

    def _rest_begins_with_option(self) -> bool:
        """An option may stand before the rest of the line, and nowhere in it."""
        if self._options_end:
            return False
        try:
            word = self._words.peek()
        except BadLine:
            return False
        if word is None or word.quoted:
            return False
        return word.text == "--" or (word.is_option and self._option(word) is not None)

    def _read_rest(self) -> None:
        parameter = self._waiting.pop(0)
        if rest := self._words.rest():
            self._found[parameter.name] = [self._convert(parameter, rest)]

    def _read_positional(self, word: Word) -> None:
        if not self._waiting:
            raise _Wrong(Problem.TOO_MANY, f"{shown(word.text)} is one word too many")
        parameter = self._waiting[0]
        self._found.setdefault(parameter.name, []).append(self._read_value(parameter))
        if parameter.container is None:
            self._waiting.pop(0)

    # ------------------------------------------------------------ by name

    def _read_option(self, word: Word) -> None:
        found = self._option(word)
        if found is None:
            raise self._unknown_option(word)
        parameter, negated = found
        _, has_value, value = word.text.partition("=")
        self._words.take(word)
        if parameter.name in self._found and parameter.container is None:
            raise _Wrong(Problem.REPEATED_OPTION, f"--{parameter.label} is there twice", parameter)
        if has_value:
            read = self._convert(parameter, value)
        elif parameter.kind is Kind.FLAG:
            read = True
        else:
            read = self._read_option_value(parameter)
        read = not read if negated else read
        self._found.setdefault(parameter.name, []).append(read)

    def _read_option_value(self, parameter: Parameter) -> Any:
        word = self._words.peek()
        if word is None or word.is_option:
            sentence = f"--{parameter.label} needs a value"
            raise _Wrong(Problem.MISSING, sentence, parameter)
        return self._read_value(parameter)

    def _option(self, word: Word) -> tuple[Parameter, bool] | None:
        """Return the option that `word` names, and whether it says no to it."""
        label = _label(word)
        if found := self._signature.options.get(label):
            return found, False
        found = self._signature.options.get(label.removeprefix("no-"))
        if found is None or found.kind is not Kind.FLAG:
            return None
        return found, True

    def _unknown_option(self, word: Word) -> _Wrong:
        near = near_words(_label(word), tuple(self._signature.options), 1)
        sentence = f"There is no option {shown(word.text.partition('=')[0])}"
        return _Wrong(Problem.UNKNOWN_OPTION, sentence, near=tuple(f"--{label}" for label in near))

    # ------------------------------------------------------------ values

    def _read_value(self, parameter: Parameter) -> Any:
        """Read a value of one word, or of as many as its converter understands together."""
        words = self._words.ahead(parameter.converter.words)
        for count in range(len(words), 1, -1):
            try:
                value = self._check(parameter, " ".join(word.text for word in words[:count]))
            except BadValue:
                continue
            for word in words[:count]:
                self._words.take(word)
            return value
        self._words.take(words[0])
        return self._convert(parameter, words[0].text)

    def _convert(self, parameter: Parameter, text: str) -> Any:
        try:
            return self._check(parameter, text)
        except BadValue as wrong:
            sentence = f"{parameter.label}: {shown(text)} {wrong.reason}"
            raise _Wrong(Problem.BAD_VALUE, sentence, parameter, wrong.near) from None

    def _check(self, parameter: Parameter, text: str) -> Any:
        value = parameter.converter.parse(text, self._given)
        for constraint in parameter.constraints:
            value = constraint.check(value)
        return value

    def _value(self, parameter: Parameter) -> Any:
        values = self._found.get(parameter.name)
        if values is None:
            if parameter.required:
                raise _Wrong(Problem.MISSING, f"{_subject(parameter)} is missing", parameter)
            return parameter.default
        if parameter.container is None:
            return values[0]
        _check_total(parameter, values)
        return parameter.container(values)


def _check_total(parameter: Parameter, values: list[Any]) -> None:
    for constraint in parameter.total:
        try:
            constraint.check(values)
        except BadValue:
            sentence = f"{parameter.label}: {len(values)} given, and it takes {constraint.bounds}"
            raise _Wrong(Problem.BAD_VALUE, sentence, parameter) from None


def _subject(parameter: Parameter) -> str:
    return f"--{parameter.label}" if parameter.kind is Kind.OPTION else parameter.label


def _label(word: Word) -> str:
    name = word.text.partition("=")[0]
    for dash in DASHES:
        name = name.removeprefix(dash)
    return fold(name)
