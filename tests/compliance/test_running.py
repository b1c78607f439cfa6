"""Running a check: whatever it raises, and wherever, comes out as one result with its reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from ofcd.compliance import Check, Outcome, Target, run_check
from ofcd.compliance.errors import NotKept, Skipped
from ofcd.compliance.lab import Lab
from ofcd.compliance.malformed import DAMAGES, UNHARMFUL, damaged
from ofcd.protocol.codec import parse_json
from ofcd.protocol.codes import Malformed
from ofcd.wire import Unreachable


def nowhere() -> Target:
    async def connect() -> trio.abc.Stream:
        raise OSError("nobody is there")

    def dial() -> object:
        raise Unreachable("nobody is there")

    return Target("ws://nowhere", dial, connect)  # type: ignore[arg-type]


async def result_of(work: Callable[[Lab], Awaitable[None]]) -> tuple[Outcome, str]:
    result = await run_check(nowhere(), Check("a.b", "1", "something", work), seconds=60)
    return result.outcome, result.reason


async def in_a_nursery(error: Exception) -> None:
    async def fail() -> None:
        raise error

    async with trio.open_nursery() as outer, trio.open_nursery() as inner:
        outer.start_soon(trio.sleep_forever)
        inner.start_soon(fail)


async def test_what_a_check_comes_to(autojump_clock: object) -> None:
    """Kept, not kept, skipped, broken off, and too slow."""

    async def kept(lab: Lab) -> None:
        await trio.lowlevel.checkpoint()

    async def not_kept(lab: Lab) -> None:
        raise NotKept("it was taken")

    async def beside(lab: Lab) -> None:
        await in_a_nursery(NotKept("it was taken"))

    async def skipped(lab: Lab) -> None:
        await in_a_nursery(Skipped("not here"))

    async def broken_off(lab: Lab) -> None:
        raise trio.BrokenResourceError("gone")

    async def slow(lab: Lab) -> None:
        await trio.sleep_forever()

    assert await result_of(kept) == (Outcome.PASS, "")
    assert await result_of(not_kept) == (Outcome.FAIL, "it was taken")
    assert await result_of(beside) == (Outcome.FAIL, "it was taken")
    assert await result_of(skipped) == (Outcome.SKIP, "not here")
    assert await result_of(broken_off) == (Outcome.FAIL, "gone")
    assert await result_of(slow) == (Outcome.FAIL, "it did not come to an end within 60 s")


async def test_what_is_no_result(autojump_clock: object) -> None:
    """No relay at all, and a mistake of the kit's own, are not the relay's failures."""

    async def dials(lab: Lab) -> None:
        await lab.link()

    async def mistaken(lab: Lab) -> None:
        await in_a_nursery(TypeError("a mistake"))

    with pytest.raises(Unreachable):
        await result_of(dials)
    with pytest.raises(TypeError):
        await result_of(mistaken)


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_one_that_the_protocol_forbids(name: str) -> None:
    """Our own parser refuses it, and takes what was damaged."""
    good = b'{"type":"detach","rid":7}'
    assert parse_json(UNHARMFUL(good), max_bytes=4096)["rid"] == 7
    with pytest.raises(Malformed):
        parse_json(DAMAGES[name](good), max_bytes=4096)
    payload = damaged(b"OFC1:event\n" + good, DAMAGES[name])
    assert payload == b"OFC1:event\n" + DAMAGES[name](good)
