"""How relays find each other: a signed page, pins, and addresses that are not dialled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.config import Federation, Networks, Relay, Settings, parse_peer
from ofcd.daemon.identity import Identity
from ofcd.daemon.peers.discovery import allowed_by, read_descriptor, write_descriptor
from ofcd.daemon.run import open_daemon
from ofcd.protocol.codec import dump_json
from ofcd.protocol.codes import ProtocolError
from ofcd.protocol.ids import RelayId, b64encode
from ofcd.protocol.records import Descriptor, LogHead
from ofcd.store import PeerRow
from ofcd.testing import World, open_net
from ofcd.themis import generate_keypair
from ofcd.themis.signed import sign_record
from ofcd.wire import DialError, Forbidden, NoPage, dial, fetch_page
from tests.federation.double import quickly
from tests.world.scene import stored

NOW = 1_800_000_000_000
DAY = 24 * 3600 * 1000
LOOPBACK = Networks((ip_network("127.0.0.0/8"),))


def descriptor(identity: Identity, **changes: object) -> bytes:
    record = Descriptor(
        v=1,
        relay_id=identity.relay_id,
        key=identity.public,
        name="b.example",
        urls=("wss://b.example",),
        valid_until=NOW + DAY,
        counter=5,
    )
    signed = sign_record(identity.keys.private, evolve(record, **changes))  # type: ignore[arg-type]
    return dump_json({"v": 1, "record": b64encode(signed.envelope)})


def test_a_relays_page_is_believed_by_its_key_alone() -> None:
    """Signed by the key that hashes to the id; the pin, the time and the counter are checked."""
    mine, other = Identity.of(generate_keypair()), Identity.of(generate_keypair())
    page = write_descriptor(mine, "b.example", "wss://b.example", NOW)
    found, relay = read_descriptor(page, NOW, mine.relay)
    assert (found.relay_id, found.urls) == (mine.relay_id, ("wss://b.example",))
    assert relay == mine.relay
    assert read_descriptor(page, NOW, None) == (found, relay)
    assert read_descriptor(page, NOW + 19 * DAY, mine.relay) == (found, relay)
    for raw, pin, now, counter in (
        (page, other.relay, NOW, 0),
        (page, None, NOW + 31 * DAY, 0),
        (page, None, NOW, found.counter + 1),
        (descriptor(mine, key=other.public), None, NOW, 0),
        (descriptor(mine, relay_id=other.relay_id, key=other.public), None, NOW, 0),
        (descriptor(mine, relay_id=other.relay_id), other.relay, NOW, 0),
        (descriptor(mine, valid_until=NOW + 60 * DAY), None, NOW, 0),
        (b"{}", None, NOW, 0),
        (b"<html>", None, NOW, 0),
        (dump_json({"record": "AAAA"}), None, NOW, 0),
        (dump_json({"record": b64encode(bytes(20_000))}), None, NOW, 0),
    ):
        with pytest.raises(ProtocolError):
            read_descriptor(raw, now, pin, counter)
    head = LogHead(1, bytes(32), 0, 0, bytes(32), NOW)  # type: ignore[arg-type]
    record = b64encode(sign_record(mine.keys.private, head).envelope)
    with pytest.raises(ProtocolError):
        read_descriptor(dump_json({"record": record}), NOW, None)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - not bound to
        "224.0.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "::",
        "255.255.255.255",
        "64:ff9b::127.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1.1.1.1",
        "::127.0.0.1",
        "::ffff:0:10.0.0.1",
        "2002:7f00:1::1",
        "2002:101:101::1",
        "2001:0:101:101::80ff:fffe",
        "192.88.99.1",
        "fec0::1",
    ],
)
def test_addresses_that_strangers_may_not_have_us_dial(address: str) -> None:
    """Private, link-local, loopback, shared, multicast, however they are written."""
    assert not allowed_by(Networks(()))(ip_address(address))


def test_addresses_that_are_dialled() -> None:
    """Public ones; and private ones that are allowed, also written as IPv6."""
    assert allowed_by(Networks(()))(ip_address("1.1.1.1"))
    assert allowed_by(Networks(()))(ip_address("2606:4700:4700::1111"))
    assert allowed_by(LOOPBACK)(ip_address("127.0.0.1"))
    assert allowed_by(LOOPBACK)(ip_address("::ffff:127.0.0.1"))
    assert not allowed_by(LOOPBACK)(ip_address("10.0.0.1"))
    assert allowed_by(Networks(()))(ip_address("64:ff9b::1.1.1.1"))  # a public one, by NAT64
    sixtofour = Networks((ip_network("2002::/16"),))
    assert allowed_by(sixtofour)(ip_address("2002:101:101::1"))


async def test_29_an_address_that_leads_to_this_machine_is_not_dialled() -> None:
    """By number and by name, for links and for pages; nothing is ever connected."""
    nowhere = allowed_by(Networks(()))
    for host in ("127.0.0.1", "localhost", "[::1]"):
        with pytest.raises(Forbidden):
            async with dial(f"ws://{host}:9", allowed=nowhere):
                pass
        with pytest.raises(DialError):
            await fetch_page(f"http://{host}:9/x", max_bytes=10, seconds=5, allowed=nowhere)


@asynccontextmanager
async def answering(*answers: bytes, hang: bool = False) -> AsyncIterator[str]:
    """A page server that says exactly these bytes, one answer a connection."""
    left = list(answers)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(4096)
            if hang:
                await trio.sleep_forever()
            await stream.send_all(left.pop(0))

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        port = listeners[0].socket.getsockname()[1]
        yield f"http://127.0.0.1:{port}/.well-known/ofc/relay.json"
        nursery.cancel_scope.cancel()


async def test_a_page_is_had_whole_at_once_and_from_where_it_was_asked_for() -> None:
    """No redirect is followed, nothing too long is read, nothing half is taken, and time is up."""
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    elsewhere = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + bytes(90_000)
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"
    async with answering(good, elsewhere, long, half, b"SSH-2.0-x\r\n") as url:

        async def fetch() -> bytes:
            return await fetch_page(url, max_bytes=16_384, seconds=20, allowed=allowed_by(LOOPBACK))

        assert await fetch() == b"{}"
        for _ in range(4):
            with pytest.raises(DialError):
                await fetch()
    async with answering(hang=True) as url:
        with pytest.raises(DialError, match="was not had within"):
            await fetch_page(url, max_bytes=10, seconds=0.2, allowed=allowed_by(LOOPBACK))


async def test_a_relay_serves_its_page_where_it_talks_to_others(tmp_path: Path) -> None:
    """On its own port, signed; and none where it does not."""
    for mode in ("open", "off"):
        settings = Settings(
            relay=Relay(port=0, name="b.example", data_dir=str(tmp_path / mode)),
            federation=Federation(mode=mode),
        )
        async with open_daemon(settings) as daemon, trio.open_nursery() as nursery:
            url = await nursery.start(daemon.serve)
            page = f"{url.replace('ws', 'http', 1)}/.well-known/ofc/relay.json"
            if mode == "off":
                with pytest.raises(NoPage):
                    await fetch_page(page, max_bytes=16_384, seconds=20)
            else:
                raw = await fetch_page(page, max_bytes=16_384, seconds=20)
                found, _ = read_descriptor(raw, daemon.now(), daemon.identity.relay)
                assert (found.name, found.urls) == ("b.example", (url,))
            nursery.cancel_scope.cancel()


def test_peers_in_the_settings() -> None:
    """A name, with a fingerprint and an address where they are known."""
    fingerprint = "ab" * 32
    assert parse_peer(f"b.example!{fingerprint} wss://b.example") == (
        "b.example",
        fingerprint,
        "wss://b.example",
    )
    assert parse_peer("b.example") == ("b.example", "", "")
    for wrong in ("", "a b", f"b.example!{fingerprint} http://x", "b.example!ABCD"):
        assert parse_peer(wrong) is None


async def test_an_allowlist_lets_in_those_that_stand_there(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """By fingerprint; a link is kept to each of them, without anybody asking."""
    ids: dict[str, RelayId] = {}

    def closed(name: str, settings: Settings) -> Settings:
        return evolve(quickly(name, settings), federation=Federation(mode="allowlist"))

    async with open_net(tmp_path, "hub", "home", "other", change=closed) as worlds:
        for world in worlds:
            assert world.daemon is not None
            ids[world.url] = world.daemon.identity.relay_id
        hub, home, other = worlds
        for world, peer in ((hub, home), (home, hub), (other, hub)):
            listed = f"{peer.settings.relay.name}!{ids[peer.url].hex()} {peer.url}"
            federation = Federation(mode="allowlist", peers=(listed,))  # type: ignore[arg-type]
            world.settings = evolve(world.settings, federation=federation)
            await world.restart_relay()
        await trio.sleep(30)
        ana = await (await hub.client("ana")).create_room(hub.url, "tea", my_name="ana")
        bo = await (await home.client("bo")).join(await ana.invite(), name="bo", via=home.url)
        assert (await bo.send("let in")).seq > 0
        stranger = await other.client("cai")
        # The hub has not listed this one: there is no link, and the join waits for one.
        with trio.move_on_after(300) as scope:
            await stranger.join(await ana.invite(), name="cai", via=other.url)
        assert scope.cancelled_caught
        assert len(ana.members()) == 2
        [row] = [p for p in other_peers(other) if p.relay_id == ids[hub.url]]
        assert (row.state, "listed" in row.detail) == ("waiting", True)


def other_peers(world: World) -> list[PeerRow]:
    return stored(world).peers()
