"""The bad roads and the places themselves: they do what they say, and the same for one seed."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import islice

import pytest
import trio

from tests.live.chaos import Faults, Road, open_road, weathers
from tests.live.places import places

pytestmark = [pytest.mark.live]

PIECES = [bytes([n]) * 1000 for n in range(200)]


def test_the_same_seed_is_the_same_weather() -> None:
    """What is lost, doubled, swapped and flipped is drawn from the seed."""
    faults = Faults(lose=0.1, double=0.1, swap=0.1, flip=0.1)

    def sent(seed: int) -> list[bytes]:
        rng = random.Random(f"{seed} road in")
        return [faults.damaged(piece, rng) for piece in PIECES]

    assert sent(1) == sent(1) != sent(2)
    assert list(islice(weathers(7), 50)) == list(islice(weathers(7), 50))
    assert list(islice(weathers(7), 50)) != list(islice(weathers(8), 50))


@pytest.mark.parametrize(
    ("faults", "is_damage"),
    [
        (Faults(), lambda piece, out: out == piece),
        (Faults(lose=1), lambda piece, out: out == b""),
        (Faults(double=1), lambda piece, out: out == piece * 2),
        (Faults(swap=1), lambda piece, out: out != piece and sorted(out) == sorted(piece)),
        (
            Faults(flip=1),
            lambda piece, out: (
                sum((a ^ b).bit_count() for a, b in zip(piece, out, strict=True)) == 1
            ),
        ),
    ],
    ids=["whole", "lost", "doubled", "swapped", "flipped"],
)
def test_what_damage_is(faults: Faults, is_damage: object) -> None:
    piece = bytes(range(256))
    assert callable(is_damage)
    assert is_damage(piece, faults.damaged(piece, random.Random(3)))


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def test_a_road_carries_cuts_hangs_and_mends() -> None:
    """Against an echo: whole, slow, cut, hanging, closed, mended, at another address."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, echo, 0)
        target = "127.0.0.1", listeners[0].socket.getsockname()[1]
        async with open_road("echo", 1, host="127.0.0.3", target=target) as road:
            assert await said(road) == b"hello"
            assert road.carried == 10
            road.faults = Faults(delay=(0.2, 0.3))
            began = trio.current_time()
            assert await said(road) == b"hello"
            assert trio.current_time() - began >= 0.4
            road.mend()
            async with await trio.open_tcp_stream(road.host, road.port) as stream:
                await stream.send_all(b"x")
                assert await stream.receive_some(1) == b"x"
                road.cut()
                with trio.fail_after(10):
                    assert await closes(stream)
            road.hang()
            with trio.move_on_after(0.3) as waited:
                await said(road)
            assert waited.cancelled_caught
            road.mend()
            assert await said(road) == b"hello"
            road.close()
            assert await said(road) == b""
            road.mend()
            road.faults = Faults(lose=1)
            with trio.move_on_after(0.3) as waited:
                await said(road)
            assert waited.cancelled_caught
            road.mend()
            assert await said(road) == b"hello"
        nursery.cancel_scope.cancel()


async def closes(stream: trio.SocketStream) -> bool:
    try:
        return await stream.receive_some(1) == b""
    except trio.BrokenResourceError:
        return True


async def said(road: Road) -> bytes:
    """What comes back of "hello" on a new connection; nothing where there is none."""
    async with await trio.open_tcp_stream(road.host, road.port) as stream:
        try:
            await stream.send_all(b"hello")
            return bytes(await stream.receive_some(100))
        except trio.BrokenResourceError:
            return b""


LISTEN = """
import socket, sys
with socket.create_server((sys.argv[1], 0)) as server:
    print(server.getsockname()[1], flush=True)
    peer, address = server.accept()
    peer.sendall(address[0].encode())
"""


@pytest.mark.slow
@pytest.mark.parametrize("isolated", [True, False], ids=["namespaces", "loopback"])
def test_places_have_addresses_of_their_own(
    isolated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process there is reached at its address, and sees the test at the gate."""
    import socket

    monkeypatch.setenv("OFCD_NAMESPACES", "1" if isolated else "0")
    with places(3) as made:
        if isolated and not made[0].is_isolated:
            pytest.skip("this machine does not let a test make network namespaces")
        assert len({place.host for place in made}) == 3
        for place in made:
            command = [*place.wrap, sys.executable, "-c", LISTEN, place.host]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                port = int(process.stdout.readline())
                with socket.create_connection((place.host, port), timeout=20) as stream:
                    seen = stream.recv(100).decode()
                process.wait(timeout=20)
            assert seen == place.gate
