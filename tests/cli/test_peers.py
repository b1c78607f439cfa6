"""`ofcd peers`: what an operator sees of other relays, and of what copies here lack."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from attrs import evolve

from ofcd.config import Settings
from ofcd.daemon import orders
from ofcd.daemon.orders import FOREVER, Order, leave, left_in
from ofcd.daemon.run import milliseconds
from ofcd.protocol.codec import join_parts
from ofcd.protocol.ids import Hash32, RelayId
from ofcd.relay.facts import CopySkipped, EvidenceKept, ReplicaFounded
from ofcd.store import Contradiction, PeerRow, Store
from ofcd.store.engine import database_path
from ofcd.themis.lineage import succeed
from tests.cli.support import Ran
from tests.store.support import Room
from tests.themis.successions import keys, line

Ofcd = Callable[..., Ran]

PEER = RelayId(b"\x07" * 32)
LOG = Hash32(b"\x08" * 32)


@pytest.fixture
def copied(config: Path) -> Path:
    """A relay with a copy that has skipped entries 4 to 9, and evidence of something else."""
    room = Room()
    with Store.open(Settings.load(config).database_url) as store:
        store.commit([*room.founded(), *room.events(3), ReplicaFounded(room.id, PEER)])
        store.commit([CopySkipped(room.id, 3, 10, LOG, 60_000)])
        store.commit([EvidenceKept(room.id, 1, "bad_record", (b"lie",))])
        store.put_peer(PeerRow(PEER, name="b.example", state="up", contact=60_000))
        kept = store.load_room(room.id)
        assert kept is not None
        assert (kept.seq, kept.log, kept.floor) == (9, LOG, 10)
        assert [last.is_certain for last in kept.senders.values()] == [False] * len(kept.senders)
        with pytest.raises(Contradiction):
            store.commit([CopySkipped(room.id, 3, 20, LOG, 60_000)])
    return config


def test_a_gap_is_shown_and_is_no_evidence(ofcd: Ofcd, copied: Path) -> None:
    """With its room, its entries and the time; for scripts too."""
    said = ofcd("--config", copied, "peers").out
    at_a_glance, name = said.splitlines()[:2]
    assert at_a_glance == (
        "b.example  up since 1970-01-01 00:01 UTC; 1 room of its own here; "
        "0 messages waiting for it"
    )
    assert name.strip() == f"id {PEER.hex()}"
    assert "no longer kept entries 4 to 9 of room " + Room().id.hex() in said
    (line,) = ofcd("--config", copied, "peers", "--json").out.splitlines()
    gaps = json.loads(line)["gaps"]
    assert gaps == [{"room": Room().id.hex(), "ts": 60_000, "first": 4, "last": 9}]
    (kept,) = ofcd("--config", copied, "peers", "--evidence").out.splitlines()
    assert json.loads(kept)["code"] == "bad_record"


def test_no_other_relays_yet(ofcd: Ofcd, config: Path) -> None:
    """People are told, and of the mode."""
    ofcd("--config", config, "migrate")
    assert ofcd("--config", config, "peers").out == "no other relays yet (federation is off)\n"


def test_a_listed_relay_that_was_not_found_is_named(ofcd: Ofcd, config: Path) -> None:
    """Where its page should be, until it was read; beside those that are known."""
    text = config.read_text()
    config.write_text(f'{text}\n[federation]\nmode = "open"\npeers = ["b.example", "c.example"]\n')
    ofcd("--config", config, "migrate")
    with Store.open(Settings.load(config).database_url) as store:
        store.put_peer(PeerRow(PEER, name="b.example", state="up", contact=60_000))
    said = ofcd("--config", config, "peers").out
    assert said.count("not found yet") == 1
    assert "c.example  not found yet" in said
    assert "https://c.example/.well-known/ofc/relay.json" in said
    assert "known by config" in said


def test_others_can_not_find_a_relay_without_an_address(ofcd: Ofcd, config: Path) -> None:
    """`doctor` says so, where others are talked to at all."""
    assert "public_url" not in ofcd("--config", config, "doctor").out
    config.write_text(config.read_text() + '\n[federation]\nmode = "open"\n')
    assert "relay.public_url is not set" in ofcd("--config", config, "doctor").out


def test_what_an_operator_needs_at_night_stands_first(ofcd: Ofcd, config: Path) -> None:
    """By name, or the host it was said to be at: up or down, since when; quarantine, with why."""
    later = 4_102_444_800_000
    rows = [
        PeerRow(RelayId(b"\x01" * 32), url="wss://c.example/ofc", state="waiting", contact=60_000),
        PeerRow(RelayId(b"\x02" * 32), name="d.example", state="waiting", detail="refused"),
        PeerRow(
            RelayId(b"\x03" * 32),
            state="quarantined",
            detail="it passes on false signatures",
            quarantined=later,
        ),
    ]
    with Store.open(Settings.load(config).database_url) as store:
        for row in rows:
            store.put_peer(row)
    said = ofcd("--config", config, "peers").out
    assert "c.example  DOWN since 1970-01-01 00:01 UTC; 0 rooms of its own here; " in said
    assert "d.example  never reached; " in said
    assert "(no name)  IN QUARANTINE until 2100-01-01 00:00 UTC; " in said
    assert "    it passes on false signatures\n" in said
    assert "1 rooms" not in said


@pytest.mark.parametrize("wanted", ["loud.example", "LOUD", "whole"])
def test_a_wrong_line_of_keys_is_dropped_by_command(ofcd: Ofcd, config: Path, wanted: str) -> None:
    """What was met first stays without it, for good; where the relay is reached stays known."""
    a, b, c = keys(3)
    false = succeed(line(a, b), b, c, 0)
    loud, quiet = false.relay_id, RelayId(b"\x01" * 32)
    row = PeerRow(
        loud,
        key=b"k" * 45,
        name="loud.example",
        url="wss://loud.example",
        succession=join_parts(false.statements),
        disputed=join_parts(false.statements[:1]),
    )
    with Store.open(Settings.load(config).database_url) as store:
        store.put_peer(row)
        store.put_peer(PeerRow(quiet, key=b"q" * 45, name="quiet.example"))
    named = {"LOUD": loud.hex()[:16].upper(), "whole": loud.hex()}.get(wanted, wanted)
    ran = ofcd("--config", config, "peers", "--forget-keys", named)
    assert (ran.code, "of loud.example is forgotten" in ran.out) == (0, True)
    with Store.open(Settings.load(config).database_url) as store:
        left = {peer.relay_id: peer for peer in store.peers()}
    assert left[loud] == evolve(row, key=b"", succession=b"", disputed=b"")
    assert left[quiet].key == b"q" * 45


def test_nothing_is_forgotten_of_who_is_not_meant(ofcd: Ofcd, config: Path) -> None:
    """A name that nobody has, a few digits, or one that two have."""
    with Store.open(Settings.load(config).database_url) as store:
        for number in (1, 2):
            store.put_peer(PeerRow(RelayId(bytes([number]) * 32), key=b"k", name="b.example"))
    for wanted, why in [
        ("c.example", "no relay"),
        ("0101", "no relay"),
        ("b.example", "more than"),
    ]:
        ran = ofcd("--config", config, "peers", "--forget-keys", wanted)
        assert ran.code == 2
        assert why in ran.err
    with Store.open(Settings.load(config).database_url) as store:
        assert [peer.key for peer in store.peers()] == [b"k", b"k"]


@pytest.fixture
def known_ones(config: Path) -> Path:
    """A relay that federates, stopped, and knows two others."""
    config.write_text(config.read_text() + '\n[federation]\nmode = "open"\n')
    with Store.open(Settings.load(config).database_url) as store:
        store.put_peer(PeerRow(PEER, key=b"k", name="b.example", state="up", contact=60_000))
        store.put_peer(PeerRow(RelayId(b"\x01" * 32), name="quiet.example"))
    return config


def peers_in(config: Path) -> dict[RelayId, PeerRow]:
    with Store.open(Settings.load(config).database_url, read_only=True, migrate=False) as store:
        return {peer.relay_id: peer for peer in store.peers()}


def test_a_relay_is_put_in_quarantine_by_command(ofcd: Ofcd, known_ones: Path) -> None:
    """With a reason and a time, or until it is released; nothing else of it, nor of others."""
    before = peers_in(known_ones)
    act = partial(ofcd, "--config", known_ones, "peers")
    ran = act("--quarantine", "b.example", "--reason", "it floods", "--for", "7d")
    assert (ran.code, ran.out) == (0, "b.example is in quarantine: nothing is taken from it.\n")
    said = act().out
    assert "b.example  IN QUARANTINE until 2" in said
    assert "    by hand: it floods\n" in said
    left = peers_in(known_ones)[PEER].quarantined - milliseconds()
    assert 6.9 * 86_400_000 < left <= 7 * 86_400_000
    assert act("--quarantine", PEER.hex()[:16]).code == 0
    assert "IN QUARANTINE until released; " in act().out
    assert act("--release", "b.example").out == "b.example is in quarantine no more.\n"
    after = peers_in(known_ones)
    assert after == before | {PEER: evolve(before[PEER], state="waiting")}


def test_a_relay_that_never_came_is_put_in_quarantine_by_its_whole_id(
    ofcd: Ofcd, known_ones: Path
) -> None:
    """Before it comes. Nobody is meant by less, and none is released who is not known."""
    stranger = RelayId(b"\x09" * 32)
    act = partial(ofcd, "--config", known_ones, "peers")
    assert act("--quarantine", stranger.hex()[:63]).code == 2
    assert act("--release", stranger.hex()).code == 2
    assert act("--release", "b.example", "--for", "7d").code == 2
    assert act("--quarantine", "b.example", "--for", "7").code == 2
    assert act("--quarantine", stranger.hex()).code == 0
    assert peers_in(known_ones)[stranger].quarantined == FOREVER


@pytest.mark.parametrize("listens", [True, False])
def test_a_relay_that_runs_does_it_itself(
    ofcd: Ofcd, known_ones: Path, monkeypatch: pytest.MonkeyPatch, listens: bool
) -> None:
    """The command waits until it has, and says so where it has not."""
    folder, waited = Settings.load(known_ones).data_dir, 0.0
    owned, owner = list[Path | None](), orders._owner

    def looking(where: Path, database: Path | None) -> os.stat_result:
        owned.append(database)
        return owner(where, database)

    monkeypatch.setattr(orders, "_owner", looking)
    with Store.open(Settings.load(known_ones).database_url) as running:

        def sleep(seconds: float) -> None:
            nonlocal waited
            waited += seconds
            for path, order in left_in(folder) if listens and waited > 5 else ():
                assert order is not None
                [row] = [row for row in running.peers() if row.relay_id == order.relay_id]
                running.put_peer(order.applied(row))
                path.unlink()

        monkeypatch.setattr("ofcd.cli.peers.time.sleep", sleep)
        monkeypatch.setattr("ofcd.cli.peers.time.monotonic", lambda: waited)
        ran = ofcd("--config", known_ones, "peers", "--quarantine", "b.example")
    assert ran.code == (0 if listens else 1)
    assert (peers_in(known_ones)[PEER].quarantined == FOREVER) is listens
    assert ("has not done it yet" in ran.err) is not listens
    assert waited < 40
    assert owned == [database_path(Settings.load(known_ones).database_url)]


def test_what_was_ordered_before_is_done_before(ofcd: Ofcd, known_ones: Path) -> None:
    """A release that no relay took before it stopped does not undo the quarantine said since."""
    folder, other = Settings.load(known_ones).data_dir, RelayId(b"\x01" * 32)
    leave(folder, Order(PEER, 0))
    leave(folder, Order(other, FOREVER))
    (folder / "order-1.json").write_text("no order")
    (folder / "order-2.json").mkdir()
    assert ofcd("--config", known_ones, "peers", "--quarantine", "b.example").code == 0
    assert not list(left_in(folder))
    assert (folder / "order-1.bad").read_text() == "no order"
    assert {row.quarantined for row in peers_in(known_ones).values()} == {FOREVER}


def test_a_relay_that_runs_without_federation_is_told_nothing(
    ofcd: Ofcd, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would take it: that is said at once, and nothing is left for later."""
    monkeypatch.setattr("ofcd.cli.peers.time.sleep", lambda _: pytest.fail("it waits"))
    with Store.open(Settings.load(config).database_url) as running:
        running.put_peer(PeerRow(PEER, name="b.example"))
        ran = ofcd("--config", config, "peers", "--quarantine", "b.example")
    assert ran.code
    assert ran.sentence.startswith("federation is off")
    assert not list(left_in(Settings.load(config).data_dir))
