"""`ofcd rotate-key`, and what `keys`, `doctor` and `peers` say of keys that were replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ofcd.config import Settings
from ofcd.daemon.identity import load_or_make_identity
from ofcd.protocol.codec import join_parts
from ofcd.protocol.ids import RelayId
from ofcd.store import PeerRow, Store
from ofcd.themis.lineage import succeed
from tests.cli.support import Ran
from tests.themis.successions import NOW, keys, line

Ofcd = Callable[..., Ran]


@pytest.fixture
def started(config: Path) -> Path:
    """The settings of a relay that has been started once."""
    settings = Settings.load(config)
    Store.open(settings.database_url).close()
    load_or_make_identity(settings.data_dir)
    return config


def test_a_key_is_rotated_and_what_to_do_then_is_said(ofcd: Ofcd, started: Path) -> None:
    """Same fingerprint, another key, no secret shown; `keys` and `doctor` know of it."""
    data_dir = Settings.load(started).data_dir
    before = load_or_make_identity(data_dir)
    assert json.loads(ofcd("--config", started, "keys", "--json").out)["key"] == []
    ran = ofcd("--config", started, "rotate-key")
    after = load_or_make_identity(data_dir)
    assert (ran.code, after.relay_id) == (0, before.relay_id)
    assert after.relay.keys == (before.public, after.public)
    assert before.fingerprint in ran.out
    assert "replaced once" in ran.out
    assert "Copy the key file" in ran.out
    assert "Start the relay" in ran.out
    again = ofcd("--config", started, "rotate-key", "--json")
    shown = json.loads(again.out)
    assert (shown["relay_id"], len(shown["key"])) == (before.relay_id.hex(), 2)
    secret = load_or_make_identity(data_dir).keys.private
    assert secret.hex() not in ran.out + again.out
    for command in ("keys", "doctor"):
        assert "replaced 2 times, last 20" in ofcd("--config", started, command).out


def test_not_while_the_relay_runs(ofcd: Ofcd, started: Path) -> None:
    """Its lock is what keeps two from being made at once; nothing is changed."""
    settings = Settings.load(started)
    before = load_or_make_identity(settings.data_dir)
    with Store.open(settings.database_url):
        ran = ofcd("--config", started, "rotate-key")
    assert (ran.code, ran.out) == (4, "")
    assert "stop that one" in ran.err
    assert load_or_make_identity(settings.data_dir) == before


def test_not_before_there_is_a_key(ofcd: Ofcd, config: Path) -> None:
    """A relay that was never started has nothing to pass on; doctor says so too."""
    ofcd("--config", config, "migrate")
    ran = ofcd("--config", config, "rotate-key")
    assert (ran.code, "start the relay once" in ran.err) == (3, True)
    assert "the first start makes one" in ofcd("--config", config, "doctor").out


def test_another_relays_key_is_shown(ofcd: Ofcd, started: Path) -> None:
    """How often it was replaced; and in capitals where two claim to follow one."""
    a, b, c, d = keys(4)
    known = succeed(line(a, b), b, c, NOW)
    fork = succeed(line(a, b), b, d, NOW)
    quiet, loud = RelayId(b"\x01" * 32), known.relay_id
    with Store.open(Settings.load(started).database_url) as store:
        store.put_peer(PeerRow(quiet, name="quiet.example"))
        row = PeerRow(loud, name="loud.example", succession=join_parts(known.statements))
        store.put_peer(row)
        assert store.peers()[1] == row
    said = ofcd("--config", started, "peers").out
    assert "its key was replaced 2 times, last 2027-01-15 08:00 UTC" in said
    assert "ANOTHER KEY" not in said
    assert ofcd("--config", started, "peers", "--evidence").out == ""
    disputed = PeerRow(
        loud,
        name="loud.example",
        succession=join_parts(known.statements),
        disputed=join_parts((known.statements[0], fork.statements[1])),
    )
    with Store.open(Settings.load(started).database_url) as store:
        store.put_peer(disputed)
    assert ofcd("--config", started, "peers").out.count("ANOTHER KEY CLAIMS") == 1
    proof = json.loads(ofcd("--config", started, "peers", "--evidence").out)
    assert proof["code"] == "two_successors"
    assert proof["records"] == [known.statements[1].hex(), fork.statements[1].hex()]
    lines = ofcd("--config", started, "peers", "--json").out.splitlines()
    figures = {one["relay_id"]: one for one in map(json.loads, lines)}
    assert figures[loud.hex()]["key_disputed"]
    assert len(figures[loud.hex()]["key_replaced"]) == 2
    assert not figures[quiet.hex()]["key_disputed"]
    assert not figures[quiet.hex()]["key_replaced"]
    assert loud.hex() in ofcd("--config", started, "doctor").out
    with Store.open(Settings.load(started).database_url) as store:
        store.drop_peer(loud)
        store.put_peer(PeerRow(loud))
        assert [row.succession for row in store.peers()] == [b"", b""], "nothing is left of it"
