"""Reaching a room whose relay is gone, or was moved: at home elsewhere, or at another hub.

Here is what is tried, in turn; `moving` is what is kept of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from ofcd.client.core import refusal
from ofcd.client.errors import BadInvite, Offline, RelayRefused, RoomFrozen
from ofcd.client.events import RoomStatus
from ofcd.client.moving import begin_trial, end_trial, relocate
from ofcd.protocol.addresses import is_address
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import RelayId, RoomId

if TYPE_CHECKING:
    from ofcd.client.client import Client

__all__ = ["move_home", "move_hub", "try_at"]

T = TypeVar("T")

_GONE_SECONDS: Final = 15.0
"""How long the relay so far is tried, before the room's own is asked to move from it."""
_HUB_SECONDS: Final = 30.0
"""The same of the room's own, before it is taken for gone."""


async def move_home(client: Client, room: RoomId, url: str, relay_id: RelayId | None) -> None:
    """See `Room.move_home`."""
    home = await client.relay_at(url, relay_id)
    try:
        await _reach(client, room)
    except (Offline, RelayRefused, RoomFrozen):
        # Root may have moved the room there, or away from what is known here: it says where.
        await try_at(client, room, url, home, lambda: _live_there(client, room))
    core = client._core(room)
    if core.state.member(core.me).home != home:
        with client._turn(client._connection(room)) as turn:
            core.save_head(turn, moving=(url, home))
        await client.room(room)._say_home(home)
    elif core.identity.relay_id != home:
        with client._turn(client._connection(room)) as turn:
            relocate(turn, core, url, home)
    await client._live(room, client.patience)


async def move_hub(client: Client, room: RoomId, url: str, relay_id: RelayId | None) -> None:
    """See `Room.move_hub`."""
    if not is_address(url):
        raise BadInvite("a room moves to ws:// or wss://, a host, maybe a port and a path")
    hub = await client.relay_at(url, relay_id)
    await _reach(client, room)
    state, me = client._core(room).state, client._core(room).me
    if state.root != me or state.policy.local_only:
        raise refusal(Code.FORBIDDEN.value)
    if hub not in state.homes.values():
        await move_home(client, room, url, hub)
    await client.room(room)._say_hub(hub, url)


async def _reach(client: Client, room: RoomId) -> None:
    """Have the room live: at its relay, or, where that is gone, straight at the room's own."""
    core = client._core(room)
    if not core.is_away:
        await _live_or_gone(client, room, _HUB_SECONDS)
        return
    try:
        await _live_or_gone(client, room)
    except (Offline, RelayRefused):
        # Whose relay comes back before the room's own can be reached stays there.
        await client.relay_at(core.identity.invite_url, core.state.hub)
        home = core.identity.relay_url, core.identity.relay_id
        with client._turn(client._connection(room)) as turn:
            relocate(turn, core, core.identity.invite_url, core.state.hub)
        try:
            await _live_at_hub(client, room)
        except BaseException:  # also where nobody waits any more: it was not moved
            with client._turn(client._connection(room)) as turn:
                relocate(turn, client._core(room), *home)
            raise


async def _live_there(client: Client, room: RoomId) -> None:
    """The same at a relay that is tried, which thaws the room if it was frozen."""
    await _live_at_hub(client, room)
    client._machine(room).check_open()


async def _live_or_gone(
    client: Client, room: RoomId, seconds: float = _GONE_SECONDS, deadline: float = inf
) -> None:
    """The same at a relay that may be gone, or behind: while it goes on, it is waited for.

    Who waits without end for an outcome does not do so for a relay that is gone.
    """
    deadline = min(deadline, trio.current_time() + client.patience)
    while True:
        before = client._core(room).head.seq
        try:
            await client._live(room, min(deadline - trio.current_time(), seconds))
            return
        except Offline:
            if client._core(room).head.seq == before or trio.current_time() >= deadline:
                raise


async def _live_at_hub(client: Client, room: RoomId) -> None:
    """The same; where that was the hub, and is no more, at the one it names, and so on.

    All of that together takes no longer than one would wait for the first.
    """
    deadline = trio.current_time() + client.patience
    while True:
        before = client._connection(room)
        try:
            await _live_or_gone(client, room, _HUB_SECONDS, deadline)
            return
        except Offline:
            if client._connection(room) is before or trio.current_time() >= deadline:
                raise


async def try_at(
    client: Client,
    room: RoomId,
    url: str,
    relay_id: RelayId,
    work: Callable[[], Awaitable[T]],
    *,
    stay: bool = True,
) -> T:
    """Do this with the room reached at that relay; if it fails, or not to `stay`, go back after.

    But where the room was moved there: then that is where it is reached. So it is, too, if this
    process dies in between. A frozen room is read on meanwhile, also at its own relay.
    """
    core = client._core(room)
    is_there = core.identity.relay_id == relay_id
    if not is_there or core.head.status is RoomStatus.FROZEN:
        with client._turn(client._connection(room)) as turn:
            begin_trial(turn, core, core.identity.relay_url if is_there else url, relay_id)

    def end(*, stays: bool) -> None:
        with client._turn(client._connection(room)) as turn:
            end_trial(turn, client._core(room), stay=stays)

    try:
        done = await work()
    except BaseException:  # also where nobody waits any more
        end(stays=False)
        raise
    end(stays=stay)
    return done
