"""A process of bots: vaults, clients, joins, reloads, metrics, and a stop in order (trio)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio
from attrs import frozen

from bots.bot import Bot
from bots.engine import open_engine
from bots.isolation import Orders, supervise
from bots.limits import Rate
from bots.loading import changed_at, load_bot, reload_bot, source_of
from bots.log import configure, get_log
from bots.metrics import Metrics
from bots.records import INVITES
from bots.settings import BotSettings, MetricsSettings, Settings, load_settings
from bots.table import build
from ofcd.client import (
    Client,
    ClientError,
    InviteCode,
    JoinFailed,
    Vault,
    open_client,
    parse_link,
)
from ofcd.client.keyfile import open_keyed_vault
from ofcd.client.process import first_of, metrics_page, wait_for_signal
from ofcd.errors import ConfigError, OfcError

__all__ = ["Job", "job_of", "run_all", "run_bot", "run_jobs", "run_one"]

LOOK_SECONDS: Final = 0.5
"""How often a bot's file is looked at, when it is to be reloaded on change."""


@frozen
class Job:
    """One bot to be run."""

    bot: Bot
    settings: BotSettings
    source: Path | None = None
    """Its file or folder, if changes are to be followed."""
    careful: bool = False
    """Its process ended badly last time."""


def run_bot(bot: Bot, config: str | None) -> int:
    """Run one bot of the caller's by a settings file; returns the exit code."""
    settings = load_settings(None if config is None else Path(config))
    if settings.bot[0].isolation == "process":
        raise ConfigError('isolation = "process" is for `ofc-bot run`, which imports no bot itself')
    return run_jobs([Job(bot, settings.bot[0])], settings)


def run_all(settings: Settings, *, reload: bool = False) -> int:
    """Run every [[bot]] of the settings; those to be isolated in processes of their own.

    Otherwise as `run_jobs`. An isolated bot that can not run keeps no other from it.
    """
    for one in settings.bot:
        if one.memory_limit and one.isolation != "process":
            raise ConfigError('memory_limit is for a [[bot]] with isolation = "process"')
    isolated = [one for one in settings.bot if one.isolation == "process"]
    jobs = [job_of(one, reload=reload) for one in settings.bot if one not in isolated]
    return run_jobs(jobs, settings, [Orders(one, settings.log, reload) for one in isolated])


def run_jobs(jobs: Sequence[Job], settings: Settings, isolated: Sequence[Orders] = ()) -> int:
    """Run bots until SIGTERM or SIGINT, then stop them in order; returns the exit code.

    Raises `OfcError` for what keeps a bot from running: its settings, its vault, its code.
    """
    if len({id(job.bot) for job in jobs}) < len(jobs):
        raise ConfigError(
            "two [[bot]] run the same module in one process, and would share its `bot`: give one "
            'of them isolation = "process"'
        )
    configure(settings.log.level, settings.log.format)
    try:
        trio.run(_main, jobs, isolated, settings.metrics)
    except* OfcError as group:
        raise first_of(group) from None
    return 0


async def _main(
    jobs: Sequence[Job], isolated: Sequence[Orders], metrics_settings: MetricsSettings
) -> None:
    metrics = Metrics()
    stop = trio.Event()
    with metrics_page(metrics.page, metrics_settings.address, metrics_settings.port):
        async with trio.open_nursery() as nursery:
            await nursery.start(wait_for_signal, stop)
            async with trio.open_nursery() as bots:
                for job in jobs:
                    bots.start_soon(run_one, job, metrics, stop)
                for orders in isolated:
                    bots.start_soon(supervise, orders, metrics, stop)
            nursery.cancel_scope.cancel()


async def run_one(job: Job, metrics: Metrics, stop: trio.Event) -> None:
    """One bot on its vault, until `stop`; again with its new code whenever that changes."""
    build(job.bot)  # before anything is opened: its mistakes are the first to be known
    with open_vault(job.settings) as vault:
        async with open_client(vault, software="ofc-bot") as client, trio.open_nursery() as nursery:
            nursery.start_soon(_join_all, job, client)
            await _lives(job, client, metrics, stop)
            nursery.cancel_scope.cancel()


async def _lives(job: Job, client: Client, metrics: Metrics, stop: trio.Event) -> None:
    """The bot, and after each change of its code the new one, or if that fails the last again."""
    bot: Bot | None = job.bot
    last: Bot | None = None
    while bot is not None:
        up = trio.Event()
        try:
            bot, last = await _life(job, bot, client, metrics, stop, up), bot
        except Exception as error:  # whatever the new code's start may raise
            if up.is_set() or last is None:
                raise
            log = get_log(job.bot.name)
            log.error("the changed code does not start, the old one runs on", exc_info=error)
            bot, last = last, None


async def _life(
    job: Job, bot: Bot, client: Client, metrics: Metrics, stop: trio.Event, up: trio.Event
) -> Bot | None:
    """One version of the bot, until there is another or it is to stop (None)."""
    _apply(bot, job.settings)
    grace, careful = job.settings.grace, job.careful
    # Looked at before it starts: a change while it does is one.
    seen = None if job.source is None else await trio.to_thread.run_sync(changed_at, job.source)
    async with open_engine(bot, client, metrics=metrics, grace=grace, careful=careful):
        up.set()
        get_log(bot.name).info("running", rooms=len(client.rooms))
        return await _until_changed(job, seen, stop)


def open_vault(settings: BotSettings) -> Vault:
    """The bot's vault; made with its key at the first start."""
    return open_keyed_vault(Path(settings.vault), Path(settings.key_file))


def _apply(bot: Bot, settings: BotSettings) -> None:
    bot.options.update(settings.options)
    bot.tables_limit = settings.tables_limit
    bot.outbound = Rate.parse(settings.outbound)
    bot.prefix = settings.prefix or bot.prefix
    bot.timezone = settings.timezone or bot.timezone


async def _join_all(job: Job, client: Client) -> None:
    """Use the invites of rooms it is not in (any more), each once: the vault knows of the old."""
    log = get_log(job.bot.name)
    inside = {room.id for room in client.rooms if room.status.is_open}
    async with trio.open_nursery() as nursery:
        for link in job.settings.join:
            try:
                code = parse_link(link)
            except OfcError as error:
                log.error("an invite link in the settings is none", detail=str(error))
                continue
            used = client.vault.get(INVITES, code.invite_id) is not None
            if code.room not in inside and not used:
                nursery.start_soon(_join, job.bot.name, client, code)


async def _join(name: str, client: Client, code: InviteCode) -> None:
    log = get_log(name)
    try:
        await client.join(code, name=name)
    except ClientError as error:
        log.error("could not join a room; ask for a new invite", code=error.code, detail=str(error))
        if not isinstance(error, JoinFailed):
            return  # it may still be good for something
        became = error.code
    else:
        log.info("joined a room")
        became = "joined"
    with client.transaction() as tx:
        tx.put(INVITES, code.invite_id, became.encode())


async def _until_changed(job: Job, seen: tuple[int, ...] | None, stop: trio.Event) -> Bot | None:
    """Wait for a version of the bot's code other than `seen` that loads; None: it is to stop."""
    if job.source is None:
        await stop.wait()
        return None
    log = get_log(job.bot.name)
    while True:
        with trio.move_on_after(LOOK_SECONDS):
            await stop.wait()
        if stop.is_set():
            return None
        now = await trio.to_thread.run_sync(changed_at, job.source)
        if now == seen:
            continue
        seen = now
        try:
            bot = reload_bot(job.settings.code)
            build(bot)
        except OfcError as error:
            log.error("the changed code is not taken, the old one runs on", detail=str(error))
        else:
            log.info("reloaded")
            return bot


def job_of(settings: BotSettings, *, reload: bool) -> Job:
    """The bot that settings name."""
    source = source_of(settings.code) if reload else None
    return Job(load_bot(settings.code), settings, source)
