"""The command line means what it says, wherever its options stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofcd.ofc.commands import COMMANDS
from ofcd.ofc.commands.inviting import InviteOptions, lifetime
from ofcd.ofc.commands.people import GrantOptions
from ofcd.ofc.commands.talking import ReadOptions, SendOptions
from ofcd.ofc.errors import EXITS, UsageError
from ofcd.ofc.parser import default_vault, make_parser, parse
from ofcd.protocol.codec import build, unbuild
from ofcd.protocol.records import Cap


@pytest.mark.parametrize(
    "words",
    [
        ["--json", "--vault", "v.db", "--timeout", "5", "send", "Club", "hi", "there"],
        ["send", "--json", "Club", "--vault", "v.db", "hi", "there", "--timeout", "5"],
        ["send", "Club", "hi", "there", "--json", "--vault", "v.db", "--timeout", "5"],
        ["--vault", "other.db", "send", "Club", "--json", "hi", "there", "--vault", "v.db",
         "--timeout", "5"],
    ],
)  # fmt: skip
def test_common_options_stand_anywhere(words: list[str]) -> None:
    """Before the command, behind it, among its words; the last one counts."""
    understood = parse(words)
    assert understood.command.name == "send"
    assert understood.as_json
    assert understood.vault == Path("v.db").absolute()
    assert isinstance(understood.options, SendOptions)
    assert (understood.options.room, understood.options.words) == ("Club", "hi there")
    assert understood.options.timeout == 5


def test_an_option_may_stand_between_words() -> None:
    """`send ROOM --file FILE CAPTION` is how people write it."""
    options = parse(["send", "Club", "--file", "a.png", "a", "caption"]).options
    assert isinstance(options, SendOptions)
    assert (options.file, options.words) == (str(Path("a.png").absolute()), "a caption")


def test_words_after_two_dashes_are_words() -> None:
    """So a message may begin with a dash."""
    options = parse(["send", "Club", "--", "--json is an option"]).options
    assert isinstance(options, SendOptions)
    assert options.words == "--json is an option"


def test_options_cross_the_socket_unchanged() -> None:
    """What was parsed is what the process that has the vault open gets."""
    for words in (
        ["send", "Club", "hi", "--reply-to", "12"],
        ["read", "Club", "--since", "7", "--limit", "3", "--save", "d"],
        ["invite", "Club", "--bot", "--expires", "2h", "--no-history", "--wait"],
        ["grant", "Club", "Bo", "member", "--cap", "bot", "--cap", "admit"],
        ["create", "Club", "--name", "Ana", "--relay", "ws://relay.test"],
    ):
        understood = parse(words)
        assert build(understood.command.options, unbuild(understood.options)) == understood.options


def test_paths_are_those_of_the_persons_own_process() -> None:
    """Relative paths are made absolute before a command is handed over."""
    options = parse(["read", "Club", "--save", "here"]).options
    assert isinstance(options, ReadOptions)
    assert options.save == str(Path("here").absolute())


def test_an_invite_says_whom_it_is_for() -> None:
    """Marks and lifetime come out as the protocol's."""
    options = parse(["invite", "Club", "--bot", "--admit", "--expires", "90m"]).options
    assert isinstance(options, InviteOptions)
    assert options.caps == {Cap.BOT, Cap.ADMIT}
    assert options.expires == 5400


def test_caps_are_kept_unless_given() -> None:
    """`grant` without --cap leaves the marks alone."""
    options = parse(["grant", "Club", "Bo", "co-owner"]).options
    assert isinstance(options, GrantOptions)
    assert options.caps is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which command"),
        (["sned"], "invalid choice: 'sned'"),
        (["send"], "required: ROOM"),
        (["read", "Club", "--since", "-1"], "--since"),
        (["read", "Club", "--limit", "x"], "--limit"),
        (["rooms", "--timeout", "0"], "whole number of seconds"),
        (["rooms", "--nonsense"], "--nonsense"),
        (["invite", "Club", "--expires", "31d"], "30d at most"),
        (["invite", "Club", "--expires", "soon"], "like 90m"),
        (["grant", "Club", "Bo", "root"], "invalid choice: 'root'"),
        (["send", "Club", "hi", "--file", "x", "--reply-to", "3"], "can not be a reply"),
    ],
)
def test_what_makes_no_sense_is_said(words: list[str], said: str) -> None:
    """A usage error names what is wrong and where help is."""
    with pytest.raises(UsageError, match=said):
        parse(words)


@pytest.mark.parametrize("text", ["0m", "1y", "m", "-5h", "1.5h", "999999999d", ""])
def test_strange_lifetimes_are_refused(text: str) -> None:
    """Only 90m, 12h, 7d and the like."""
    with pytest.raises(Exception, match="not a time"):
        lifetime(text)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help_with_an_example(
    command: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the example begins with the command itself."""
    name = getattr(command, "name", "")
    with pytest.raises(SystemExit) as left:
        parse([name, "--help"])
    shown = capsys.readouterr().out
    assert left.value.code == 0
    assert "example" in shown
    assert f"ofc {name}" in shown.split("example")[1] or "ofc -" in shown.split("example")[1]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_examples_are_understood(
    command: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each example of the help parses as that command."""
    import io
    import shlex
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe\n")))
    for example in getattr(command, "examples", ()):
        line = example.split("| ofc")[-1] if "| ofc" in example else example
        words = shlex.split(line.split(" | ")[0].split(" < ")[0].split("   (")[0])
        assert parse([w for w in words if w != "ofc"]).command is command


def test_the_help_lists_exit_codes_and_commands() -> None:
    """Every exit code with its meaning, every command with its summary."""
    shown = make_parser().format_help()
    for code, meaning in EXITS.items():
        assert f"{code:3}  {meaning}" in shown
    for command in COMMANDS:
        assert command.summary.split("\n")[0][:40] in " ".join(shown.split())


def test_the_vault_is_in_the_users_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_DATA_HOME if it is an absolute path, else ~/.local/share."""
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_vault() == Path("/data/ofc/vault.db")
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    monkeypatch.setenv("HOME", "/home/ana")
    assert default_vault() == Path("/home/ana/.local/share/ofc/vault.db")
