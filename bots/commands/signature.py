"""A command's grammar: what a Python function's parameters mean on a line."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from inspect import Parameter as PyParameter
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from attrs import evolve, frozen

from bots.commands.constraints import Constraint, Length, RestMark
from bots.commands.converters import Converter, Converters, of_choices
from bots.commands.docs import Docs
from bots.commands.errors import BadValue, SignatureError
from bots.commands.words import fold

__all__ = ["Inject", "Injected", "Kind", "Parameter", "Signature", "read_signature"]

Injected = Collection[type] | Callable[[type], bool]
"""The types that are injected: a collection of them, or what decides for one."""


_LISTS: Final[Mapping[Any, Callable[[list[Any]], Any]]] = {list: list, tuple: tuple}


class Inject:
    """Marks one parameter as injected: `store: Annotated[Store, Inject()]`."""


class Kind(Enum):
    """Where a parameter's value stands."""

    POSITIONAL = "positional"
    OPTION = "option"
    FLAG = "flag"
    REST = "rest"


@frozen
class Parameter:
    """One parameter as it is typed."""

    name: str
    """As in Python."""
    kind: Kind
    converter: Converter
    constraints: tuple[Constraint, ...] = ()
    """Of each value."""
    container: Callable[[list[Any]], Any] | None = None
    """What several values are put into; None: there is one value."""
    total: tuple[Length, ...] = ()
    """Of all values together."""
    required: bool = True
    default: Any = None
    help: str = ""

    @property
    def label(self) -> str:
        """How members see its name."""
        return fold(self.name.strip("_"))

    @property
    def choices(self) -> tuple[str, ...]:
        """All that it takes, where that is a list."""
        found = (one.choices for one in self.constraints if one.choices)
        return next(found, self.converter.choices)

    @property
    def usage(self) -> str:
        """How it stands in a usage line: `<dice>`, `[times]`, `[--to prod|test]`, `<text...>`."""
        if self.kind is Kind.FLAG:
            negative = self.default is True
            return f"[--{'no-' if negative else ''}{self.label}]"
        many = "..." if self.container or self.kind is Kind.REST else ""
        if self.kind is Kind.OPTION:
            inner = f"--{self.label} {self._value}{many}"
            return inner if self.required else f"[{inner}]"
        inner = self._value if self._is_short_list else self.label
        return f"<{inner}{many}>" if self.required else f"[{inner}{many}]"

    @property
    def _is_short_list(self) -> bool:
        return 0 < len("|".join(self.choices)) <= 24

    @property
    def _value(self) -> str:
        return (
            "|".join(self.choices) if self._is_short_list else self.converter.noun.replace(" ", "-")
        )


@frozen
class Signature:
    """All parameters of a command."""

    positionals: tuple[Parameter, ...]
    """In the order they are typed; the last may take several values, or the rest."""
    options: Mapping[str, Parameter]
    """By label, flags among them."""
    injected: Mapping[str, Any]
    """Parameters that the bot fills in, with their annotations; None for the context."""
    python: inspect.Signature

    @property
    def parameters(self) -> Iterator[Parameter]:
        """All that are typed."""
        yield from self.positionals
        yield from self.options.values()

    @property
    def usage(self) -> str:
        """What follows the command's name in its usage line."""
        return " ".join(parameter.usage for parameter in self.parameters)


def read_signature(
    function: Callable[..., Any],
    converters: Converters,
    inject: Injected,
    docs: Docs,
    namespace: Mapping[str, Any] | None,
) -> Signature:
    """Make a grammar of a function's parameters.

    Raises:
        SignatureError: A parameter can not be typed on a line, or stands where it can not.
    """
    python = inspect.signature(function)
    hints = _hints(function, namespace)
    injected: dict[str, Any] = {}
    typed: list[Parameter] = []
    for at, parameter in enumerate(python.parameters.values()):
        hint = hints.get(parameter.name, str)
        if _is_context(parameter, at, hints):
            injected[parameter.name] = None
        elif _is_injected(hint, inject):
            injected[parameter.name] = _bare(hint)
        else:
            typed.append(_parameter(parameter, hint, converters, docs))
    _check_labels(typed)
    options = {one.label: one for one in typed if one.kind in (Kind.OPTION, Kind.FLAG)}
    positionals = [one for one in typed if one.label not in options]
    _check_order(positionals)
    return Signature(tuple(positionals), options, injected, python)


def _hints(function: Callable[..., Any], namespace: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        return get_type_hints(function, localns=dict(namespace or {}), include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as wrong:
        raise SignatureError(
            f"{function.__qualname__}: an annotation can not be read ({wrong}): what it names has "
            "to be importable in its module"
        ) from None


def _is_context(parameter: PyParameter, at: int, hints: Mapping[str, Any]) -> bool:
    """The first parameter is the context where it is called so, or is not annotated."""
    return at == 0 and (parameter.name in ("ctx", "context") or parameter.name not in hints)


def _is_injected(hint: Any, inject: Injected) -> bool:
    bare, marks = _unwrap(hint)
    if any(isinstance(mark, Inject) or mark is Inject for mark in marks):
        return True
    if not isinstance(bare, type) or bare in _LISTS:
        return False
    return inject(bare) if callable(inject) else bare in inject


def _bare(hint: Any) -> Any:
    return _unwrap(hint)[0]


def _unwrap(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Take `Annotated` and `| None` off: the type, and what stood beside it."""
    if get_origin(hint) is Annotated:
        bare, marks = _unwrap(get_args(hint)[0])
        return bare, marks + tuple(hint.__metadata__)
    if _is_optional(hint):
        kinds = [kind for kind in get_args(hint) if kind is not types.NoneType]
        return _unwrap(Union[tuple(kinds)])  # noqa: UP007 (there is no `|` over a tuple)
    return hint, ()


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _is_optional(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _is_optional(get_args(hint)[0])
    return _is_union(hint) and types.NoneType in get_args(hint)


def _parameter(python: PyParameter, hint: Any, converters: Converters, docs: Docs) -> Parameter:
    bare, marks = _unwrap(hint)
    made = _typed(python, bare, marks, converters)
    made = evolve(made, help=docs.parameters.get(python.name, ""))
    return _with_default(made, python, optional=_is_optional(hint))


def _typed(python: PyParameter, bare: Any, marks: tuple[Any, ...], known: Converters) -> Parameter:
    name, named = python.name, python.kind is PyParameter.KEYWORD_ONLY
    if python.kind is PyParameter.VAR_KEYWORD:
        raise SignatureError(f"{name}: a command has no **{name}; name its options one by one")
    if any(isinstance(mark, RestMark) for mark in marks):
        return Parameter(name, Kind.REST, known.of(str), _constraints(marks))
    container, each, total = _several(python, bare, marks)
    if container is not None:
        bare, marks = _unwrap(each)
    if bare is bool and named and container is None:
        return Parameter(name, Kind.FLAG, known.of(bool))
    kind = Kind.OPTION if named else Kind.POSITIONAL
    converter = _converter(name, bare, known)
    return Parameter(name, kind, converter, _constraints(marks), container, total)


def _several(
    python: PyParameter, bare: Any, marks: tuple[Any, ...]
) -> tuple[Callable[[list[Any]], Any] | None, Any, tuple[Length, ...]]:
    """Return what holds a parameter's values, the type of each, and what limits them together."""
    if python.kind is PyParameter.VAR_POSITIONAL:
        return tuple, Annotated[(bare, *marks)] if marks else bare, ()
    container = _LISTS.get(get_origin(bare) or bare)
    if container is None:
        return None, bare, ()
    inner = get_args(bare) or (str,)
    if container is tuple and get_args(bare) and (len(inner) != 2 or inner[1] is not Ellipsis):
        raise SignatureError(f"{python.name}: write tuple[X, ...]; others can not be typed")
    total = tuple(one for one in _constraints(marks) if isinstance(one, Length))
    if total != _constraints(marks):
        raise SignatureError(f"{python.name}: only Length limits a list; put others inside it")
    return container, inner[0], total


def _constraints(marks: tuple[Any, ...]) -> tuple[Constraint, ...]:
    return tuple(mark for mark in marks if isinstance(mark, Constraint))


def _converter(name: str, bare: Any, known: Converters) -> Converter:
    try:
        if get_origin(bare) is Literal:
            return of_choices(get_args(bare))
        if _is_union(bare):
            return _first_of([_converter(name, kind, known) for kind in get_args(bare)])
        return known.of(bare)
    except SignatureError as wrong:
        raise SignatureError(f"{name}: {wrong}") from None


def _first_of(converters: list[Converter]) -> Converter:
    def parse(word: str, given: Any) -> Any:
        for converter in converters:
            try:
                return converter.parse(word, given)
            except BadValue:
                continue
        raise BadValue(f"is not a {noun}")

    noun = " or ".join(converter.noun for converter in converters)
    return Converter(parse, noun, max(converter.words for converter in converters))


def _with_default(made: Parameter, python: PyParameter, *, optional: bool) -> Parameter:
    if python.default is not PyParameter.empty:
        return evolve(made, required=False, default=python.default)
    if made.kind is Kind.FLAG:
        return evolve(made, required=False, default=None if optional else False)
    if python.kind is PyParameter.VAR_POSITIONAL:
        return evolve(made, required=False, default=())
    return evolve(made, required=not optional)


def _check_labels(typed: list[Parameter]) -> None:
    labels = [one.label for one in typed]
    for one in typed:
        if not one.label or labels.count(one.label) > 1:
            raise SignatureError(f"{one.name}: as members type it, that name is empty or taken")


def _check_order(positionals: list[Parameter]) -> None:
    for before, after in pairwise(positionals):
        if before.kind is Kind.REST or before.container is not None:
            raise SignatureError(f"{before.name}: takes all that follows, so it has to be the last")
        if after.required and not before.required:
            raise SignatureError(f"{before.name}: may be left out, so what follows has to as well")
