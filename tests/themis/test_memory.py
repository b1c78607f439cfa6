"""Memory does not grow: 100,000 operations, whichever core runs."""

from __future__ import annotations

import gc

import psutil
import pytest

from ofcd import themis
from tests.themis.helpers import CONTEXT, established, flipped

KEY = bytes(range(32))
TEXT = bytes(200)
ALLOWED_GROWTH = 4 * 1024 * 1024
"""Bytes: 40 an operation would already be seen; allocators keep a little for themselves."""


def in_use() -> tuple[int, int]:
    """Bytes of this process, and of this thread's sandbox (0 on the native core)."""
    gc.collect()
    sandbox_bytes = 0
    if themis.core_info().kind == "embedded":
        from ofcd.themis._sandbox import current_sandbox

        sandbox_bytes = current_sandbox().memory_bytes
    return psutil.Process().memory_info().rss, sandbox_bytes


@pytest.mark.slow
def test_memory_stays_over_100_000_operations() -> None:
    """Cells, sessions and messages in their natural proportions; failures leak nothing either."""
    keys = themis.generate_keypair()

    def work(rounds: int) -> int:
        """24 quick operations a round, and with every 40th round 15 slow ones."""
        done = 0
        client, server = established()
        for number in range(rounds):
            for _ in range(6):
                sealed = themis.seal(KEY, TEXT, CONTEXT)
                themis.unseal(KEY, sealed, CONTEXT)
                server.unwrap(client.wrap(TEXT))
                done += 4
            if number % 40 == 0:
                done += slow_ones(sealed)
        return done

    def slow_ones(sealed: bytes) -> int:
        signed = themis.sign(keys.private, TEXT)
        themis.verify(keys.public, signed)
        with pytest.raises(themis.BadSignature):
            themis.verify(keys.public, flipped(signed, -1))
        with pytest.raises(themis.CannotOpen):
            themis.unseal(KEY, flipped(sealed, -1), CONTEXT)
        themis.unbox(keys.private, keys.public, themis.box(keys.private, keys.public, TEXT))
        _, server = established()
        with pytest.raises(themis.SessionError):
            server.unwrap(bytes(100))
        comparator = themis.Comparator(TEXT)
        comparator.begin()
        return 15

    work(200)
    process, sandbox = in_use()
    assert work(4200) >= 100_000
    process_after, sandbox_after = in_use()
    assert sandbox_after == sandbox
    assert process_after - process < ALLOWED_GROWTH
