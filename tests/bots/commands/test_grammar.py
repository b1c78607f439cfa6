"""From a function's signature to what members may type."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import pytest

from bots.commands import (
    BadValue,
    Choice,
    Command,
    Converters,
    Given,
    Inject,
    Length,
    Match,
    Problem,
    Range,
    Rest,
    SignatureError,
    UsageError,
)
from bots.schedule import At, Every, Once, Schedule, from_wall

BERLIN = ZoneInfo("Europe/Berlin")
NOW = Given(from_wall(date(2026, 3, 4), time(15), BERLIN), BERLIN)  # a Wednesday


class Env(Enum):
    """Where to."""

    STAGING = "staging"
    PROD = "prod"
    HOT_SPARE = 3


class Store:
    """A resource."""


class Service(str):
    """A type of the bot's own."""

    __slots__ = ()


def read(function: Callable[..., Any], line: str, **more: Any) -> dict[str, Any]:
    """The arguments that a line gives."""
    found = Command.from_function(function, **more).parse(line, NOW)
    assert isinstance(found, dict), found
    return found


def refuse(function: Callable[..., Any], line: str, **more: Any) -> UsageError:
    """What is wrong with a line."""
    found = Command.from_function(function, **more).parse(line, NOW)
    assert isinstance(found, UsageError), found
    return found


def one(annotation: Any) -> Callable[..., None]:
    """A function of one parameter of this type."""

    def command(ctx: object, value: Any) -> None:
        """Take it."""

    command.__annotations__["value"] = annotation
    return command


@pytest.mark.parametrize(
    ("annotation", "line", "value"),
    [
        (str, '"two words"', "two words"),
        (int, "-7", -7),
        (float, "1.5e3", 1500.0),
        (float, ".5", 0.5),
        (bool, "Yes", True),
        (bool, "off", False),
        (Env, "PROD", Env.PROD),
        (Env, "hot-spare", Env.HOT_SPARE),
        (Env, "hot_spare", Env.HOT_SPARE),
        (Literal["red", "green", 3], "Red", "red"),
        (Literal["red", "green", 3], "3", 3),
        (int | str, "5", 5),
        (int | str, "five", "five"),
        (int | None, "5", 5),
        (int | None, "", None),
        (list[int], "1 2 3", [1, 2, 3]),
        (tuple[Env, ...], "prod staging", (Env.PROD, Env.STAGING)),
        (list, "a b", ["a", "b"]),
        (timedelta, "1h30", timedelta(minutes=90)),
        (timedelta, "2 days", timedelta(days=2)),
        (timedelta, "1 hour and 5 minutes", timedelta(minutes=65)),
        (datetime, "tomorrow 9am", datetime(2026, 3, 5, 9, tzinfo=BERLIN)),
        (datetime, '"next friday at 18:30"', datetime(2026, 3, 6, 18, 30, tzinfo=BERLIN)),
        (date, "friday", date(2026, 3, 6)),
        (date, "1999-12-31", date(1999, 12, 31)),
        (time, "9:30 pm", time(21, 30)),
        (Schedule, "every 10m", Every("10m", NOW.now_ms)),
        (Schedule, "every monday 9am", At("every monday 9am", "Europe/Berlin")),
        (Once, "in 2 seconds", Once(NOW.now_ms + 2_000)),
        (ZoneInfo, "Asia/Tokyo", ZoneInfo("Asia/Tokyo")),
        (Annotated[int, Range(1, 100)], "100", 100),
        (Annotated[str, Length(2, 3)], "abc", "abc"),
        (Annotated[str, Choice("Tea", "coffee")], "tea", "Tea"),
        (Annotated[str, Match(r"\d+d\d+")], "2d6", "2d6"),
        (Annotated[list[int], Length(2)], "1 2", [1, 2]),
        (list[Annotated[int, Range(1, 6)]], "1 6", [1, 6]),
        (Rest, ' it\'s "all" --of  it ', 'it\'s "all" --of  it'),
        (Rest | None, "", None),
        (Annotated[Rest, Length(1, 3)], "abc", "abc"),
    ],
)
def test_a_type_reads_its_words(annotation: Any, line: str, value: object) -> None:
    """Each kind of annotation takes what people would type for it."""
    found = read(one(annotation), line)["value"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("annotation", "line", "says"),
    [
        (int, "x", "is not a whole number"),
        (int, "1_0", "is not a whole number"),
        (int, "\u0663", "is not a whole number"),
        (int, "9" * 5_000, "is not a whole number"),
        (float, "nan", "is not a number"),
        (float, "1e999", "is not a number"),
        (bool, "maybe", "neither yes nor no"),
        (Env, "prd", "did you mean prod?"),
        (Literal["red"], "rad", "did you mean red?"),
        (int | float, "x", "is not a whole number or number"),
        (timedelta, "soon", "length of time"),
        (datetime, "yesterday", "is not a time"),
        (datetime, '"today 9am"', "is past"),
        (date, "2026-02-30", "is not a day"),
        (time, "25:00", "time of day"),
        (ZoneInfo, "Mars/Olympus", "time zone"),
        (Annotated[int, Range(1, 100)], "101", "is not 1 to 100"),
        (Annotated[int, Range(least=1)], "0", "is not at least 1"),
        (Annotated[int, Range(most=9)], "10", "is not at most 9"),
        (Annotated[str, Length(2, 3)], "abcd", "is not 2 to 3 long"),
        (Annotated[str, Choice("tea", "coffee")], "te", "did you mean tea?"),
        (Annotated[str, Match(r"\d+d\d+", "such as 2d6")], "x", "is not such as 2d6"),
        (Annotated[list[int], Length(2, 3)], "1", "1 given, and it takes 2 to 3"),
        (list[Annotated[int, Range(1, 6)]], "1 7", "is not 1 to 6"),
    ],
)
def test_a_type_refuses_the_rest(annotation: Any, line: str, says: str) -> None:
    """A word that does not fit is answered by what would."""
    wrong = refuse(one(annotation), line)
    assert wrong.problem is Problem.BAD_VALUE
    assert wrong.parameter == "value"
    assert says in wrong.sentence


async def deploy(
    ctx: object,
    service: str,
    times: int = 1,
    *,
    to: Env = Env.STAGING,
    dry_run: bool = False,
    wait: timedelta | None = None,
    tag: tuple[str, ...] = (),
) -> None:
    """Roll out."""


DEFAULTS = {"times": 1, "to": Env.STAGING, "dry_run": False, "wait": None, "tag": ()}


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("api", {}),
        ("api 3", {"times": 3}),
        ("--to prod api", {"to": Env.PROD}),
        ("api --to=prod --dry-run", {"to": Env.PROD, "dry_run": True}),
        ("api --TO prod --Dry_Run", {"to": Env.PROD, "dry_run": True}),
        ("api --no-dry-run", {}),
        ("api --dry-run=no", {}),
        ("api --wait 2 days 3", {"wait": timedelta(days=2), "times": 3}),
        ("api --tag a --tag 'b c'", {"tag": ("a", "b c")}),
        ("api \u2014dry-run \u2013to prod", {"to": Env.PROD, "dry_run": True}),
        ("-- api", {}),
    ],
)
def test_options(line: str, changed: dict[str, object]) -> None:
    """Keyword-only parameters are options, in any order, case and dash."""
    assert read(deploy, line) == {"service": "api"} | DEFAULTS | changed


@pytest.mark.parametrize(
    ("line", "problem", "says"),
    [
        ("", Problem.MISSING, "service is missing"),
        ("api --to", Problem.MISSING, "--to needs a value"),
        ("api --to --dry-run", Problem.MISSING, "--to needs a value"),
        ("api 1 more", Problem.TOO_MANY, '"more" is one word too many'),
        ("api --dry-rum", Problem.UNKNOWN_OPTION, "did you mean --dry-run?"),
        ("api --no-to", Problem.UNKNOWN_OPTION, 'no option "--no-to"'),
        ("api --to prod --to prod", Problem.REPEATED_OPTION, "--to is there twice"),
        ('"api', Problem.UNCLOSED_QUOTE, "quote"),
        ("x" * 20_000, Problem.TOO_LONG, "too long"),
    ],
)
def test_wrong_calls(line: str, problem: Problem, says: str) -> None:
    """Each way to be wrong has its own word and a sentence that helps."""
    wrong = refuse(deploy, line)
    assert wrong.problem is problem
    assert says in wrong.sentence


def test_too_many_words_of_a_list() -> None:
    """A list does not grow without bound."""
    assert refuse(one(list[str]), "a " * 101).problem is Problem.TOO_LONG


def test_options_stand_before_the_rest_and_not_in_it() -> None:
    """`--loud` before the text is an option, in the text it is text; and so is an unknown one."""

    def say(ctx: object, *, text: Rest, loud: bool = False) -> None:
        """Say it."""

    assert read(say, "--loud a --loud") == {"text": "a --loud", "loud": True}
    assert read(say, "--quiet please") == {"text": "--quiet please", "loud": False}
    assert read(say, "-- --loud") == {"text": "--loud", "loud": False}
    assert read(say, "\"it's") == {"text": "\"it's", "loud": False}
    assert refuse(say, "--loud").problem is Problem.MISSING


def test_without_options_two_dashes_are_a_word() -> None:
    """Where a command has no options, nothing is taken for one."""
    assert read(one(str), "--hello") == {"value": "--hello"}


def test_a_number_below_zero_is_no_option() -> None:
    """One dash is a sign."""

    def add(ctx: object, *numbers: int, twice: bool = False) -> None:
        """Add."""

    assert read(add, "-1 -2 --twice") == {"numbers": (-1, -2), "twice": True}
    assert read(add, "") == {"numbers": (), "twice": False}


def test_what_the_bot_fills_in_is_not_typed() -> None:
    """The context, given types, and what is marked are left out, and bound by name."""

    def handler(
        ctx: object, store: Store, n: int, mine: Annotated[Service, Inject()], *rest: str
    ) -> tuple[object, ...]:
        return (ctx, store, n, mine, rest)

    command = Command.from_function(handler, inject=[Store])
    assert dict(command.injected) == {"ctx": None, "store": Store, "mine": Service}
    values = command.parse("5 a b", NOW)
    assert isinstance(values, dict)
    store = Store()
    bound = command.bind(values, {"ctx": "c", "store": store, "mine": "m"})
    assert handler(*bound.args, **bound.kwargs) == ("c", store, 5, "m", ("a", "b"))
    with pytest.raises(SignatureError, match="nothing was injected for store"):
        command.bind(values, {"ctx": "c"})


def test_a_predicate_may_decide_what_is_injected() -> None:
    """A bot can inject every type that no converter knows."""
    known = Converters()

    def handler(ctx, store: Store, day: date, names: list[str]) -> None:  # type: ignore[no-untyped-def]
        """Do."""

    command = Command.from_function(handler, inject=lambda kind: not known.knows(kind))
    assert dict(command.injected) == {"ctx": None, "store": Store}


def test_converters_of_a_bots_own() -> None:
    """A converter reads a type with what the bot knows, and its reason is shown."""
    converters = Converters()

    def find(word: str, given: Given) -> Service:
        if word not in given.get(dict):
            raise BadValue("is not a service we run", ("api",))
        return Service(word)

    converters.add(Service, find, noun="service")
    command = Command.from_function(one(Service), converters=converters)
    given = Given(0, known={dict: {"api": 1}})
    assert command.parse("api", given) == {"value": Service("api")}
    wrong = command.parse("apo", given)
    assert isinstance(wrong, UsageError)
    assert wrong.sentence == 'value: "apo" is not a service we run (did you mean api?)'
    assert wrong.near == ("api",)


def test_a_wrong_call_does_not_reach_logs() -> None:
    """What a member typed is in no `repr`: only in the sentence that answers them."""
    assert "secret" not in repr(refuse(one(int), "secret"))


def _no_converter(ctx: object, store: Store) -> None: ...
def _kwargs(ctx: object, **options: str) -> None: ...
def _after_many(ctx: object, many: list[int], n: int) -> None: ...
def _after_rest(ctx: object, text: Rest, n: int) -> None: ...
def _two_rests(ctx: object, one: Rest, *, two: Rest) -> None: ...
def _optional_first(ctx: object, a: int | None, b: int) -> None: ...
def _pair(ctx: object, pair: tuple[int, str]) -> None: ...
def _range_of_list(ctx: object, n: Annotated[list[int], Range(1, 2)]) -> None: ...
def _literal(ctx: object, n: Literal[True]) -> None: ...
def _same_label(ctx: object, to: str, *, to_: str) -> None: ...
def _unreadable(ctx: object, n: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (_no_converter, "no converter for Store"),
        (_kwargs, r"no \*\*options"),
        (_after_many, "has to be the last"),
        (_after_rest, "has to be the last"),
        (_two_rests, "has to be the last"),
        (_optional_first, "may be left out"),
        (_pair, "others can not be typed"),
        (_range_of_list, "only Length"),
        (_literal, "texts and whole numbers"),
        (_same_label, "empty or taken"),
        (_unreadable, "can not be read"),
    ],
)
def test_functions_that_can_not_be_commands(function: Callable[..., Any], says: str) -> None:
    """An author hears of a mistake when the bot is made, by the parameter's name."""
    with pytest.raises(SignatureError, match=says):
        Command.from_function(function)


def test_annotations_of_a_local_scope_need_its_names() -> None:
    """A type that is local to a function is found through `namespace`."""

    class Local(Enum):
        A = "a"

    def handler(ctx: object, value: Local) -> None: ...

    with pytest.raises(SignatureError):
        Command.from_function(handler)
    assert read(handler, "a", namespace=locals()) == {"value": Local.A}


@pytest.mark.parametrize("name", ["", "two words", "!roll", "-x", "x" * 40, "a\n"])
def test_names_that_can_not_be_typed(name: str) -> None:
    """A name is one word that begins with a letter or digit."""
    with pytest.raises(SignatureError, match="name"):
        Command.from_function(one(int), name)
