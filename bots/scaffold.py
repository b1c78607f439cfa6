"""`ofc-bot new NAME`: a project with a bot, its settings, and a test that passes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from bots.errors import BotError

__all__ = ["make_project"]

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")

_BOT: Final = '''"""The bot {name}."""

from bots import Bot, Context

bot = Bot("{name}")


@bot.command()
async def hello(ctx: Context, times: int = 1) -> None:
    """Say hello, as often as you like."""
    await ctx.reply(" ".join(["hello"] * times))


if __name__ == "__main__":
    raise SystemExit(bot.run("bot.toml"))
'''
_TEST: Final = '''"""What {name} does, in a world in memory."""

from {name} import bot


async def test_it_says_hello(world, autojump_clock):
    """Someone says !hello, and the bot answers."""
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!hello 2")
    assert (await room.next_from(bot)).text == "hello hello"
'''
_CONFTEST: Final = '''"""The world of bots.testing, for every test."""

from bots.testing.plugin import world

__all__ = ["world"]
'''
_PROJECT: Final = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "0.1.0"
description = "The bot {name}."
requires-python = ">=3.11"
dependencies = ["ofcd"]

# Installed, `ofc-bot list` shows it, and `ofc-bot run plugin:{name}` runs it.
[project.entry-points."ofcd.bots"]
{name} = "{name}:bot"

[tool.hatch.build.targets.wheel]
only-include = ["{name}.py"]

[tool.pytest.ini_options]
trio_mode = true
pythonpath = ["."]
"""
_CONFIG: Final = """\
# Relative paths start here. The vault holds the bot's keys: back it up, with its key file.
[[bot]]
vault = "{name}.vault"
key_file = "{name}.key"
# The link that `ofc invite` prints: for one bot, once.
join = []

[log]
level = "info"
format = "text"
"""
_IGNORE: Final = "*.vault*\n*.key\n__pycache__/\ndist/\n"


def make_project(folder: Path, name: str) -> Path:
    """Write a project into `folder`/`name`; raises `BotError` where that can not be."""
    if not _NAME.fullmatch(name):
        raise BotError("a project's name is lower-case letters, digits and _, as in a module's")
    target = folder / name
    files = {
        f"{name}.py": _BOT,
        f"test_{name}.py": _TEST,
        "conftest.py": _CONFTEST,
        "pyproject.toml": _PROJECT,
        "bot.toml": _CONFIG,
        ".gitignore": _IGNORE,
    }
    try:
        target.mkdir()
        for file, text in files.items():
            (target / file).write_text(text.replace("{name}", name), encoding="utf-8")
    except OSError as error:
        raise BotError(f"{target} can not be made: {error.strerror}") from None
    return target
