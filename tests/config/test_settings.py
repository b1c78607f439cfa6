"""Settings: a file says exactly what the relay does, or is refused with the way out."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofcd.config import Limits, Relay, Settings, Storage
from ofcd.config.fields import DOC, Doc, Size, converter, show_size
from ofcd.config.sections import SECTIONS
from ofcd.errors import ConfigError
from ofcd.protocol import limits as hard


def load(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "relay.toml"
    file.write_text(text, encoding="utf-8")
    return Settings.load(file)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return str(caught.value)


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    """What a file leaves out has its default."""
    assert load(tmp_path, "") == Settings.default()


def test_what_a_file_says_holds(tmp_path: Path) -> None:
    """Values arrive with their types; sizes in bytes whichever way they are written."""
    settings = load(
        tmp_path,
        """
        [relay]
        port = 6000
        trusted_proxies = ["127.0.0.1", "10.0.0.0/8", "::1"]
        [storage]
        durability = "normal"
        [limits]
        event_bytes = "32 KiB"
        control_bytes = 65536
        handshake_seconds = 5
        idle_ping_seconds = 2.5
        [metrics]
        enabled = false
        """,
    )
    assert settings.relay.port == 6000
    assert settings.relay.trusted_proxies == tuple(
        map(ip_network, ("127.0.0.1", "10.0.0.0/8", "::1"))
    )
    assert settings.storage.durability == "normal"
    assert settings.limits.event_bytes == 32 * 1024
    assert settings.limits.control_bytes == 65_536
    assert settings.limits.handshake_seconds == 5.0
    assert settings.limits.idle_ping_seconds == 2.5
    assert settings.metrics.enabled is False


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[limits]\nevent_byte = 1", ["[limits] event_byte", "did you mean event_bytes?"]),
        ("[limit]\n", ["[limit]", "did you mean [limits]?"]),
        ("[zzz]\n", ["[zzz]", "there are [relay], [storage]"]),
        ("port = 5103", ["port stands outside", "move it below [relay]"]),
        ("zzz = 1", ["zzz stands outside", "remove it"]),
        ("relay = 3", ["relay = 3 is not a section", "write [relay]"]),
        ("[relay]\nport = '5103'", ['[relay] port = "5103"', "not a whole number"]),
        ("[relay]\nport = true", ["[relay] port = true", "not a whole number"]),
        ("[relay]\nport = 70000", ["[relay] port = 70000 is too large: 0 to 65,535"]),
        ("[relay]\nport = -1", ["[relay] port = -1 is too small: 0 to 65,535"]),
        ("[relay]\nname = 7", ["[relay] name = 7 is not a text", "quotes"]),
        ("[relay]\nname = 'a b'", ["[relay] name", "is not a name"]),
        ("[relay]\nhost = 'http://x'", ["[relay] host", '"127.0.0.1"']),
        ("[relay]\npublic_url = 'https://x'", ["public_url", '"wss://chat.example.org"']),
        ("[relay]\npublic_url = 'wss://x:port'", ["public_url", "is not an address"]),
        ("[relay]\npublic_url = 'wss://[x'", ["public_url", "is not an address"]),
        ("[relay]\npublic_url = 'wss://x/#f'", ["public_url", "is not an address"]),
        ("[relay]\ntrusted_proxies = '::1'", ["trusted_proxies", "is not a list", "[] for none"]),
        ("[relay]\ntrusted_proxies = ['proxy']", ["trusted_proxies", "no network", '"::1"']),
        ("[relay]\ntrusted_proxies = [2130706433]", ["trusted_proxies", "no network"]),
        ("[relay]\ntrusted_proxies = ['10.1.2.3/8']", ["no network", "mask", '"10.0.0.0/8"']),
        ("[relay]\ntrusted_proxies = ['::/0']", ["trusted_proxies", "would believe everybody"]),
        ("[relay]\ndata_dir = ''", ["data_dir", "is not a path"]),
        ("[storage]\ndurability = 'fulll'", ['"fulll"', 'use "full" or "normal"']),
        ("[storage]\ndurability = ['full']", ['["full"]', 'use "full" or "normal"']),
        ("[storage]\nurl = 'mysql://x'", ["[storage] url", "sqlite:///{data_dir}/ofcd.db"]),
        ("[storage]\nurl = 'sqlite:///:memory:'", ["[storage] url", "outlive"]),
        ("[limits]\nevent_bytes = '64 KB'", ['"64 KB" is not a size', '"64 KiB"']),
        ("[limits]\nevent_bytes = '1 MiB'", ["is too large: 4 KiB to 64 KiB"]),
        ("[limits]\nevent_bytes = 1.5", ["1.5 is not a size"]),
        ("[limits]\nevent_bytes = -5", ["-5 is too small"]),
        ("[limits]\nhandshake_seconds = 0", ["0 is too small: 1 to 120 seconds"]),
        ("[limits]\nhandshake_seconds = nan", ["is not a number"]),
        ("[limits]\nhandshake_seconds = '10'", ["is not a number"]),
        ("[limits]\nconnections = 5", ["connections_per_ip is larger than connections"]),
        ("[access]\ncreate = 'token'", ["needs create_token_file"]),
        ("[log]\nlevel = 'loud'", ['use "debug" or "info" or "warning" or "error"']),
        ("[metrics]\nenabled = 'yes'", ["is neither true nor false"]),
        ("[metrics]\npath = '/healthz'", ["[metrics] path", '"/metrics"']),
        ("[federation]\nmode = 'some'", ['use "off" or "allowlist" or "open"']),
        ("[federation]\npeers = ['b.example!12']", ["holds what is no peer", "fingerprint"]),
        ("[federation]\npeers = 'b.example'", ["is not a list of texts"]),
        ("[federation]\ndeny = ['no name']", ["neither a relay's name nor its fingerprint"]),
        ("[federation]\nallow_private = ['0.0.0.0/0']", ["would"]),
        ("[relay\n", ["it is not TOML", "line 1"]),
        ("[relay]\nport = 1\nport = 2\n", ["it is not TOML", "line 3"]),
    ],
)
def test_a_mistake_is_named_with_its_fix(tmp_path: Path, text: str, says: list[str]) -> None:
    """A wrong file is refused in a sentence with file, key, value and the way out."""
    sentence = refusal(tmp_path, text)
    assert sentence.startswith(f"{tmp_path / 'relay.toml'}: ")
    for words in says:
        assert words in sentence


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    """Nobody mends a file one start at a time."""
    sentence = refusal(tmp_path, "[relay]\nport = 'x'\nhots = ''\n[log]\nlevel = 1\n[limmits]\n")
    assert "4 mistakes" in sentence
    for words in ("[relay] port", "did you mean host?", "[log] level", "did you mean [limits]?"):
        assert words in sentence


def test_the_value_of_an_unknown_key_stays_unsaid(tmp_path: Path) -> None:
    """It may be a secret in the wrong place, and refusals reach logs."""
    text = "create_token = 'hush'\n[access]\ncreate_token = 'hush'\n[accses]\ntoken = 'hush'\n"
    assert "hush" not in refusal(tmp_path, text)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """The refusal names the command that writes an example."""
    with pytest.raises(
        ConfigError, match=r"no\.toml: there is no such file: `ofcd example-config > "
    ):
        Settings.load(tmp_path / "no.toml")


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    """A directory and a binary file end in a sentence, not in a traceback."""
    with pytest.raises(ConfigError, match="can not be read"):
        Settings.load(tmp_path)
    binary = tmp_path / "relay.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        Settings.load(binary)


def test_code_is_held_to_the_same_bounds() -> None:
    """A section built in code can not hold what a file may not."""
    with pytest.raises(ValueError, match="too large"):
        Limits(frame_bytes=Size(hard.FRAME_BYTES + 1))
    with pytest.raises(ValueError, match="bytes"):
        Limits(frame_bytes="1 MiB")  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(ValueError, match="is larger than"):
        Limits(events_per_second_per_member=100)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Settings.default().relay.port = 1  # type: ignore[misc]  # what the test is about


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    """The relay finds its data wherever it is started from."""
    settings = load(tmp_path, "[access]\ncreate_token_file = 'token'")
    assert settings.data_dir == tmp_path / "var"
    assert settings.database_url == f"sqlite:///{tmp_path}/var/ofcd.db"
    assert settings.create_token_file == tmp_path / "token"
    assert Settings.default().create_token_file is None
    assert Settings.default().data_dir == Path.cwd() / "var"


def test_absolute_and_relative_database_paths(tmp_path: Path) -> None:
    """A database outside of data_dir is found by the same rule."""
    absolute = load(tmp_path, "[storage]\nurl = 'sqlite:////srv/relay.db'")
    assert absolute.database_url == "sqlite:////srv/relay.db"
    relative = load(tmp_path, "[storage]\nurl = 'sqlite:///db/relay.db'")
    assert relative.database_url == f"sqlite:///{tmp_path}/db/relay.db"


@pytest.mark.parametrize(
    ("relay", "url"),
    [
        (Relay(), "ws://127.0.0.1:5103"),
        (Relay(host="::1", port=7), "ws://[::1]:7"),
        (Relay(host="0.0.0.0", name="chat.example.org"), "ws://chat.example.org:5103"),  # noqa: S104 - nothing listens
        (Relay(public_url="wss://chat.example.org/"), "wss://chat.example.org"),
    ],
)
def test_the_public_url_is_derived_where_none_is_set(relay: Relay, url: str) -> None:
    """Invites name an address that others can reach."""
    assert Settings(relay=relay).public_url == url


def test_equality_is_of_settings_not_of_files(tmp_path: Path) -> None:
    """Two files that say the same are the same settings."""
    one, other = load(tmp_path, ""), Settings(storage=Storage())
    assert one == other
    assert one.source != other.source


def test_no_limit_is_over_what_the_protocol_allows() -> None:
    """A relay may be stricter than OFC/1, never laxer."""
    bounded = {
        "frame_bytes": hard.FRAME_BYTES,
        "event_bytes": hard.EVENT_BYTES,
        "control_bytes": hard.CONTROL_BYTES,
        "preauth_bytes": hard.PREAUTH_BYTES,
        "members_per_room": hard.ROOM_MEMBERS,
        "open_invites_per_room": hard.OPEN_INVITES,
        "join_tries_per_invite": hard.JOIN_TRIES,
    }
    for name, most in bounded.items():
        doc: Doc = attrs.fields_dict(Limits)[name].metadata[DOC]
        assert doc.high == most, name


@given(st.integers(min_value=0, max_value=2**50))
def test_a_size_reads_as_it_is_shown(count: int) -> None:
    """What `show_size` writes, the settings read back as the same number of bytes."""
    assert converter.structure(show_size(count), Size) == count


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())
)


@given(
    where=st.sampled_from([(s, a) for s, kind in SECTIONS.items() for a in attrs.fields(kind)]),
    value=scalars,
)
def test_any_value_is_taken_or_refused_with_a_sentence(
    where: tuple[str, "attrs.Attribute[Any]"], value: object
) -> None:
    """No value of any type, for any key, ends in an error that is not meant."""
    section, attribute = where
    kind = SECTIONS[section]
    sentence = ""
    taken = object()
    try:
        taken = getattr(kind(**{attribute.name: value}), attribute.name)
    except ValueError as refused:
        sentence = str(refused)
    assert taken == value or len(sentence.split()) > 3
