"""Each command of `ofcd`: what a person sees, what a script gets, and the exit code."""

from __future__ import annotations

import argparse
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ofcd import __version__, cli
from ofcd.cli.rooms import size_text
from ofcd.config import Settings, render_example
from ofcd.daemon.identity import KEY_FILE
from ofcd.store import Store
from tests.cli.support import Ran
from tests.store.support import Room

Ofcd = Callable[..., Ran]


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (
        a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction)
    )  # fmt: skip
    return dict(action.choices)


COMMANDS = tuple(commands())
CONFIGURED = tuple(name for name in COMMANDS if name != "example-config")
WITH_DATABASE = ("rooms", "backup", "doctor")


def arguments(name: str, folder: Path) -> list[str]:
    """What a command needs besides its settings."""
    return [name, str(folder / "copy.db")] if name == "backup" else [name]


def database(config: Path) -> Path:
    return config.parent / "var" / "ofcd.db"


@pytest.fixture
def founded(config: Path, ofcd: Ofcd) -> Path:
    """The settings of a relay with one room in its database."""
    room = Room()
    with Store.open(Settings.load(config).database_url) as store:
        store.commit([*room.founded(), *room.events(3)])
    return config


# -- without a relay -------------------------------------------------------------------------------


def test_alone_it_says_what_to_do_next(ofcd: Ofcd) -> None:
    """`ofcd` with nothing: the first two commands, and exit code 2."""
    ran = ofcd()
    assert (ran.code, ran.out) == (2, "")
    assert "ofcd example-config > config.toml" in ran.err
    assert "ofcd --config config.toml" in ran.err


@pytest.mark.parametrize("name", CONFIGURED)
def test_without_settings_a_command_asks_for_them(ofcd: Ofcd, tmp_path: Path, name: str) -> None:
    """Exit code 2 and how to name them; only doctor has something to tell without."""
    ran = ofcd(*arguments(name, tmp_path))
    if name == "doctor":
        assert ran.code == 0
        assert "ofcd --config FILE doctor" in ran.out
    else:
        assert ran.code == 2
        assert "ofcd --config FILE" in ran.sentence


def test_version(ofcd: Ofcd) -> None:
    """Name and version, on standard output."""
    assert ofcd("--version") == Ran(0, f"ofcd {__version__}\n", "")


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_has_an_example(ofcd: Ofcd, name: str) -> None:
    """Of the program and of each command; lines fit a terminal of a hundred columns."""
    ran = ofcd(*filter(None, [name]), "--help")
    assert ran.code == 0
    assert "example" in ran.out
    assert f"ofcd {name}" in ran.out or f"ofcd --config config.toml {name}" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100


@pytest.mark.parametrize("wrong", [["nonsense"], ["--nonsense"], ["backup"], ["rooms", "x"]])
def test_wrong_usage(ofcd: Ofcd, config: Path, wrong: list[str]) -> None:
    """Exit code 2 and a usage line."""
    ran = ofcd("--config", config, *wrong)
    assert ran.code == 2
    assert ran.err.startswith("usage: ofcd")


def test_example_config_prints_the_example(ofcd: Ofcd) -> None:
    """It needs no settings, and is the file that is committed."""
    assert ofcd("example-config") == Ran(0, render_example(), "")


# -- settings --------------------------------------------------------------------------------------


def test_settings_may_be_named_before_or_after_the_command(ofcd: Ofcd, config: Path) -> None:
    """Both ways do the same; the nearer one wins."""
    before = ofcd("--config", config, "check-config")
    assert before.code == 0
    assert ofcd("check-config", "--config", config) == before
    assert ofcd("--config", "nowhere.toml", "check-config", "--config", config) == before


def test_check_config_shows_what_holds(ofcd: Ofcd, config: Path) -> None:
    """Paths absolute, as the relay will use them; nothing is made."""
    ran = ofcd("--config", config, "check-config", "--json")
    shown = json.loads(ran.out)
    assert ran.code == 0
    assert shown["config"] == str(config)
    assert shown["data_dir"] == str(config.parent / "var")
    assert shown["database"] == f"sqlite:///{database(config)}"
    assert shown["durability"] == "full"
    text = ofcd("--config", config, "check-config").out
    assert {" ".join(line.split()[:2]) for line in text.splitlines()} >= {
        f"config {config}",
        "durability full",
    }
    assert not (config.parent / "var").exists()


@pytest.mark.parametrize("name", [*CONFIGURED, None])
def test_a_wrong_setting_ends_with_3(ofcd: Ofcd, config: Path, name: str | None) -> None:
    """Every command names file, key and fix."""
    config.write_text("[relay]\nprot = 1\n")
    ran = ofcd("--config", config, *(arguments(name, config.parent) if name else []))
    assert ran.code == 3
    said = ran.out if name == "doctor" else ran.sentence
    assert f"{config}: [relay] prot is not a setting: did you mean port?" in said


def test_a_missing_file_ends_with_3(ofcd: Ofcd, tmp_path: Path) -> None:
    """And says how to make one."""
    ran = ofcd("--config", tmp_path / "no.toml")
    assert ran.code == 3
    assert "no such file" in ran.sentence


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_a_token_file_that_is_none_ends_with_3(
    ofcd: Ofcd, config: Path, content: bytes | None
) -> None:
    """Missing, empty or no text: said when settings are checked, and when the relay starts."""
    config.write_text('[relay]\nport = 0\n[access]\ncreate = "token"\ncreate_token_file = "t"\n')
    if content is not None:
        (config.parent / "t").write_bytes(content)
    for command in ("check-config", "run"):
        ran = ofcd("--config", config, command)
        assert ran.code == 3
        assert "create_token_file" in ran.sentence
        assert str(config.parent / "t") in ran.sentence
    assert ofcd("--config", config, "doctor").code == 3


# -- the relay that can not start ------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], ["run"]])
def test_a_port_in_use_ends_with_3(ofcd: Ofcd, config: Path, command: list[str]) -> None:
    """With the address, and what to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config.write_text(f"[relay]\nport = {port}\n")
        ran = ofcd("--config", config, *command)
    assert ran.code == 3
    assert f"127.0.0.1:{port}" in ran.sentence
    assert "is another relay running? Change relay.host or relay.port" in ran.sentence


def test_an_address_of_somebody_else_ends_with_3(ofcd: Ofcd, config: Path) -> None:
    """No other relay is suspected."""
    config.write_text('[relay]\nport = 0\nhost = "192.0.2.1"\n')
    ran = ofcd("--config", config)
    assert ran.code == 3
    assert "set relay.host to an address of this machine" in ran.sentence


def _others_may_read(key: Path) -> None:
    key.write_bytes(b"")
    key.chmod(0o644)


def _is_a_directory(key: Path) -> None:
    key.mkdir(mode=0o700)


def _is_cut(key: Path) -> None:
    key.write_bytes(b"OFCD relay key 1\n")
    key.chmod(0o600)


@pytest.mark.parametrize("command", [[], ["keys"]])
@pytest.mark.parametrize("spoil", [_others_may_read, _is_a_directory, _is_cut])
def test_an_unreadable_key_ends_with_3(
    ofcd: Ofcd, config: Path, spoil: Callable[[Path], None], command: list[str]
) -> None:
    """The file is named, and is left as it was."""
    key = config.parent / "var" / KEY_FILE
    key.parent.mkdir(mode=0o700)
    spoil(key)
    before = key.is_dir() or key.read_bytes()
    ran = ofcd("--config", config, *command)
    assert ran.code == 3
    assert str(key) in ran.sentence
    assert before == (key.is_dir() or key.read_bytes())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any file")
def test_a_key_of_somebody_else_ends_with_3(ofcd: Ofcd, config: Path) -> None:
    """Permission denied, and which file."""
    ofcd("--config", config, "keys")
    (config.parent / "var" / KEY_FILE).chmod(0)
    ran = ofcd("--config", config)
    assert ran.code == 3
    assert "Permission denied" in ran.sentence


# -- the database ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_DATABASE)
def test_without_a_database_they_end_with_4(ofcd: Ofcd, config: Path, name: str) -> None:
    """What only reads makes none."""
    ran = ofcd("--config", config, *arguments(name, config.parent))
    assert ran.code == 4
    said = ran.out if name == "doctor" else ran.sentence
    assert f"there is no database at {database(config)}" in said
    assert not database(config).exists()


@pytest.mark.parametrize("name", [*WITH_DATABASE, "migrate", "run"])
def test_a_corrupt_database_ends_with_4(ofcd: Ofcd, config: Path, name: str) -> None:
    """It is said, with the way out, and the file is left alone."""
    database(config).parent.mkdir()
    database(config).write_bytes(b"not a database, but longer than a header of one" * 100)
    before = database(config).read_bytes()
    ran = ofcd("--config", config, *arguments(name, config.parent))
    assert ran.code == 4
    said = ran.out if name == "doctor" else ran.sentence
    assert "is damaged, or is no database" in said
    assert database(config).read_bytes() == before


@pytest.mark.parametrize("name", ["run", "migrate"])
def test_a_database_in_use_ends_with_4(ofcd: Ofcd, founded: Path, name: str) -> None:
    """A second start on the same data says who has it."""
    with Store.open(Settings.load(founded).database_url):
        ran = ofcd("--config", founded, name)
    assert ran.code == 4
    assert f"is in use by process {os.getpid()}" in ran.sentence


def test_migrate_makes_the_schema_once(ofcd: Ofcd, config: Path) -> None:
    """The second time there is nothing to do."""
    first = json.loads(ofcd("--config", config, "migrate", "--json").out)
    second = json.loads(ofcd("--config", config, "migrate", "--json").out)
    assert first["before"] == "empty"
    assert first["now"] == second["before"] == second["now"]
    assert first["now"] in ofcd("--config", config, "migrate").out


def test_keys_shows_one_identity(ofcd: Ofcd, config: Path) -> None:
    """The same each time, in hex and in groups of four; no private key is shown."""
    shown = json.loads(ofcd("--config", config, "keys", "--json").out)
    assert shown["fingerprint"].replace(" ", "") == shown["relay_id"]
    assert shown["fingerprint"] in ofcd("--config", config, "keys").out
    key = Path(shown["key_file"]).read_bytes()
    assert key[-32:].hex() not in json.dumps(shown)


def test_rooms_are_figures(ofcd: Ofcd, founded: Path) -> None:
    """One object a line for scripts, a table for people; ids and counts, nothing of the words."""
    ran = ofcd("--config", founded, "rooms", "--json")
    (line,) = ran.out.splitlines()
    room = Room()
    assert json.loads(line) | {"bytes": 0} == {
        "room": room.id.hex(),
        "entries": 4,
        "events": 3,
        "bytes": 0,
        "last_ts": 1_003,
    }
    head, row = ofcd("--config", founded, "rooms").out.splitlines()
    assert head.split()[:3] == ["room", "messages", "size"]
    assert row.split()[:2] == [room.id.hex(), "3"]
    assert row.endswith("1970-01-01 00:00")


def test_no_rooms_yet(ofcd: Ofcd, config: Path) -> None:
    """People are told; scripts get no line."""
    ofcd("--config", config, "migrate")
    assert ofcd("--config", config, "rooms") == Ran(0, "no rooms yet\n", "")
    assert ofcd("--config", config, "rooms", "--json") == Ran(0, "", "")


def test_backup_is_a_database_and_replaces_nothing(ofcd: Ofcd, founded: Path) -> None:
    """The copy has the rooms; a second one to the same place is refused with 4."""
    copy = founded.parent / "copy.db"
    ran = ofcd("--config", founded, "backup", copy)
    assert ran.code == 0
    assert ran.out.startswith(f"{copy}: ")
    assert KEY_FILE in ran.out
    with Store.open(f"sqlite:///{copy}", read_only=True) as store:
        assert [room.events for room in store.rooms()] == [3]
    again = ofcd("--config", founded, "backup", copy)
    assert again.code == 4
    assert f"{copy} exists already" in again.sentence
    other = founded.parent / "other.db"
    shown = json.loads(ofcd("--config", founded, "backup", other, "--json").out)
    assert shown == {"file": str(other), "bytes": other.stat().st_size}


def test_doctor_finds_all_well(ofcd: Ofcd, founded: Path) -> None:
    """Core, settings and database, with exit code 0."""
    ran = ofcd("--config", founded, "doctor", "--json")
    shown = json.loads(ran.out)
    assert ran.code == 0
    assert shown["themis"].split()[0] in ("native", "embedded")
    assert shown["config"] == f"{founded}: right"
    assert shown["database"] == "well"
    assert shown["disk_free_bytes"] > 0
    text = ofcd("--config", founded, "doctor").out
    assert "all is well" in text
    assert " KiB" in text


def test_doctor_ends_with_4_for_what_it_finds(ofcd: Ofcd, founded: Path) -> None:
    """A database that others may read works, and is still not well."""
    database(founded).chmod(0o644)
    ran = ofcd("--config", founded, "doctor")
    assert ran.code == 4
    assert f"others may read the database: chmod 600 {database(founded)}" in ran.out
    assert "there is a problem" in ran.out


# -- ends ------------------------------------------------------------------------------------------


def test_an_interrupt_ends_with_130(
    ofcd: Ofcd, founded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in a command is no traceback, as shells expect it."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "backup", interrupt)
    ran = ofcd("--config", founded, "backup", founded.parent / "copy.db")
    assert ran.code == 130
    assert ran.sentence == "interrupted"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_crash_ends_with_1_and_a_traceback_without_values(
    ofcd: Ofcd, config: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """The log says where, in one entry; neither the error's words nor any variable are in it."""
    from ofcd.daemon.hub import Hub

    marker = os.urandom(8).hex()

    async def crash(hub: Hub, task_status: object) -> None:
        secret = marker
        raise RuntimeError(secret)

    monkeypatch.setattr(Hub, "run", crash)
    config.write_text(f'[relay]\nport = 0\n[log]\nformat = "{form}"\nlevel = "error"\n')
    ran = ofcd("--config", config)
    assert ran.code == 1
    assert "the relay crashed" in ran.err
    assert "RuntimeError" in ran.err
    assert "in crash" in ran.err
    assert marker not in ran.err
    if form == "json":
        (line,) = ran.err.splitlines()
        assert json.loads(line)["level"] == "critical"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 50, "3072.0 TiB"),
    ],
)
def test_sizes_for_people(count: int, text: str) -> None:
    """In the largest unit that fits."""
    assert size_text(count) == text
