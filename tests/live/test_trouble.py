"""Disks and starts that fail: a clear sentence, a meaningful exit code, nothing lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from ofcd.client import Offline, Room
from tests.live.support import Relay, client, keep_trying, namespace, settle, texts, until

pytestmark = [pytest.mark.live, pytest.mark.slow]

EXIT_STORE = 4


async def test_a_full_disk_and_then_space_again(tmp_path: Path) -> None:
    """On a disk of 3 MiB that fills: no ACK, a 503 that says why, no loss; then it goes on."""
    relay = on_own_disk(tmp_path, "size=3m")
    relay.start()
    disk = Path(f"/proc/{relay.pid}/root{relay.data}")
    try:
        async with (
            client(tmp_path / "ana.vault", patience=3) as ana,
            client(tmp_path / "bo.vault") as bo,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(keep_trying, ana, bo)
            tea = await ana.create_room(relay.url, "tea", my_name="Ana")
            at_bo = await bo.join(await tea.invite(), name="Bo")
            said = ["before"]
            await tea.send(said[0])
            await settle(tea, at_bo)
            fill(disk / "ballast")
            with pytest.raises(Offline):
                await say_until_refused(tea, said)
            acknowledged = said[:-1]
            await until(lambda: at_bo.head >= tea.head)
            assert texts(at_bo) == acknowledged
            assert "no space is left" in relay.log.read_text()
            assert "Traceback" not in relay.log.read_text()
            (disk / "ballast").unlink()
            await settle(tea, at_bo, seconds=60)
            assert texts(at_bo) == texts(tea) == said
            assert relay.get("/healthz")[0] == 200
            await at_bo.send("and on")
            nursery.cancel_scope.cancel()
        assert relay.stop() == 0
    finally:
        relay.kill()


async def say_until_refused(room: Room, said: list[str]) -> None:
    """Say long things until the relay takes no more."""
    while True:
        said.append(f"{len(said)} " + "x" * 10_000)
        await room.send(said[-1])


def fill(path: Path) -> None:
    """Leave no space on the disk of `path`."""
    with path.open("wb", buffering=0) as ballast:
        size = 1 << 16
        while size:
            try:
                ballast.write(bytes(size))
            except OSError:
                size //= 2


def test_a_read_only_disk_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A database that can not be written: exit code 4, what to do, and no byte changed."""
    relay = Relay(tmp_path)
    relay.start()
    assert relay.stop() == 0
    before = contents(relay.data)
    mount = f"mount --bind -o ro {relay.data} {relay.data}"
    remount = f"mount -o remount,bind,ro {relay.data}"
    script = f'{mount} && {remount} && exec "$@"'
    relay.wrap = (*namespace(), "sh", "-c", script, "sh")
    code, said = relay.run()
    assert code == EXIT_STORE, said
    assert said.startswith("ofcd: the database")
    assert "not mounted read-only" in said
    assert said.count("\n") == 1
    assert contents(relay.data) == before


@pytest.mark.parametrize("damage", ["head", "middle", "text"])
def test_a_damaged_database_is_refused_and_left_alone(tmp_path: Path, damage: str) -> None:
    """Not a database, or a torn one: exit code 4, what to do, and the file stays as it is."""
    relay = Relay(tmp_path)
    relay.start()
    assert relay.stop() == 0
    database = relay.data / "ofcd.db"
    raw = bytearray(database.read_bytes())
    match damage:
        case "head":
            raw[:100] = os.urandom(100)
        case "middle":
            raw[100:4096] = os.urandom(4096 - 100)
        case "text":
            raw = bytearray(b"this was a database once\n" * 1000)
    database.write_bytes(raw)
    code, said = relay.run()
    assert code == EXIT_STORE, said
    assert "put a backup in its place" in said
    assert said.count("\n") == 1
    assert database.read_bytes() == raw


@pytest.mark.parametrize("left", [0, 16_000])
def test_a_disk_that_is_full_at_the_start(tmp_path: Path, left: int) -> None:
    """No space for a first start, be it for the key or the database: exit code 4, a sentence."""
    script = (
        f"mkdir -p {tmp_path}/data && mount -t tmpfs -o size=64k tmpfs {tmp_path}/data"
        f' && head -c {(1 << 16) - left} /dev/zero > {tmp_path}/data/ballast; exec "$@"'
    )
    relay = Relay(tmp_path, wrap=(*namespace(), "sh", "-c", script, "sh"))
    code, said = relay.run()
    assert code == EXIT_STORE, said
    assert said.startswith("ofcd: ")
    assert "no space is left" in said
    assert said.count("\n") == 1


async def test_a_stop_under_load_loses_nothing(relay: Relay, tmp_path: Path) -> None:
    """SIGTERM amid sending: exit code 0, quickly; all that was acknowledged is there afterwards."""
    async with (
        client(tmp_path / "ana.vault") as ana,
        client(tmp_path / "bo.vault") as bo,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(keep_trying, ana, bo)
        tea = await ana.create_room(relay.url, "tea", my_name="Ana")
        at_bo = await bo.join(await tea.invite(), name="Bo")
        said: list[str] = []

        async def talk() -> None:
            while True:
                said.append(f"message {len(said)}")
                await tea.send(said[-1])

        for _ in range(3):
            async with trio.open_nursery() as talking:
                talking.start_soon(talk)
                await trio.sleep(0.3)
                began = trio.current_time()
                assert await trio.to_thread.run_sync(relay.stop) == 0
                assert trio.current_time() - began < 5
                talking.cancel_scope.cancel()
            await trio.to_thread.run_sync(relay.start)
            await settle(tea, at_bo)
            assert texts(at_bo) == texts(tea) == said
        assert "Traceback" not in relay.log.read_text()
        nursery.cancel_scope.cancel()


def test_pages(relay: Relay) -> None:
    """/healthz, /metrics, /about and / say what they should; what is not there is not there."""
    assert relay.get("/healthz") == (200, b"ok\n")
    assert relay.get("/")[0] == 200
    status, page = relay.get("/about")
    assert status == 200
    assert relay.url.encode() in page
    status, metrics = relay.get("/metrics")
    assert status == 200
    assert b"# TYPE ofcd_links gauge" in metrics
    assert relay.get("/nothing")[0] == 404


def on_own_disk(folder: Path, options: str) -> Relay:
    """A relay whose data stand on a small disk of their own."""
    data = folder / "data"
    script = f'mkdir -p {data} && mount -t tmpfs -o {options} tmpfs {data} && exec "$@"'
    return Relay(folder, wrap=(*namespace(), "sh", "-c", script, "sh"))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
