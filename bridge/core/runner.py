"""A process of bridges: vault, client, joins, metrics, and a stop in order (trio)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import trio

from bridge.core.checking import check_portals, check_rooms
from bridge.core.engine import Engine
from bridge.core.links.checking import check_links
from bridge.core.metrics import Metrics
from bridge.core.network import Finding, Network
from bridge.core.settings import Settings
from ofcd.client import Client, ClientError, open_client, parse_link
from ofcd.client.applog import configure, get_log
from ofcd.client.keyfile import open_keyed_vault
from ofcd.client.process import first_of, metrics_page, wait_for_signal
from ofcd.errors import OfcError

__all__ = ["check", "run"]

_LOOK_SECONDS: Final = 0.1


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; raises `OfcError` for what keeps it from running."""
    configure(settings.log.level, settings.log.format)
    try:
        trio.run(_main, settings)
    except* OfcError as group:
        raise first_of(group) from None


async def _main(settings: Settings) -> None:
    metrics = Metrics()
    stop = trio.Event()
    own = settings.bridge
    with (
        metrics_page(metrics.registry, settings.metrics.address, settings.metrics.port),
        open_keyed_vault(Path(own.vault), Path(own.key_file)) as vault,
    ):
        async with open_client(vault, software="ofc-bridge") as client, trio.open_nursery() as all_:
            await all_.start(wait_for_signal, stop)
            all_.start_soon(_join_all, settings, client)
            engine = Engine(settings, client, settings.make_networks(), metrics)
            get_log("bridge").info("running", rooms=len(client.rooms))
            all_.start_soon(engine.run)
            await stop.wait()
            with trio.move_on_after(own.grace):
                while not engine.is_idle():  # noqa: ASYNC110 - many things make it idle
                    await trio.sleep(_LOOK_SECONDS)
            all_.cancel_scope.cancel()


async def _join_all(settings: Settings, client: Client) -> None:
    """Use the invites of rooms it is not in yet; one that is refused is not tried again."""
    log = get_log("bridge")
    async with trio.open_nursery() as nursery:
        for link in settings.bridge.join:
            try:
                code = parse_link(link)
            except OfcError as error:
                log.error("an invite link in the settings is none", detail=str(error))
                continue
            if code.room not in {room.id for room in client.rooms}:
                nursery.start_soon(_join, settings.bridge.name, client, link)


async def _join(name: str, client: Client, link: str) -> None:
    log = get_log("bridge")
    try:
        await client.join(link, name=name)
    except ClientError as error:
        log.error("could not join a room; ask for a new invite", code=error.code, detail=str(error))
    else:
        log.info("joined a room")


def check(settings: Settings) -> list[Finding]:
    """Connect to every network as configured, and say what is well and what is not."""
    findings: list[Finding] = []
    networks: list[Network[Any, Any]] = list(settings.make_networks().values())

    async def all_of_them() -> None:
        await check_rooms(settings.bridge, findings.append)
        await check_portals(settings, findings.append)
        for network in networks:
            await network.check(findings.append)
        await check_links(settings.links, lambda good, text: findings.append(Finding(good, text)))

    trio.run(all_of_them)
    return findings
