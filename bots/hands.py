"""Doing what handlers decided about a room: one act after the other, until each is done (trio)."""

from __future__ import annotations

from contextlib import suppress
from functools import singledispatch
from typing import Final

import trio

from bots.acts import (
    AcceptHandover,
    Act,
    CloseInvite,
    Evict,
    Grant,
    HandOver,
    Kept,
    Rotate,
    acts_of,
    forget_act,
)
from bots.services import Services
from ofcd.client import (
    ClientClosed,
    ClientError,
    KeyUnavailable,
    Offline,
    Room,
    RoomFrozen,
    Text,
    VaultError,
)
from ofcd.errors import OfcError
from ofcd.protocol.ids import Sid
from ofcd.protocol.records import Role

__all__ = ["Hands"]

_AGAIN_SECONDS: Final = 5.0


class Hands:
    """The acts of one room. Done twice, after a crash in between, they are done once."""

    def __init__(self, services: Services, room: Room) -> None:
        self._services = services
        self._room = room
        self._wake = trio.Event()
        self._idle = trio.Event()

    def wake(self) -> None:
        """There may be something to do."""
        self._idle = trio.Event()
        self._wake.set()

    async def idle(self) -> None:
        """Return once there is nothing left to do."""
        await self._idle.wait()

    async def run(self) -> None:
        """Do what there is, and then what comes."""
        vault = self._services.client.vault
        with suppress(ClientClosed):
            while True:
                self._wake = trio.Event()
                kept = next(acts_of(vault, self._room.id), None)
                if kept is not None:
                    await self._do(kept)
                else:
                    self._idle.set()
                    await self._wake.wait()

    async def _do(self, kept: Kept) -> None:
        try:
            # An act asked of a room that is away waits in the client, too: asked again and again,
            # it would be done as often once the room is back.
            await self._room.wait_live()
            await _perform(kept.act, self._room, kept.sid)
        except (ClientClosed, VaultError):
            raise
        except (Offline, KeyUnavailable, RoomFrozen):
            await trio.sleep(_AGAIN_SECONDS)
        except ClientError as error:
            self._give_up(kept, error)
        else:
            with self._services.client.transaction() as tx:
                forget_act(tx, self._room.id, kept)

    def _give_up(self, kept: Kept, error: ClientError) -> None:
        """It is refused for good: the log says so, and the room, where it can still be told."""
        name = type(kept.act).__name__
        self._services.log.error("an act was refused", act=name, code=error.code)
        text = f"I could not do what I announced ({name.lower()}): {error}"
        with self._services.client.transaction() as tx:
            forget_act(tx, self._room.id, kept)
            if self._room.status.is_open:
                self._say(tx, text, kept.sid)

    def _say(self, tx: object, text: str, sid: Sid) -> None:
        try:
            self._room.queue(tx, Text(text), sid=sid, hops=1)  # type: ignore[arg-type]
        except OfcError as error:
            self._services.log.error("could not be said", code=error.code)


@singledispatch
async def _perform(act: Act, room: Room, sid: Sid) -> None:
    raise TypeError(f"no act: {act}")


@_perform.register
async def _(act: Evict, room: Room, sid: Sid) -> None:
    there = {one.mid for one in room.members()}
    left = [mid for mid in act.members if mid in there]
    if left:
        await room.evict(*left, reason=act.reason)


@_perform.register
async def _(act: Rotate, room: Room, sid: Sid) -> None:
    await room.rotate(boxed=act.boxed, since=act.epoch)


@_perform.register
async def _(act: Grant, room: Room, sid: Sid) -> None:
    now = next((one for one in room.members() if one.mid == act.member), None)
    if now is not None and (now.role, now.caps) != (act.role, frozenset(act.caps)):
        await room.grant(act.member, act.role, act.caps)


@_perform.register
async def _(act: HandOver, room: Room, sid: Sid) -> None:
    if room.member(act.to).role is not Role.ROOT:
        await room.hand_over(act.to, sid=sid)


@_perform.register
async def _(act: AcceptHandover, room: Room, sid: Sid) -> None:
    if not room.is_root:
        await room.accept_handover(sid=sid)


@_perform.register
async def _(act: CloseInvite, room: Room, sid: Sid) -> None:
    if act.invite_id in {one.invite_id for one in room.invites()}:
        await room.close_invite(act.invite_id)
