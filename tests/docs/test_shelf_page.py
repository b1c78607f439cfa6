"""docs/bots-shelf.md: every option and command of each bot stands there, and no other."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import attrs
import pytest

from bots import Bot
from bots.options import Duration, read_options
from bots.shelf import assistant, dice, echo, feed, karma, poll, remind, standup, webhook
from bots.shelf.webhook.settings import WebhookSettings
from tests.docs.pages import page

TEXT = page("docs/bots-shelf.md")
OPTIONS: dict[str, type[Any]] = {
    "remind": remind.RemindSettings,
    "poll": poll.PollSettings,
    "standup": standup.StandupSettings,
    "karma": karma.KarmaSettings,
    "feed": feed.FeedSettings,
    "webhook": WebhookSettings,
    "assistant": assistant.AssistantSettings,
}
BOTS = [
    *(echo.bot, dice.bot, remind.bot, poll.bot, standup.bot, karma.bot),
    *(feed.bot, webhook.bot, assistant.bot),
]


def part(name: str) -> str:
    """What the page says of one bot."""
    found = re.search(rf"^## `{name}`: .*?(?=^## |\Z)", TEXT, re.M | re.S)
    assert found is not None, name
    return found[0]


@pytest.mark.parametrize(("name", "kind"), OPTIONS.items(), ids=OPTIONS)
def test_the_options_are_those_of_the_bot(name: str, kind: type[Any]) -> None:
    """The example can be read, names all options, and shows what they are if left out."""
    (block,) = re.findall(r"```toml\n(.*?)```", part(name), re.S)
    (table,) = tomllib.loads(block)["bot"]
    assert table["code"] == f"plugin:{name}"
    shown = table["options"]
    assert set(shown) == {field.name for field in attrs.fields(kind)}
    meant, default = read_options(shown, kind), kind()
    for field in attrs.fields(kind):
        value = getattr(default, field.name)
        if not isinstance(value, dict):
            assert getattr(meant, field.name) == value, field.name
        elif value:  # a table shows some of its keys
            assert getattr(meant, field.name).items() <= value.items()


def test_durations_are_read_as_people_write_them() -> None:
    """The forms that the page uses."""
    assert (Duration("24h").ms, str(Duration("90m"))) == (86_400_000, "1h 30m")


@pytest.mark.parametrize("bot", BOTS, ids=lambda bot: bot.name)
def test_the_commands_are_those_of_the_bot(bot: Bot) -> None:
    """Each command of the bot is shown, and each that is shown is one."""
    text = part(bot.name)
    known = {" ".join(one.path): one for one in bot.commands}
    aliases = {alias for one in bot.commands for alias in one.aliases}
    groups = {one.path[0] for one in bot.commands}
    said = re.findall(r"`!([^`]+)`", text)
    for name in known:
        assert any(line == name or line.startswith(f"{name} ") for line in said), name
    for line in said:
        first, *rest = line.split()
        assert first in groups or first in aliases, line
        if rest and f"{first} {rest[0]}" not in known:
            assert known.get(first) is not None or first in aliases, line


def test_every_bot_of_the_page_is_on_the_shelf() -> None:
    """No section without a bot."""
    assert re.findall(r"^## `(\w+)`", TEXT, re.M) == [bot.name for bot in BOTS]
