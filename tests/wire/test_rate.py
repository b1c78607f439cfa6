"""Token buckets and the door: pure, so time is a number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ofcd import wire

ANA = wire.RemoteAddress("192.0.2.1", 1)


def test_a_burst_passes_and_the_next_waits() -> None:
    """A full bucket holds `burst` tokens; the answer after that is when the next one comes."""
    buckets = wire.TokenBuckets(burst=20, per_second=20 / 60, max_keys=10)
    assert [buckets.take("a", 100.0) for _ in range(20)] == [0.0] * 20
    wait = buckets.take("a", 100.0)
    assert round(wait, 6) == 3.0
    assert buckets.take("b", 100.0) == 0.0
    assert buckets.take("a", 100.0 + wait) == 0.0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 30)), max_size=200))
def test_no_key_exceeds_its_rate(steps: list[tuple[str, float]]) -> None:
    """Over any stretch, a key gets at most burst + rate x time, whatever the others do."""
    buckets = wire.TokenBuckets(burst=5, per_second=0.5, max_keys=3)
    now, taken = 0.0, {"a": 0, "b": 0, "c": 0}
    for key, pause in steps:
        now += pause
        taken[key] += buckets.take(key, now) == 0.0
        assert taken[key] <= 5 + 0.5 * now + 1e-6


@given(st.lists(st.integers(0, 1000), max_size=300))
def test_the_table_is_bounded(keys: list[int]) -> None:
    """However many addresses come, no more than `max_keys` are remembered: the latest."""
    buckets = wire.TokenBuckets(burst=1, per_second=0.001, max_keys=7)
    for key in keys:
        buckets.take(str(key), 0.0)
        assert len(buckets) <= 7
        assert buckets.take(str(key), 0.0) > 0


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
