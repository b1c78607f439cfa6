"""Finding the command that a message calls, and help about them."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.commands import (
    Command,
    Commands,
    Given,
    Invocation,
    NotACommand,
    Range,
    Rest,
    SignatureError,
    Unknown,
    Usage,
    quote,
)
from bots.schedule import Schedule

NOW = Given(1_772_632_800_000)

commands = Commands()


@commands.command(aliases=["r"])
def roll(ctx: object, dice: str, times: Annotated[int, Range(1, 9)] = 1) -> str:
    """Roll dice.

    All of them are fair.

    Args:
        dice: What to roll, such as 2d6.
        times: How often,
            one after the other.

    Returns:
        For programmers only.
    """
    return f"{dice} x {times} for {ctx}"


@commands.command("add", group="remind", aliases=["new"])
def remind_add(ctx: object, when: Schedule, *, text: Rest) -> None:
    """Remind the room."""


@commands.command("list", group="remind")
def remind_list(ctx: object) -> None:
    """List reminders."""


@commands.command(group="remind")
def drop(ctx: object, which: Literal["all", "last"], *, force: bool = False) -> None:
    """Drop reminders."""


@commands.command
def note(ctx: object, *, text: Rest) -> None:
    """Note it."""


@commands.command("list", group="note")
def note_list(ctx: object) -> None:
    """List notes."""


@commands.command(hidden=True)
def secret_door(ctx: object) -> None:
    """Open it."""


commands.describe_group("remind", "Reminders for this room.")


def ops_only(command: Command) -> bool:
    """A member who may not drop reminders."""
    return command.name != "remind drop"


def called(text: str) -> tuple[str, dict[str, object]]:
    """The command and arguments of a right call."""
    found = commands.find(text, "!", ["dicebot"], given=NOW)
    assert isinstance(found, Invocation), found
    return found.command.name, dict(found.arguments)


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("!roll 2d6", "roll", {"dice": "2d6", "times": 1}),
        ("!ROLL 2d6", "roll", {"dice": "2d6", "times": 1}),
        ("!r 2d6 3", "roll", {"dice": "2d6", "times": 3}),
        ("!roll\n2d6", "roll", {"dice": "2d6", "times": 1}),
        ("@dicebot roll 2d6", "roll", {"dice": "2d6", "times": 1}),
        ("@DiceBot: roll 2d6", "roll", {"dice": "2d6", "times": 1}),
        ("dicebot, !roll 2d6", "roll", {"dice": "2d6", "times": 1}),
        ("!remind list", "remind list", {}),
        ("!remind drop last --force", "remind drop", {"which": "last", "force": True}),
        ("!note list", "note list", {}),
        ("!note lists are fun", "note", {"text": "lists are fun"}),
        ("!secret-door", "secret-door", {}),
        ("!secret_door", "secret-door", {}),
    ],
)
def test_calls(text: str, name: str, arguments: dict[str, object]) -> None:
    """Prefix, mention, alias, case and groups all lead to the command."""
    assert called(text) == (name, arguments)


@pytest.mark.parametrize(
    "text", ["", "hello", "!", "!!!", "! roll", "?!roll", "dicebot", "dicebots: x"]
)
def test_talk_is_not_a_command(text: str) -> None:
    """What merely looks a bit like a call is left alone."""
    assert commands.find(text, "!", ["dicebot"], given=NOW) == NotACommand()


def test_the_bots_bare_name_is_an_address() -> None:
    """`@dicebot` alone calls nothing, but the bot may well answer."""
    found = commands.find("@dicebot ", "!", ["dicebot"], given=NOW)
    assert found == NotACommand(addressed=True)


@pytest.mark.parametrize(
    ("prefix", "text", "is_call"),
    [
        ("", "roll 2d6", True),
        ("dice", "dice roll 2d6", True),
        ("dice", "diceroll 2d6", False),
        (("!", "!!"), "!!roll 2d6", True),
        ((), "!roll 2d6", False),
        ("/", "!roll 2d6", False),
    ],
)
def test_prefixes(prefix: str | tuple[str, ...], text: str, is_call: bool) -> None:
    """A room's prefix may be a sign, a word, one of several, or nothing at all."""
    assert isinstance(commands.find(text, prefix, given=NOW), Invocation) is is_call


@pytest.mark.parametrize(
    ("text", "suggestions"),
    [
        ("!rol", ("roll",)),
        ("!remind ad 5m tea", ("remind add",)),
        ("!remind nwe", ("remind add",)),
        ("!remnd add 5m tea", ("remind",)),
        ("!remind drip", ("remind drop",)),
        ("!secret-dor", ()),
        ("!xyzzy", ()),
    ],
)
def test_slips_are_understood(text: str, suggestions: tuple[str, ...]) -> None:
    """An unknown name suggests those it is near to, and no hidden one."""
    found = commands.find(text, "!", given=NOW)
    assert isinstance(found, Unknown)
    assert found.suggestions == suggestions
    assert "\n" not in found.text


def test_suggestions_keep_to_rights() -> None:
    """Who may not use a command does not hear of it."""
    found = commands.find("!remind drip", "!", given=NOW, may=ops_only)
    assert isinstance(found, Unknown)
    assert "drop" not in found.text


def test_wrong_use_is_one_line_with_usage() -> None:
    """The answer says what was wrong and how it is done, in one line."""
    found = commands.find("!roll 2d6 ten", "!", given=NOW)
    assert isinstance(found, Usage)
    assert found.text == 'times: "ten" is not a whole number. Usage: !roll <dice> [times]'


def test_a_group_alone_names_its_subcommands() -> None:
    """`!remind` says what may follow, as far as the caller may use it."""
    found = commands.find("!remind", "!", given=NOW, may=ops_only)
    assert isinstance(found, Usage)
    assert found.text == "remind needs a subcommand. Usage: !remind add|list"


def test_a_call_runs_its_function() -> None:
    """An invocation calls the function with what was typed and what is injected."""
    found = commands.find("!roll 2d6 2", given=NOW)
    assert isinstance(found, Invocation)
    assert found.call({"ctx": "alice"}) == "2d6 x 2 for alice"


@settings(max_examples=300)
@given(st.text() | st.sampled_from(["!roll", "!remind add", "!note"]).flatmap(
    lambda start: st.text().map(lambda text: f"{start} {text}")
))  # fmt: skip
def test_any_text_gives_one_of_four_answers(text: str) -> None:
    """Nothing that a member writes raises, and every answer is one line."""
    found = commands.find(text, ["!", ""], ["dicebot"], given=NOW)
    assert isinstance(found, Invocation | NotACommand | Unknown | Usage)
    if isinstance(found, Unknown | Usage):
        assert len(found.text.splitlines()) == 1
        assert len(found.text) < 500


@given(st.text(min_size=1), st.integers(1, 9))
def test_quoted_arguments_come_through(dice: str, times: int) -> None:
    """Whatever is quoted reaches the function unchanged."""
    assert called(f"!roll {quote(dice)} {times}") == ("roll", {"dice": dice, "times": times})


def test_help_lists_what_one_may_use() -> None:
    """A line for each command with its usage and summary; not the hidden, not the forbidden."""
    assert commands.help(may=ops_only).splitlines() == [
        "!note <text...> \u2014 Note it.",
        "!note list \u2014 List notes.",
        "!remind add <when> <text...> \u2014 Remind the room.",
        "!remind list \u2014 List reminders.",
        "!roll <dice> [times] \u2014 Roll dice.",
    ]


def test_help_on_a_command_is_its_docstring() -> None:
    """Usage, summary, details and arguments; not what is for programmers."""
    assert commands.help("r", "/").splitlines() == [
        "/roll <dice> [times]",
        "Roll dice.",
        "All of them are fair.",
        "  dice: What to roll, such as 2d6",
        "  times: How often, one after the other; 1 to 9; else 1",
        "Also: /r",
    ]


def test_help_on_a_group_lists_its_commands() -> None:
    """A group shows what it is for and what is in it."""
    assert commands.help("remind").splitlines() == [
        "Reminders for this room.",
        "!remind add <when> <text...>",
        "!remind drop <all|last> [--force]",
        "!remind list",
    ]
    assert commands.help("note").splitlines()[-1] == "!note list"


def test_help_on_what_one_may_not_use_is_as_on_what_is_not_there() -> None:
    """Help tells nobody that a forbidden command exists."""
    assert "<all|last>" in commands.help("remind drop")
    assert commands.help("remind drop", may=ops_only).startswith(
        'There is no command "remind drop"'
    )


@given(st.text())
def test_help_answers_any_topic(topic: str) -> None:
    """Nothing that a member asks help about raises."""
    assert commands.help(topic)


def test_names_are_unique() -> None:
    """Two commands of one name are an author's mistake; the table stays as it was."""
    table = Commands()
    table.add_function(roll, "one", ["two"])
    with pytest.raises(SignatureError, match="two commands called two"):
        table.add_function(roll, "three", ["two"])
    with pytest.raises(SignatureError, match="two commands called four"):
        table.add_function(roll, "four", ["four"])
    assert [command.name for command in table] == ["one"]
