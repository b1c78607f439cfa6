"""A relay and any number of clients, joined in memory."""

from __future__ import annotations

import random
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import Final, TypeVar

import trio
import trio.testing
from attrs import field, frozen

from ofcd.client import Client, open_client
from ofcd.client.vault import Vault
from ofcd.config import Federation, Limits, Settings
from ofcd.config import Relay as RelaySettings
from ofcd.daemon.run import Daemon, open_daemon
from ofcd.daemon.workers import Workers
from ofcd.store import migrate
from ofcd.store.engine import database_path, make_files
from ofcd.testing.crashes import Countdown
from ofcd.testing.line import Line
from ofcd.wire import LinkLimits, MessageStream, Unreachable, client_stream

__all__ = ["World", "open_net", "open_world"]

T = TypeVar("T")
URL: Final = "ws://relay.test:5103"
_EPOCH_MS: Final = 1_800_000_000_000
"""When a world begins; its clock then runs with trio's, which a test may make virtual."""
_VAULT_KEY: Final = bytes(range(32))


class Inline(Workers):
    """Does the daemon's blocking work in place: a virtual clock must not run on meanwhile."""

    async def run(self, work: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
        """The result of `work()`."""
        await trio.lowlevel.checkpoint()
        return work()


class World:
    """One relay, its clients, and the network between them, which can be cut."""

    url: str = URL

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        nursery: trio.Nursery,
        url: str = URL,
        net: dict[str, World] | None = None,
    ) -> None:
        """Use `open_world`; `net` holds, by URL, the relays that can be dialled from here."""
        self.url = url
        self.net = {url: self} if net is None else net
        self.to_relays: defaultdict[str, Line] = defaultdict(Line)
        """The relay's own way to others, by URL."""
        self.folder = folder
        self.settings = settings
        self.daemon: Daemon | None = None
        self.reachable = True
        """Whether new links can be opened."""
        self.lines: defaultdict[str, Line] = defaultdict(Line)
        """Each client's way to the relay, by name; it outlives the client's links."""
        self.random = random.Random(0)  # noqa: S311 - jitter, no secret
        """What clients jitter by."""
        self._nursery = nursery
        self._links: set[trio.CancelScope] = set()
        self._clients: dict[str, _Running] = {}
        self._relay_stopped = trio.Event()
        self._stop_relay = trio.CancelScope()
        # Both ends of a link ask as seldom: who makes the one patient means the other as well.
        self._link_limits = LinkLimits(idle_ping_seconds=settings.limits.idle_ping_seconds)

    def now(self) -> int:
        """The world's clock, in milliseconds since 1970."""
        return _EPOCH_MS + int(trio.current_time() * 1000)

    # -- the relay -------------------------------------------------------------------------------

    async def start_relay(self) -> None:
        """Start the relay on what its store holds."""
        _give_store(self.settings.database_url)
        await self._nursery.start(self._run_relay)

    async def _run_relay(self, task_status: trio.TaskStatus[None]) -> None:
        self._relay_stopped = trio.Event()
        self._stop_relay = trio.CancelScope()
        try:
            with self._stop_relay:
                async with open_daemon(
                    self.settings, now=self.now, workers=Inline(), dial_peer=self._dial_peer
                ) as daemon:
                    self.daemon = daemon
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            self.daemon = None
            self._relay_stopped.set()

    async def stop_relay(self) -> None:
        """Stop the relay; links break as they do when a process dies."""
        self.daemon = None  # who dials now reaches nobody, and not the one that is about to end
        self.cut_links()
        self._stop_relay.cancel()
        await self._relay_stopped.wait()

    def kill_relay(self, seconds: float = 1.0) -> None:
        """The relay is dead, in the midst of whatever it did; it is started again later."""
        self.daemon = None
        for line in (*self.lines.values(), *self.to_relays.values()):
            line.cut()
        self.cut_links()
        self._stop_relay.cancel()
        self._nursery.start_soon(self._revive, seconds)

    async def _revive(self, seconds: float) -> None:
        stopped = self._relay_stopped
        await stopped.wait()
        await trio.sleep(seconds)
        if self._relay_stopped is stopped:  # else it was started by another hand meanwhile
            await self.start_relay()

    async def restart_relay(self) -> None:
        """Stop the relay and start it again."""
        await self.stop_relay()
        await self.start_relay()

    # -- the network -----------------------------------------------------------------------------

    def cut_links(self) -> None:
        """Break every link that is open; new ones can be opened."""
        for scope in list(self._links):
            scope.cancel()

    def dial(self, url: str) -> AbstractAsyncContextManager[MessageStream]:
        """Open a link to the world's relay, as `ofcd.wire.dial` does to a real one."""
        return self._dial(Line(), url)

    def _dial_peer(self, url: str) -> AbstractAsyncContextManager[MessageStream]:
        return self._dial(self.to_relays[url], url)

    @asynccontextmanager
    async def _dial(self, line: Line, url: str) -> AsyncIterator[MessageStream]:
        there = self.net.get(url)
        if there is None or there.daemon is None or not there.reachable or not line.up:
            raise Unreachable(f"{url}: nothing answers there")
        ours, inner = trio.testing.memory_stream_pair()
        theirs = line.attach(inner)
        scope = trio.CancelScope()
        there._links.add(scope)
        there._nursery.start_soon(there._carry, there.daemon, theirs, scope)
        try:
            async with client_stream(ours, limits=self._link_limits) as stream:
                yield stream
        finally:
            scope.cancel()

    async def _carry(
        self, daemon: Daemon, stream: trio.abc.Stream, scope: trio.CancelScope
    ) -> None:
        try:
            with scope:
                await daemon.serve_stream(stream)
        finally:
            self._links.discard(scope)
            await trio.aclose_forcefully(stream)

    # -- clients ---------------------------------------------------------------------------------

    async def client(
        self, name: str, *, patience: float = 30.0, die_after: int | None = None
    ) -> Client:
        """A running client with a vault of its own; the same name again is the same vault.

        `die_after`: it dies after that many steps, from await to await, as by SIGKILL.
        """
        running = _Running()
        self._clients[name] = running
        client: Client = await self._nursery.start(
            self._run_client, name, patience, running, die_after
        )
        return client

    async def _run_client(
        self,
        name: str,
        patience: float,
        running: _Running,
        die_after: int | None,
        task_status: trio.TaskStatus[Client],
    ) -> None:
        try:
            with running.scope, _open_vault(self.folder / f"{name}.vault") as vault:
                async with open_client(
                    vault,
                    dial=partial(self._dial, self.lines[name]),
                    clock=self.now,
                    random=self.random.random,
                    patience=patience,
                ) as client:
                    task_status.started(client)
                    await self._live(running, vault, die_after)
        except BaseException:
            # What a dead process would still have said is nobody's business.
            if not running.died.is_set():
                raise
        finally:
            running.stopped.set()

    async def _live(self, running: _Running, vault: Vault, die_after: int | None) -> None:
        if die_after is None:
            await trio.sleep_forever()

        def die() -> None:
            running.died.set()
            vault.close()  # from here on nothing reaches the disk, whatever still runs
            running.scope.cancel()

        # The nursery of `open_client` is entered by this task: its tasks are below this one.
        countdown = Countdown(trio.lowlevel.current_task(), die)
        countdown.left = die_after
        with countdown.counting():
            await trio.sleep_forever()

    async def client_dies(self, name: str, within: float) -> bool:
        """Wait for a client that was started with `die_after`; whether it died in that time."""
        running = self._clients[name]
        with trio.move_on_after(within):
            await running.stopped.wait()
        return running.died.is_set()

    async def stop_client(self, name: str) -> None:
        """Stop a client; its vault stays."""
        running = self._clients.pop(name)
        running.scope.cancel()
        await running.stopped.wait()

    async def close(self) -> None:
        """Stop every client."""
        for name in list(self._clients):
            await self.stop_client(name)


@frozen
class _Running:
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    stopped: trio.Event = field(factory=trio.Event)
    died: trio.Event = field(factory=trio.Event)


def _give_store(url: str) -> None:
    """A database as a relay makes it, where there is none: to make each costs a test's tenth."""
    path = database_path(url)
    if not path.exists():
        make_files(path)
        path.write_bytes(_new_database())


@cache
def _new_database() -> bytes:
    """One that holds nothing yet."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "relay.sqlite"
        migrate.upgrade(f"sqlite:///{path}")
        return path.read_bytes()


def _open_vault(path: Path) -> Vault:
    return Vault.open(path, _VAULT_KEY) if path.exists() else Vault.create(path, _VAULT_KEY)


@asynccontextmanager
async def open_net(
    folder: Path, *names: str, change: Callable[[str, Settings], Settings] | None = None
) -> AsyncIterator[list[World]]:
    """Relays that talk to each other, each with clients of its own: one world for each name.

    `change` adjusts the settings of the relay called so.
    """
    net: dict[str, World] = {}
    async with trio.open_nursery() as nursery:
        for name in names:
            url = f"ws://{name}.test:5103"
            home = folder / name
            home.mkdir()
            settings = Settings(
                relay=RelaySettings(name=name, public_url=url, data_dir=str(home / "relay")),
                limits=Limits(handshakes_per_minute_per_ip=1_000_000),
                federation=Federation(mode="open"),
            )
            if change is not None:
                settings = change(name, settings)
            net[url] = World(home, settings, nursery, url, net)
        worlds = list(net.values())
        for world in worlds:
            await world.start_relay()
        try:
            yield worlds
        finally:
            with trio.CancelScope(shield=True):
                for world in worlds:
                    await world.close()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_world(
    folder: Path, change: Callable[[Settings], Settings] | None = None
) -> AsyncIterator[World]:
    """A world whose relay runs; files go into `folder`. `change` adjusts the relay's settings."""
    settings = Settings(
        relay=RelaySettings(public_url=URL, data_dir=str(folder / "relay")), limits=Limits()
    )
    if change is not None:
        settings = change(settings)
    async with trio.open_nursery() as nursery:
        world = World(folder, settings, nursery)
        await world.start_relay()
        try:
            yield world
        finally:
            with trio.CancelScope(shield=True):
                await world.close()
        nursery.cancel_scope.cancel()
