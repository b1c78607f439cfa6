"""`ofc-bridge` as it is called: what it says of itself, and of settings that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

import ofcd
from bridge.cli import main

_GOOD = """\
[bridge]
name = "Bridge"

[[irc]]
name = "test"
server = "irc.example"

[[portal]]
room = "books"
network = "test"
place = "#books"
"""


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ('name = "Bridge"', 'nam = "B"', "[bridge] nam is not a setting: did you mean name?"),
        ("server =", "srver =", "[[irc]] server is missing"),
        ("server =", "nik = 'x'\nserver =", "[[irc]] nik is not a setting: did you mean nick?"),
        ("server =", "port = '6697'\nserver =", "[[irc]] port has to be a whole number"),
        ("place =", "holdd = 1\nplace =", "[[portal]] books holdd is not a setting: did you mean"),
        ("place =", "zzz = 1\nplace =", "zzz is not a setting: there are room, network, place, "),
        (
            'place = "#books"',
            'place = "#b"\n[portal.irc]\nmod = "relay"',
            "[[portal]] books [portal.irc] mod is not a setting: did you mean mode?",
        ),
        ("[[irc]]", "[[icr]]", "[icr] is not a section: did you mean irc?"),
        ("[bridge]", "nick = 'x'\n[bridge]", "nick stands outside of any section"),
    ],
)
def test_a_slip_in_the_settings_is_named_with_the_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], was: str, now: str, told: str
) -> None:
    """File, section and key; what was meant, where that is near; and its own exit code."""
    path = tmp_path / "bridge.toml"
    path.write_text(_GOOD.replace(was, now, 1))
    assert main(["check", "--config", str(path)]) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"ofc-bridge: {path}: ")
    assert told in said
    assert "options" not in said, "that is none of a file's"


def test_all_slips_of_a_section_are_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(_GOOD.replace("server =", "tls = 1\nnik = 'x'\nsrver ="))
    assert main(["--config", str(path)]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"ofc-bridge: {path}: 4 mistakes:"
    assert len(lines) == 5


def test_it_says_what_it_is_and_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    for option, told in (
        ("--version", [f"ofc-bridge {ofcd.__version__}"]),
        ("--help", ["ofc-bridge check --config bridge.toml", "The exit code says", "SIGTERM"]),
    ):
        with pytest.raises(SystemExit) as ended:
            main([option])
        assert ended.value.code == 0
        said = capsys.readouterr().out
        assert all(one in said for one in told)
