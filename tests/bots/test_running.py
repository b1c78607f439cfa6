"""`ofc-bot`: projects, settings, reload, and a process that stops in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from bots import Bot, Context
from bots.cli import main
from bots.loading import load_bot
from bots.metrics import Metrics
from bots.runner import Job, run_one
from bots.settings import BotSettings, load_settings
from bots.testing import BotWorld
from ofcd.errors import ConfigError, OfcError
from tests.cli.support import ROOT


@pytest.mark.slow
def test_a_new_project_passes_its_own_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ofc-bot new`, then pytest in its folder: green. `ofc-bot check` finds nothing."""
    monkeypatch.chdir(tmp_path)
    assert main(["new", "greeter"]) == 0
    folder = tmp_path / "greeter"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert main(["check", str(folder / "greeter.py")]) == 0
    load_settings(folder / "bot.toml")
    assert main(["new", "greeter"]) == 1
    assert "can not be made" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[bot]]\nvalut = 'x'", "valut"),
        ("[[bot]]\ngrace = 'long'", "grace"),
        ("[[bot]]\ntables_limit = 0", "tables_limit"),
        ("[[bot]]\nisolation = 'yes'", "isolation"),
        ("[log]\nlevel = 'loud'", "level"),
        ("bot = []", "no [[bot]]"),
        ("[[bot", "is not TOML"),
        ("[[bot]]\noutbound = 'often'", "outbound"),
    ],
)
def test_wrong_settings_name_the_key(tmp_path: Path, text: str, said: str) -> None:
    """A slip in bot.toml is refused, and the sentence says where."""
    (tmp_path / "bot.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_settings(tmp_path / "bot.toml")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("x = 1", "holds no bot"), ("1/0", "ZeroDivisionError"), (None, "there is no file")],
)
def test_a_bot_that_can_not_be_loaded_says_why(tmp_path: Path, text: str | None, said: str) -> None:
    """No bot in it, an error while it is imported, or no file at all."""
    if text is not None:
        (tmp_path / "b.py").write_text(text)
    with pytest.raises(OfcError) as refused:
        load_bot(str(tmp_path / "b.py"))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[bot]]\ncode = 'bots.shelf.echo'\n" * 2, "the same module in one process"),
        ("[[bot]]\ncode = 'bots.shelf.echo'\nmemory_limit = 9", "memory_limit is for"),
        ("[[bot]]\ncode = 'plugin:nobody'", "ofc-bot list"),
        ("[[bot]]", "name the bot's file or module"),
    ],
)
def test_settings_that_can_not_be_run_say_why(
    tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is opened, and the exit code is 1."""
    (tmp_path / "bot.toml").write_text(text)
    assert main(["run", "--config", str(tmp_path / "bot.toml")]) == 1
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["bot.toml"]


def test_a_bot_that_runs_itself_is_not_isolated(tmp_path: Path) -> None:
    """`bot.run` is in the process it would have to be kept from."""
    (tmp_path / "bot.toml").write_text("[[bot]]\nisolation = 'process'")
    with pytest.raises(ConfigError, match="ofc-bot run"):
        Bot("own").run(str(tmp_path / "bot.toml"))


VERSION = "from bots import Bot\nimport pathlib\nbot = Bot('b')\n@bot.on_start\nasync def go():\n"


@pytest.mark.live
async def test_a_change_is_taken_over_and_a_broken_one_is_not(tmp_path: Path) -> None:
    """The file changes: the new code starts. It breaks, or fails as it starts: the old runs on."""
    file, told = tmp_path / "b.py", tmp_path / "told"

    def write(text: str) -> None:
        file.write_text(text)
        stamp = len(seen) + 1_000
        seen.append(stamp)
        os.utime(file, (stamp, stamp))

    async def wait_for(text: str) -> None:
        with trio.fail_after(20):
            while not told.exists() or told.read_text() != text:  # noqa: ASYNC110
                await trio.sleep(0.05)

    seen: list[int] = []
    write(VERSION + f"    pathlib.Path({str(told)!r}).write_text('one')\n")
    settings = BotSettings(str(file), str(tmp_path / "v"), str(tmp_path / "k"))
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        job = Job(load_bot(settings.code), settings, file)
        nursery.start_soon(run_one, job, Metrics(), stop)
        await wait_for("one")
        write("this is no Python")
        await trio.sleep(1.2)
        told.unlink()
        write(VERSION + "    raise ValueError\n")
        await wait_for("one")
        write(VERSION + f"    pathlib.Path({str(told)!r}).write_text('two')\n")
        await wait_for("two")
        stop.set()
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600


@pytest.mark.live
def test_sigterm_stops_it_in_order(tmp_path: Path) -> None:
    """The process runs `on_stop`, logs JSON without a traceback, and ends with 0."""
    (tmp_path / "b.py").write_text(
        "import sys\nfrom bots import Bot\nbot = Bot('b')\n"
        "@bot.on_start\nasync def go():\n    print('up', flush=True)\n"
        "@bot.on_stop\nasync def end():\n    print('down', flush=True)\n"
    )
    (tmp_path / "bot.toml").write_text("[log]\nformat = 'json'\n")
    command = [sys.executable, "-m", "bots.cli", "run", str(tmp_path / "b.py"), "--config"]
    with subprocess.Popen(
        [*command, str(tmp_path / "bot.toml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, "down\n")
    assert "Traceback" not in err
    assert '"event": "running"' in err


async def test_dead_letters_can_be_read_by_whoever_runs_the_bot(
    world: BotWorld, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ofc-bot letters`: when, which, where in the code, and nobody's words; not while it runs."""
    bot = Bot("brittle")

    @bot.command(tries=1)
    async def crack(ctx: Context, word: str) -> None:
        """Break."""
        raise ValueError(word)

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!crack confidential")
    apology = (await room.next_from(bot)).text
    vault = world.inner.folder / "brittle.bot.vault"
    key = tmp_path / "bot.key"
    key.write_text(bytes(range(32)).hex())
    key.chmod(0o600)
    config = tmp_path / "bot.toml"
    config.write_text(f'[[bot]]\nvault = "{vault}"\nkey_file = "{key}"\n')
    assert main(["letters", "--config", str(config)]) == 1
    assert "in use by process" in capsys.readouterr().err
    await world.stop(bot)
    assert main(["letters", "--config", str(config)]) == 0
    shown = capsys.readouterr().out
    assert main(["letters", "--config", str(config), "--json"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert str(json.loads(line)["id"]) in apology
    assert "crack: ValueError" in shown
    assert "raise ValueError(word)" in shown
    assert "confidential" not in shown + line
