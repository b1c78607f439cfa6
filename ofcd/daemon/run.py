"""The daemon on one screen: settings in, a running relay out."""

from __future__ import annotations

import errno
import signal
import sys
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field

import ofcd
from ofcd.config import Settings
from ofcd.daemon.connection import Connection
from ofcd.daemon.heads import HeadSigner
from ofcd.daemon.housekeeping import keep_house
from ofcd.daemon.hub import Hub
from ofcd.daemon.identity import Identity, drop_unfinished, load_or_make_identity
from ofcd.daemon.limits import connection_limits, relay_limits, relay_policy, serve_limits
from ofcd.daemon.log import get_log
from ofcd.daemon.metrics import Metrics
from ofcd.daemon.pages import make_pages
from ofcd.daemon.peers import Federation
from ofcd.daemon.peers.discovery import allowed_by, write_descriptor
from ofcd.daemon.peers.linking import Dial
from ofcd.daemon.web import WebPages, load_web
from ofcd.daemon.workers import Workers
from ofcd.errors import ConfigError
from ofcd.protocol.frames import Welcome
from ofcd.protocol.ids import Hash32
from ofcd.relay import Relay
from ofcd.session import RelaySession
from ofcd.store import Store
from ofcd.themis import generate_key
from ofcd.wire import (
    HttpRequest,
    HttpResponse,
    MessageStream,
    TrustedProxies,
    dial,
    open_listeners,
    serve,
    serve_stream,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Daemon", "milliseconds", "open_daemon", "run_until_stopped"]


_SWITCH_SECONDS: Final = 0.0005
"""How long a busy loop may keep a committing or verifying thread from the interpreter. At Python's
5 ms each trip to a thread costs about that much while the relay is busy."""


_DESCRIPTOR_MS: Final = 3_600_000
"""A page for other relays is signed once an hour, not once a request."""


def milliseconds() -> int:
    """The time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@define
class Daemon:
    """A running relay, not yet listening."""

    settings: Settings
    identity: Identity
    hub: Hub
    store: Store = field(repr=False)
    metrics: Metrics = field(repr=False)
    now: Callable[[], int] = field(repr=False)
    workers: Workers = field(repr=False)
    url: str = ""
    """Where clients reach it, once it listens."""
    federation: Federation | None = None
    _described: tuple[int, bytes] | None = None
    upkeep_troubles: dict[str, str] = field(factory=dict)
    """By job of the housekeeping, why its latest run failed."""

    @property
    def trouble(self) -> str | None:
        """What /healthz says is wrong; None while all is well."""
        return self.hub.trouble or next(iter(self.upkeep_troubles.values()), None)

    async def handle(self, stream: MessageStream) -> None:
        """Serve one link."""
        challenge = Hash32(generate_key())
        session = RelaySession(
            self.identity.keys,
            partial(self._welcome, challenge),
            frame_bytes=self.settings.limits.frame_bytes,
        )
        await Connection(self.hub.new_link(), challenge, stream, session, self.hub).run()

    async def serve(self, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen as the settings say, until cancelled; reports the URL once it listens."""
        relay = self.settings.relay
        web = await self.workers.run(load_web)
        try:
            listeners = await open_listeners(relay.host, relay.port)
        except OSError as error:
            raise _can_not_listen(relay.host, relay.port, error) from None
        self.url = self.settings.public_url
        if not relay.port and not relay.public_url:
            self.url = f"{self.url.removesuffix(':0')}:{bound_port(listeners[0])}"
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(
                    serve,
                    listeners,
                    self.handle,
                    self._pages(web),
                    limits=serve_limits(self.settings),
                    proxies=TrustedProxies(relay.trusted_proxies),
                    mishap=self.hub.report,
                )
            )
            task_status.started(self.url)

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one open stream as if it had been accepted: for tests in memory."""
        limits = serve_limits(self.settings)
        await serve_stream(
            stream, self.handle, self._pages(), limits=limits, mishap=self.hub.report
        )

    def _pages(self, web: WebPages | None = None) -> Callable[[HttpRequest], HttpResponse]:
        return make_pages(
            self.settings,
            self.identity,
            self.metrics,
            lambda: self.url,
            lambda: self.trouble,
            web,
            None if self.federation is None else self._descriptor,
        )

    def _descriptor(self) -> bytes:
        """This relay's page for others; written anew with each period, whose counter it bears."""
        now = self.now()
        if self._described is None or self._described[0] < now - _DESCRIPTOR_MS:
            name = self.settings.relay.name
            url = self.url or self.settings.public_url
            self._described = now, write_descriptor(self.identity, name, url, now)
        return self._described[1]

    def _welcome(self, challenge: Hash32, version: int) -> Welcome:
        return Welcome(
            version=version,
            challenge=challenge,
            relay_limits=relay_limits(self.settings),
            ts=self.now(),
            name=self.settings.relay.name,
            software=f"ofcd/{ofcd.__version__}",
            succession=self.identity.relay.statements,
        )


def _can_not_listen(host: str, port: int, error: OSError) -> ConfigError:
    fix = "is another relay running? Change relay.host or relay.port"
    if error.errno != errno.EADDRINUSE:
        fix = "set relay.host to an address of this machine, and relay.port to one you may use"
    return ConfigError(f"can not listen on {host}:{port} ({error.strerror or error}); {fix}")


def bound_port(listener: object) -> int:
    """The port that a plain TCP listener got."""
    if not isinstance(listener, trio.SocketListener):
        raise TypeError("not a TCP listener")
    port: int = listener.socket.getsockname()[1]
    return port


@asynccontextmanager
async def open_daemon(
    settings: Settings,
    *,
    now: Callable[[], int] = milliseconds,
    workers: Workers | None = None,
    dial_peer: Dial | None = None,
) -> AsyncIterator[Daemon]:
    """Open the store, load the identity, start the hub. Raises `ConfigError` or `StoreError`.

    `dial_peer` opens links to other relays; by default over the network, as the settings allow.
    """
    workers = workers or Workers()
    durability = settings.storage.durability
    store = await workers.run(partial(Store.open, settings.database_url, durability=durability))
    with store:
        drop_unfinished(settings.data_dir)  # under the lock: see `replace_key`
        identity = load_or_make_identity(settings.data_dir)
        metrics = Metrics()
        relay = Relay(identity.relay_id, relay_policy(settings), rooms=len(store.rooms()))
        hub = Hub(
            relay,
            store,
            limits=connection_limits(settings),
            metrics=metrics,
            heads=HeadSigner(identity, now, workers),
            now=now,
            workers=workers,
        )
        daemon = Daemon(settings, identity, hub, store, metrics, now, workers)
        if settings.federation.mode != "off":
            allowed = allowed_by(settings.federation.allow_private)
            daemon.federation = hub.federation = Federation(
                settings,
                identity,
                hub,
                relay,
                store,
                dial=dial_peer or partial(dial, allowed=allowed),
                url=lambda: daemon.url or settings.public_url,
                workers=workers,
                random=SystemRandom().random,
            )
        async with trio.open_nursery() as nursery:
            await nursery.start(hub.run)
            if daemon.federation is not None:
                await nursery.start(daemon.federation.run)
            nursery.start_soon(keep_house, daemon)
            yield daemon
            nursery.cancel_scope.cancel()


async def run_until_stopped(settings: Settings, listening: Callable[[Daemon], None]) -> None:
    """Run a relay until SIGINT or SIGTERM; `listening` is called once it takes links."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_daemon(settings) as daemon, trio.open_nursery() as nursery:
            await nursery.start(daemon.serve)
            listening(daemon)
            await anext(aiter(signals))
            get_log().info("stopping")
            await daemon.hub.stop()
            nursery.cancel_scope.cancel()
