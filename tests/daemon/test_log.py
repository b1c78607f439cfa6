"""The log: one line an event, readable by people or by machines, and no secret in either."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
import structlog
import trio

from ofcd import config
from ofcd.config import Settings
from ofcd.daemon.log import configure, get_log, traceback_of
from ofcd.errors import ConfigError
from ofcd.testing import open_world

Form = Literal["text", "json"]


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def spoken(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With event, level and time; a line break in a value does not end the line."""
    configure("info", "json")
    get_log().info("retention", events=3, note="two\nlines")
    (line,) = spoken(capsys).splitlines()
    said = json.loads(line)
    assert said.pop("timestamp").endswith("Z")
    assert said == {"event": "retention", "level": "info", "events": 3, "note": "two\nlines"}


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Plain where it is no terminal."""
    configure("info", "text")
    get_log().info("retention", events=3)
    line = spoken(capsys)
    assert "retention" in line
    assert "events=3" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_level_holds(capsys: pytest.CaptureFixture[str], form: Form) -> None:
    """Lighter lines are not written."""
    configure("warning", form)
    get_log().info("light")
    assert spoken(capsys) == ""
    get_log().warning("weighty")
    assert "weighty" in spoken(capsys)


def fails_on(secret: str) -> None:
    kept = secret
    try:
        dict[str, str]()[kept]
    except KeyError as error:
        raise ExceptionGroup(kept, [ValueError(kept), OSError(28, "No space left", "x")]) from error


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_names_places_not_values(
    capsys: pytest.CaptureFixture[str], form: Form
) -> None:
    """Types, causes, groups and lines of source; no message of an unforeseen error, no variable."""
    configure("error", form)
    marker = "".join(map(chr, range(ord("a"), ord("z"))))
    try:
        fails_on(marker)
    except ExceptionGroup:
        get_log().exception("crashed")
    said = spoken(capsys)
    assert marker not in said
    for words in ("KeyError", "ValueError", "OSError: No space left", "in fails_on", "led to"):
        assert words in said
    assert (len(said.splitlines()) == 1) is (form == "json")


def test_our_own_errors_keep_their_sentence() -> None:
    """They hold no secrets by law, and say what to do."""
    assert traceback_of(ConfigError("set it")).endswith("ofcd.errors.ConfigError: set it")


@pytest.mark.parametrize("form", ["text", "json"])
async def test_a_conversation_leaves_no_word_in_the_log(
    tmp_path: Path,
    autojump_clock: trio.abc.Clock,
    capsys: pytest.CaptureFixture[str],
    form: Form,
) -> None:
    """At the chattiest level: no text, name, invite, key or token."""
    configure("debug", form)
    change: Callable[[Settings], Settings] = lambda s: Settings(  # noqa: E731 - needs its type
        relay=s.relay, log=config.Log(level="debug", format=form)
    )
    async with open_world(tmp_path, change) as world:
        ana, bo = await world.client("ana"), await world.client("bo")
        tea = await ana.create_room(world.url, "marker-room", my_name="marker-ana")
        invite = await tea.invite()
        at_bo = await bo.join(invite, name="marker-bo")
        await tea.send("marker-text")
        await trio.sleep(5)
        assert [message.text for message in at_bo.messages()] == ["marker-text"]
        assert world.daemon is not None
        private = world.daemon.identity.keys.private
    said = spoken(capsys)
    assert "marker" not in said
    assert str(invite) not in said
    assert private.hex() not in said
    assert repr(private)[2:-1] not in said
