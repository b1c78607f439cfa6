"""Runs a command: here, with the vault open, or in the process that has it open already."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Final

import trio
from attrs import frozen

import ofcd
from ofcd.client import (
    Client,
    EventStream,
    LinkState,
    LinkStateChanged,
    RelayKeyChanged,
    TooSlow,
    Vault,
    VaultLocked,
    VaultMissing,
    VaultUnwritable,
    open_client,
)
from ofcd.ofc.agent import Agent, Request, connect, hand_over
from ofcd.ofc.command import Command, Local, Options
from ofcd.ofc.commands import BY_NAME
from ofcd.ofc.console import Input, Output
from ofcd.ofc.context import Context
from ofcd.ofc.errors import AgentGone, CommandError, TimedOut
from ofcd.ofc.held import Held, Interrupted
from ofcd.ofc.parser import Invocation
from ofcd.ofc.passphrase import obtain
from ofcd.protocol.codec import build, unbuild

__all__ = ["Front", "Host", "run"]

_LOCK_SECONDS: Final = 30
"""How long a vault may be busy with another short command."""
_LOCK_POLL_SECONDS: Final = 0.1
_STOPS: Final = (signal.SIGINT, signal.SIGTERM)


Front = Callable[[], AbstractAsyncContextManager[tuple[Output, Input]]]
"""Opens the person's side of a command, once no passphrase has to be asked for any more."""


async def run(invocation: Invocation, output: Output, front: Front) -> None:
    """Do what the command line says. Raises what went wrong, or `Interrupted`."""
    command = invocation.command
    if command.local is not None:
        local = Local(invocation.vault, invocation.passphrase_file, output)
        await command.local(local, invocation.options)
        return
    while True:
        try:
            await _run(invocation, output, front)
            return
        except AgentGone:
            if not command.goes_on:
                raise
            await trio.sleep(_LOCK_POLL_SECONDS)


async def _run(invocation: Invocation, output: Output, front: Front) -> None:
    """Run the command here, or in the process that has the vault open."""
    command = invocation.command
    stream, vault = await _within_patience(invocation, output)
    held = Held()
    with vault or contextlib.nullcontext():
        async with front() as (there, inputs), _stoppable():
            with held:
                if stream is not None:
                    request = Request(command.name, unbuild(invocation.options))
                    await hand_over(stream, request, there, inputs)
                elif vault is not None:
                    await _run_here(vault, invocation, there, inputs)
    held.release()


# -- the vault, or who has it ----------------------------------------------------------------------


async def _within_patience(
    invocation: Invocation, output: Output
) -> tuple[trio.SocketStream | None, Vault | None]:
    seconds = invocation.options.timeout or _LOCK_SECONDS
    with trio.move_on_after(seconds):
        return await _agent_or_vault(invocation, output)
    raise VaultLocked(str(invocation.vault), None)


async def _agent_or_vault(
    invocation: Invocation, output: Output
) -> tuple[trio.SocketStream | None, Vault | None]:
    """The one or the other; waits while another short command has the vault."""
    secret: str | None = None
    while True:
        stream = await connect(invocation.vault)
        if stream is not None:
            return stream, None
        try:
            if secret is None:
                secret = await _secret(invocation, output)
            opener = Vault.open if invocation.vault.exists() else _create
            return None, await trio.to_thread.run_sync(partial(opener, invocation.vault, secret))
        except VaultLocked:
            await trio.sleep(_LOCK_POLL_SECONDS)


async def _secret(invocation: Invocation, output: Output) -> str:
    """The passphrase. Raises `VaultMissing` where there is no vault and none is to be made."""
    path = invocation.vault
    new = not path.exists()
    if new and not invocation.command.creates_vault:
        raise VaultMissing(
            f"there is no vault at {path} yet: begin with `ofc create NAME` or `ofc join LINK`"
        )
    if new:
        await output.note(
            f"A new vault for your keys and rooms is made at {path}. Nobody can open it without "
            "its passphrase, and nobody can recover that."
        )
    return obtain(invocation.passphrase_file, new=new)


def _create(path: Path, secret: str) -> Vault:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise VaultUnwritable(f"{path.parent} can not be made ({error.strerror})") from error
    return Vault.create(path, secret)


# -- here ------------------------------------------------------------------------------------------


async def _run_here(vault: Vault, invocation: Invocation, output: Output, inputs: Input) -> None:
    """Run the command on a client of our own, and meanwhile those of others if it lasts."""
    command, options = invocation.command, invocation.options
    held = Held()
    async with (
        open_client(vault, patience=float("inf"), software=f"ofc/{ofcd.__version__}") as client,
        trio.open_nursery() as nursery,
    ):
        with held:
            host = Host(client)
            if command.lasts(options):
                await _listen(nursery, Agent(vault.path, host.handle), output)
            await host.execute(command, options, output, inputs)
        nursery.cancel_scope.cancel()
    held.release()


async def _listen(nursery: trio.Nursery, agent: Agent, output: Output) -> None:
    """Serve other commands; without that, they have to wait."""
    try:
        listening = agent.listen()
    except CommandError as error:
        await output.note(f"{error}: other ofc commands on this vault have to wait")
        return
    await nursery.start(agent.serve, listening)


@frozen
class Host:
    """Runs commands on one client."""

    client: Client

    async def handle(self, request: Request, output: Output, inputs: Input) -> None:
        """A guest's command (agent.Handler). Raises what went wrong."""
        command = BY_NAME.get(request.command)
        if command is None or command.run is None:
            raise CommandError(f"no command {request.command!r} can be handed over")
        await self.execute(command, build(command.options, request.options), output, inputs)

    async def execute(
        self, command: Command, options: Options, output: Output, inputs: Input
    ) -> None:
        """Run a command within its time. Raises `TimedOut` when that is over."""
        if command.run is None:
            raise CommandError(f"{command.name} needs the vault to itself")
        seconds = options.timeout or command.timeout or float("inf")
        context = Context(self.client, output, inputs, patience=seconds)
        context.scope.deadline = trio.current_time() + seconds
        held = Held()
        async with trio.open_nursery() as nursery:
            await nursery.start(_tell_of_link, context)
            await nursery.start(_tell_of_keys, context)
            self.client.retry_now()  # a person is waiting: longer than they would is no use
            with context.scope, held:
                await command.run(context, options)
            nursery.cancel_scope.cancel()
        held.release()
        if context.scope.cancelled_caught:
            raise _late(context, seconds, command.if_late(options))


def _late(context: Context, seconds: float, advice: str) -> TimedOut:
    who = context.relay_url or "the relay"
    put_off = context.put_off(context.relay_url)
    if put_off:
        return TimedOut(f"not done within {seconds:g} s: {who} says: {put_off}. {advice}".rstrip())
    detail = context.offline_detail(context.relay_url)
    why = f" ({detail})" if detail else ""
    return TimedOut(f"no answer from {who} within {seconds:g} s{why}. {advice}".rstrip())


async def _tell_of_link(
    context: Context, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Say once that the relay this command waits for can not be reached."""
    events = context.client.events()
    task_status.started()
    while not await _told_of_link(context, events):
        events = context.client.events()


async def _told_of_link(context: Context, events: EventStream) -> bool:
    """Whether it was said; False if events came too fast to be looked at."""
    with events, contextlib.suppress(TooSlow):
        async for event in events:
            if not isinstance(event, LinkStateChanged) or event.url != context.relay_url:
                continue
            if event.state is LinkState.OFFLINE and event.detail:
                await context.note(f"{event.url}: {event.detail}. Trying on…")
                return True
    return False


async def _tell_of_keys(
    context: Context, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Say what becomes known of relays' keys: the client tells each thing once."""
    events = context.client.events()
    task_status.started()
    while True:
        with events, contextlib.suppress(TooSlow):
            async for event in events:
                if isinstance(event, RelayKeyChanged):
                    await context.note(event.text)
        events = context.client.events()


@contextlib.asynccontextmanager
async def _stoppable() -> AsyncIterator[None]:
    """Raises `Interrupted` after the block was cancelled by SIGINT or SIGTERM.

    One that was ignored stays so: a shell starts its background commands without SIGINT, because
    a Ctrl-C is meant for the command in front.
    """
    wanted = [s for s in _STOPS if signal.getsignal(s) is not signal.SIG_IGN]
    interrupted = ""

    async def watch(task_status: trio.TaskStatus[None]) -> None:
        nonlocal interrupted
        if not wanted:
            task_status.started()
            return
        with trio.open_signal_receiver(*wanted) as signals:
            task_status.started()
            interrupted = signal.Signals(await anext(aiter(signals))).name
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        await nursery.start(watch)
        yield
        nursery.cancel_scope.cancel()
    if interrupted:
        raise Interrupted(interrupted)
