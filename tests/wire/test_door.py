"""The door: who may come in."""

from __future__ import annotations

from ofcd import wire

ANA = wire.RemoteAddress("192.0.2.1", 1)


def test_an_ipv6_peer_counts_by_its_network() -> None:
    """Whoever has a /64 has 2^64 addresses: they count as one."""
    one = wire.RemoteAddress("2001:db8:1:2:3:4:5:6", 1)
    other = wire.RemoteAddress("2001:db8:1:2::9", 2)
    assert one.network == other.network == "2001:db8:1:2::/64"
    assert wire.RemoteAddress("fe80::1%eth0", 1).network == "fe80::/64"
    assert ANA.network == "192.0.2.1"


def test_an_ipv4_peer_of_a_dual_stack_socket_is_an_ipv4_peer() -> None:
    """Else all of IPv4 would share the one /64 of mapped addresses."""
    assert wire.RemoteAddress.of("::ffff:192.0.2.1", 1) == ANA
    assert wire.RemoteAddress.of("192.0.2.1", 1) == ANA
    assert wire.RemoteAddress.of("2001:db8::1", 1).host == "2001:db8::1"


def test_the_door_counts_in_and_out() -> None:
    """Caps hold in all (503) and by address (429), and a place left is a place free."""
    door = wire.Door(wire.ServeLimits(connections=3, connections_per_ip=2))
    assert door.enter(ANA) is None
    assert door.enter(ANA) is None
    refused = door.enter(ANA)
    assert refused is not None
    assert refused.status == 429
    assert door.enter(None) is None
    full = door.enter(wire.RemoteAddress("192.0.2.2", 1))
    assert full is not None
    assert full.status == 503
    assert dict(full.headers)["Retry-After"] == "10"
    door.leave(ANA)
    assert door.enter(ANA) is None
    assert door.inside == 3


def test_the_door_says_when_a_handshake_may_be_tried_again() -> None:
    """In whole seconds, which is what the header can say; other addresses do not wait."""
    door = wire.Door(wire.ServeLimits(handshakes_per_minute=20))
    assert [door.handshake(ANA, 100.0) for _ in range(20)] == [None] * 20
    refused = door.handshake(ANA, 100.0)
    assert refused is not None
    assert (refused.status, dict(refused.headers)["Retry-After"]) == (429, "3")
    assert door.handshake(wire.RemoteAddress("192.0.2.2", 1), 100.0) is None
    assert door.handshake(ANA, 103.0) is None
