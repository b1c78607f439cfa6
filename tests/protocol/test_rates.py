"""Token buckets: pure, so time is a number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ofcd.protocol.rates import TokenBuckets


def test_a_burst_passes_and_the_next_waits() -> None:
    """A full bucket holds `burst` tokens; the answer after that is when the next one comes."""
    buckets = TokenBuckets(burst=20, per_second=20 / 60, max_keys=10)
    assert [buckets.take("a", 100) for _ in range(20)] == [0] * 20
    assert buckets.take("a", 100) == 3000
    assert buckets.take("b", 100) == 0
    assert buckets.take("a", 3100) == 0


def test_asking_takes_nothing_and_time_backwards_gives_nothing() -> None:
    """`wait` only looks; a clock that is set back does not fill a bucket."""
    buckets = TokenBuckets(burst=1, per_second=1, max_keys=2)
    assert [buckets.wait("a", 0), buckets.take("a", 0), buckets.take("a", 0)] == [0, 0, 1000]
    assert buckets.wait("a", 500) == 500
    assert buckets.take("a", -500) == 1000
    assert buckets.take("a", 1000) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30_000)), max_size=200))
def test_no_key_exceeds_its_rate(steps: list[tuple[str, int]]) -> None:
    """Over any stretch, a key gets at most burst + rate x time, whatever the others do."""
    buckets = TokenBuckets(burst=5, per_second=0.5, max_keys=3)
    now, taken = 0, {"a": 0, "b": 0, "c": 0}
    for key, pause in steps:
        now += pause
        taken[key] += buckets.take(key, now) == 0
        assert taken[key] <= 5 + 0.5 * now / 1000 + 1e-6


@given(st.lists(st.integers(0, 1000), max_size=300))
def test_the_table_is_bounded(keys: list[int]) -> None:
    """However many keys come, no more than `max_keys` are remembered: the latest."""
    buckets = TokenBuckets(burst=1, per_second=0.001, max_keys=7)
    for key in keys:
        buckets.take(key, 0)
        assert len(buckets) <= 7
        assert buckets.take(key, 0) > 0
