"""The client: every room and relay of one vault, and the application's way to them (trio)."""

from __future__ import annotations

import random as _random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from math import inf
from typing import Final, TypeVar, cast

import trio
from attrs import evolve, frozen

from ofcd.client.arriving import drop_staged
from ofcd.client.connection import Dial, RelayConnection
from ofcd.client.core import Core
from ofcd.client.errors import (
    BadInvite,
    ClientClosed,
    ClientError,
    NoSuchRoom,
    NotAllowed,
    Offline,
    RelayRefused,
    VaultError,
)
from ofcd.client.events import LinkState, LinkStateChanged, RoomStatus
from ofcd.client.founding import found_room
from ofcd.client.joins import JoinStage, PendingJoin, keep_join, load_joins
from ofcd.client.lineages import dispute, follow, lineage_of
from ofcd.client.model import JOINS, RELAYS, ROOMS, Identity, load
from ofcd.client.moving import return_from_trial
from ofcd.client.room import RoomMachine
from ofcd.client.rooms import Room
from ofcd.client.streams import EventHub, EventStream
from ofcd.client.turn import Ticket, Turn
from ofcd.client.vault import Transaction, Vault
from ofcd.e2e.bodies import RoomInfo
from ofcd.e2e.errors import LinkInvalid
from ofcd.e2e.invites import InviteCode, check_address, parse_link
from ofcd.e2e.keys import new_sid
from ofcd.e2e.names import display_name
from ofcd.e2e.trust import relay_fingerprint
from ofcd.protocol.frames import ClientFrame, RelayFrame
from ofcd.protocol.ids import InviteId, RelayId, RoomId
from ofcd.protocol.records import Policy
from ofcd.themis.lineage import Lineage, TwoSuccessors
from ofcd.wire import dial as dial_relay

__all__ = ["Client", "JoinInfo", "RelayInfo", "open_client"]

T = TypeVar("T")

PATIENCE_SECONDS: Final = 30.0
"""How long an application's request waits for its outcome, unless `open_client` says otherwise."""
_QUEUE: Final = 1000
_OUTSIDE: Final = frozenset({RoomStatus.LEFT, RoomStatus.EVICTED, RoomStatus.HIDDEN})


@frozen
class JoinInfo:
    """A join under way."""

    room: RoomId
    invite_id: InviteId
    relay_url: str
    stage: JoinStage
    created: int
    """Milliseconds since 1970."""


@frozen
class RelayInfo:
    """A relay of this client, and how it is reached."""

    url: str
    relay_id: RelayId | None
    fingerprint: str
    """Of the pinned key: to compare with what the operator publishes; "" before the first link."""
    online: bool
    detail: str
    """Why it is offline."""
    put_off: str = ""
    """Why it takes no attachment yet, though it is there: its last word, and the code."""


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def open_client(
    vault: Vault,
    *,
    dial: Dial = dial_relay,
    clock: Callable[[], int] = _wall_clock,
    random: Callable[[], float] = _random.random,
    patience: float = PATIENCE_SECONDS,
    software: str = "ofcd",
) -> AsyncIterator[Client]:
    """A running client on an open vault, which stays the caller's to close.

    `clock` gives milliseconds since 1970, `dial` opens a link to a URL. Links to all relays of the
    vault's rooms are opened and kept open in the background; nothing waits for them here.
    `patience`: seconds that a request waits for its outcome before it raises `Offline` (`join`
    waits as long as it takes); what is queued then is not lost.
    """
    async with trio.open_nursery() as nursery:
        client = Client(
            vault,
            nursery,
            dial=dial,
            clock=clock,
            random=random,
            patience=patience,
            software=software,
        )
        try:
            yield client
        finally:
            client._close()
            nursery.cancel_scope.cancel()


class Client:
    """Made by `open_client`. Belongs to one trio run."""

    def __init__(
        self,
        vault: Vault,
        nursery: trio.Nursery,
        *,
        dial: Dial,
        clock: Callable[[], int],
        random: Callable[[], float],
        patience: float,
        software: str,
    ) -> None:
        """Use `open_client`."""
        self.vault = vault
        self.patience = patience
        self._nursery = nursery
        self._dial = dial
        self._clock = clock
        self._random = random
        self._software = software
        self._hub = EventHub()
        self._connections: list[RelayConnection] = []
        self._places: dict[RoomId, RelayConnection] = {}
        self._waiting: dict[Ticket, trio.Event] = {}
        self._closed = False
        self._load()

    # -- rooms -----------------------------------------------------------------------------------

    @property
    def rooms(self) -> list[Room]:
        """Every room of the vault, those left or hidden too (see `Room.status`)."""
        return [Room(self, room) for room in self._places]

    def room(self, room: RoomId) -> Room:
        """The room with this id; raises `NoSuchRoom`."""
        if room not in self._places:
            raise NoSuchRoom(f"there is no room {room.hex()[:16]} in this vault")
        return Room(self, room)

    async def create_room(
        self,
        relay_url: str,
        name: str,
        *,
        my_name: str,
        policy: Policy | None = None,
        relay_id: RelayId | None = None,
        token: str = "",
    ) -> Room:
        """Found a room at a relay and return once it is live there.

        `relay_id` pins the relay; without it, the relay's key is trusted on this first use and
        pinned from then on (show `relays[…].fingerprint`). `token` is what a relay may ask of
        those who found rooms. Raises `Offline`, `JoinFailed` with the relay's code, `BadInvite`
        for an address that is none.
        """
        _check_url(relay_url)
        connection = self._connect(relay_url, relay_id or self._pin_of(relay_url))
        with _deadline(self.patience, f"no link to {relay_url}", connection):
            await connection.up.wait()
        ticket = Ticket("create")
        with self._turn(connection) as turn:
            room = found_room(
                turn,
                relay_url,
                cast(RelayId, connection.relay_id),
                my_name=display_name(my_name),
                policy=policy,
                token=token,
            )
            machine = connection.machine.add_room(turn, room)
            machine.await_live(ticket)
            info = RoomInfo(display_name(name))
            machine.outbox.queue(turn.records, info, new_sid(), turn.now)
            machine.core.save_head(turn, room_name=display_name(name))
        self._places[room] = connection
        await self._settled(ticket, connection)
        return Room(self, room)

    async def join(
        self,
        link: str | InviteCode,
        *,
        name: str,
        via: str = "",
        via_id: RelayId | None = None,
    ) -> Room:
        """Join by an invite; returns once admitted, which may take until an admitter is online.

        `via` is the address of the relay to be at home at, where that is not the room's own: it
        keeps a copy of the room, and passes on what this client says; `via_id` pins it.

        Who left the room, or was evicted, comes back as a new member; what it has read stays here.
        Cancelled or restarted, the join goes on by itself (`pending_joins`). Raises `BadInvite`,
        `JoinFailed` with the code, `NotAllowed` (already_member, room_closed), `RoomFrozen`, and
        `Offline` where the room's relay does not say whether this client still is in it.
        """
        code = link if isinstance(link, InviteCode) else _parse(link)
        home = "" if via == code.relay_url else via
        if home:
            _check_url(home)
            connection = self._connect(home, via_id or self._pin_of(home))
        else:
            connection = self._connect(code.relay_url, code.relay_id)
        ticket = Ticket("join")
        if (code.room, code.invite_id) not in connection.machine.joins:
            await self._require_outside(code.room, connection)
        known = connection.machine.joins.get((code.room, code.invite_id))
        if known is not None:
            known.tickets.append(ticket)
        else:
            self._begin_join(connection, code, name, ticket, home)
        connection.stir()
        room = cast(RoomId, await self._settled(ticket, connection, inf))
        return Room(self, room)

    async def relay_at(self, url: str, relay_id: RelayId | None = None) -> RelayId:
        """The id of the relay at `url`, once a link has proven it; `relay_id` pins it.

        Raises `Offline` when that takes longer than the client's `patience`.
        """
        _check_url(url)
        there = self._connect(url, relay_id or self._pin_of(url))
        with _deadline(self.patience, f"no link to {url}", there):
            await there.up.wait()
        return cast(RelayId, there.relay_id)

    async def _require_outside(self, room: RoomId, through: RelayConnection) -> None:
        """Raises unless this client has left the room, was evicted, or is no longer let in.

        Where its own relay is gone, the join itself finds it out from what another one shows.
        """
        if room not in self._places:
            return
        try:
            await self._live(room, self.patience)
        except (NotAllowed, RelayRefused):
            if self._core(room).head.status in _OUTSIDE:
                return
            raise
        except Offline:
            if self._places[room] is through:
                raise
            return
        raise NotAllowed("already_member", "this vault is in that room already")

    def _begin_join(
        self,
        connection: RelayConnection,
        code: InviteCode,
        name: str,
        ticket: Ticket,
        home: str,
    ) -> None:
        if any(room == code.room for room, _ in connection.machine.joins):
            raise BadInvite("another invite to this room is being used already")
        with self._turn(connection) as turn:
            pending = PendingJoin(code.text, display_name(name), turn.now)
            if home:
                pending = evolve(pending, home_url=home, home_id=connection.relay_id)
            keep_join(turn.records, pending)
            connection.machine.add_join(turn, pending).tickets.append(ticket)

    @property
    def pending_joins(self) -> list[JoinInfo]:
        """Joins that wait for an admitter, or for a link."""
        return [
            JoinInfo(
                room=join.room,
                invite_id=join.invite.invite_id,
                relay_url=join.pending.place[0],
                stage=join.pending.stage,
                created=join.pending.created,
            )
            for connection in self._connections
            for join in connection.machine.joins.values()
        ]

    def cancel_join(self, room: RoomId) -> None:
        """Give up a pending join; the invite may be spent. Raises `NoSuchRoom`."""
        for connection in self._connections:
            for key in [key for key in connection.machine.joins if key[0] == room]:
                join = connection.machine.joins.pop(key)
                with self._turn(connection) as turn:
                    turn.records.delete(JOINS, key[0] + key[1])
                    drop_staged(turn.records, room)
                    for ticket in join.tickets:
                        turn.settle(ticket, NotAllowed("cancelled", "the join was given up"))
                return
        raise NoSuchRoom("there is no pending join of this room")

    # -- events, transactions --------------------------------------------------------------------

    def events(self, *, queue: int = _QUEUE) -> EventStream:
        """Everything that happens from now on, in all rooms; see `EventStream`."""
        self._require_open()
        return self._hub.listen(None, queue)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One vault transaction of the application: its own records, `Room.queue`, `set_cursor`.

        All of it becomes durable together, or none of it. Do not await inside. An application's
        tables are named `app/…`. Raises `VaultUnwritable`.
        """
        self._require_open()
        with self.vault.transaction() as tx:
            yield tx

    @property
    def relays(self) -> list[RelayInfo]:
        """The relays of this client."""
        return [
            RelayInfo(
                url=connection.url,
                relay_id=connection.relay_id,
                fingerprint=relay_fingerprint(connection.relay_id) if connection.relay_id else "",
                online=connection.up.is_set(),
                detail=connection.detail,
                put_off=connection.put_off,
            )
            for connection in self._connections
        ]

    def retry_now(self) -> None:
        """The network may be back: dial every relay that is waited for, at once."""
        for connection in self._connections:
            connection.retry_now()

    # -- for rooms -------------------------------------------------------------------------------

    def _machine(self, room: RoomId) -> RoomMachine:
        self._require_open()
        connection = self._places.get(room)
        machine = None if connection is None else connection.machine.rooms.get(room)
        if machine is None:
            raise NoSuchRoom(f"there is no room {room.hex()[:16]} in this vault")
        return machine

    def _core(self, room: RoomId) -> Core:
        return self._machine(room).core

    def _connection(self, room: RoomId) -> RelayConnection:
        self._machine(room)
        return self._places[room]

    @contextmanager
    def _turn(self, connection: RelayConnection) -> Iterator[Turn]:
        with self.turn(connection) as turn:
            yield turn
        connection.stir()

    async def _settled(
        self, ticket: Ticket, connection: RelayConnection, seconds: float | None = None
    ) -> object:
        """What became of a request; raises its error, or `Offline` when the time is up."""
        seconds = self.patience if seconds is None else seconds
        if not ticket.settled:
            settled = self._waiting[ticket] = trio.Event()
            try:
                with trio.move_on_after(seconds):
                    await settled.wait()
            finally:
                self._waiting.pop(ticket, None)
        if ticket.error is not None:
            raise ticket.error
        if not ticket.settled:
            raise _offline(f"{ticket.what}: no answer within {seconds:g} s", connection)
        return ticket.value

    async def _live(self, room: RoomId, seconds: float = inf) -> None:
        """Return once the room is attached and caught up; raises why it will not be."""
        machine = self._machine(room)
        machine.check_open(reading=True)
        if not machine.is_live:
            ticket = Ticket("catch up")
            machine.await_live(ticket)
            try:
                await self._settled(ticket, self._connection(room), seconds)
            except Offline as offline:
                raise machine.waits_for or offline from None

    async def _request(self, room: RoomId, make: Callable[[int], ClientFrame]) -> RelayFrame | None:
        """One request on the room's link, once live; its answer, or None if the link was lost."""
        connection, machine = self._connection(room), self._machine(room)
        while not machine.is_live:
            await self._live(room)
            machine = self._machine(room)
        ticket = Ticket("request")
        settled = self._waiting[ticket] = trio.Event()
        lost = connection.lost
        with self._turn(connection) as turn:
            turn.ask(make, lambda later, frame: later.settle(ticket, frame))
        try:
            async with trio.open_nursery() as nursery:
                for event in (settled, lost):
                    nursery.start_soon(_cancel_when, event, nursery.cancel_scope)
        finally:
            self._waiting.pop(ticket, None)
        if ticket.error is not None:
            raise ticket.error
        return cast("RelayFrame | None", ticket.value)

    def _require_open(self) -> None:
        if self._closed:
            raise ClientClosed("the client is closed")

    # -- for connections (connection.Host) -------------------------------------------------------

    @contextmanager
    def turn(self, connection: RelayConnection, *, durable: bool = True) -> Iterator[Turn]:
        """One turn on one relay's machine: its records are written, then its outcome is told.

        Not `durable`, it is so only if it sends something: what a relay has sent, it has.
        """
        try:
            with self.vault.transaction(durable=durable) as tx:
                turn = Turn(self._clock(), tx, self._random, connection.machine)
                yield turn
                tx.durable = durable or bool(turn.frames)
        except BaseException:
            # Nothing was promised: what is true is what the vault holds.
            self._reload(connection)
            raise
        connection.post(turn.frames)
        for ticket in turn.settled:
            self._wake(ticket)
        for room in turn.opened:
            before = self._places.get(room)
            if before not in (None, connection):
                before.machine.rooms.pop(room, None)  # it came back by another address
            self._places[room] = connection
        for room in turn.moved:
            self._carry(room, connection)
        for room in turn.changed:
            with self._turn(self._places[room]) as later:
                self._places[room].machine.add_room(later, room)
        for relay in turn.renewed:
            self._leave_replaced(relay)
        self._hub.tell(turn.events)
        if turn.again:
            connection.stir()

    def _carry(self, room: RoomId, before: RelayConnection) -> None:
        """The room is reached elsewhere now: by that relay's link."""
        before.machine.rooms.pop(room, None)
        identity = load(Identity, cast(bytes, self.vault.get(ROOMS, room)))
        connection = self._connect(identity.relay_url, identity.relay_id)
        self._places[room] = connection
        with self._turn(connection) as turn:
            connection.machine.add_room(turn, room)

    def now(self) -> int:
        """Milliseconds since 1970."""
        return self._clock()

    def known(self, relay_id: RelayId) -> Lineage:
        """What is known of a relay's keys."""
        return lineage_of(self.vault, relay_id)

    def linked(self, connection: RelayConnection, relay: Lineage) -> None:
        """Pin a relay on first use, and its new key after that. Raises as `Lineage.merged`."""
        key = connection.url.encode()
        is_new = self.vault.get(RELAYS, key) is None
        with self.vault.transaction() as tx:
            if is_new:
                tx.put(RELAYS, key, relay.relay_id)
            news = follow(tx, relay, f"the relay at {connection.url}")
        if news is not None:
            self._leave_replaced(relay)
        if news is not None and not is_new:
            self._hub.tell([news])

    def _leave_replaced(self, relay: Lineage) -> None:
        """No link goes on by a key that is known to be replaced."""
        for connection in self._connections:
            if connection.machine.is_by_replaced_key(relay):
                connection.abort("the relay has replaced its key since")

    def disputed(self, connection: RelayConnection, proof: TwoSuccessors) -> None:
        """Keep the proof; people are told once."""
        with self.vault.transaction() as tx:
            news = dispute(tx, proof, f"the relay at {connection.url}")
        if news is not None:
            self._hub.tell([news])

    def link_changed(
        self, connection: RelayConnection, state: LinkState, retry_at: int | None
    ) -> None:
        """Tell the application."""
        event = LinkStateChanged(
            connection.url, connection.relay_id, state, connection.detail, retry_at
        )
        self._hub.tell([event])

    # -- inside ----------------------------------------------------------------------------------

    def _load(self) -> None:
        with self.vault.transaction() as tx:
            for room, _ in list(tx.items(ROOMS)):
                return_from_trial(tx, RoomId(room))
        for room, raw in list(self.vault.items(ROOMS)):
            identity = load(Identity, raw)
            self._places[RoomId(room)] = self._connect(identity.relay_url, identity.relay_id)
        joins = load_joins(self.vault)
        for pending in joins:
            url, relay_id = pending.place
            self._connect(url, relay_id or self._pin_of(url))
        for connection in self._connections:
            self._fill(connection, joins)

    def _fill(self, connection: RelayConnection, joins: list[PendingJoin]) -> None:
        rooms = [room for room, place in self._places.items() if place is connection]
        mine = [p for p in joins if _is_at(p, connection)]
        connection.machine.load(self.vault, rooms, mine)

    def _reload(self, connection: RelayConnection) -> None:
        """A turn failed: its half-done changes in memory are forgotten, and the link with them."""
        kept = {RoomId(room) for room, _ in self.vault.items(ROOMS)}
        self._places = {room: place for room, place in self._places.items() if room in kept}
        self._fill(connection, load_joins(self.vault))
        connection.abort("a change could not be kept")
        error = VaultError("the vault could not keep what this request needs; try again")
        for ticket, settled in list(self._waiting.items()):
            ticket.settled, ticket.error = True, error
            settled.set()

    def _connect(self, url: str, relay_id: RelayId | None) -> RelayConnection:
        self._require_open()
        for known in self._connections:
            if known.url == url and (known.relay_id == relay_id or relay_id is None):
                return known
        connection = RelayConnection(
            self,
            url,
            relay_id,
            dial=self._dial,
            random=self._random,
            software=self._software,
        )
        self._connections.append(connection)
        self._nursery.start_soon(connection.run)
        return connection

    def _pin_of(self, url: str) -> RelayId | None:
        raw = self.vault.get(RELAYS, url.encode())
        return None if raw is None else RelayId(raw)

    def _wake(self, ticket: Ticket) -> None:
        settled = self._waiting.get(ticket)
        if settled is not None:
            settled.set()

    def _close(self) -> None:
        self._closed = True
        self._hub.close()
        for ticket, settled in list(self._waiting.items()):
            ticket.settled, ticket.error = True, ClientClosed("the client is closed")
            settled.set()


def _is_at(pending: PendingJoin, connection: RelayConnection) -> bool:
    url, relay_id = pending.place
    return url == connection.url and relay_id in (None, connection.relay_id)


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


@contextmanager
def _deadline(seconds: float, what: str, connection: RelayConnection) -> Iterator[None]:
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise _offline(f"{what} within {seconds:g} s", connection) from None


def _offline(what: str, connection: RelayConnection) -> ClientError:
    return Offline(f"{what} ({connection.detail})" if connection.detail else what)


def _parse(link: str) -> InviteCode:
    try:
        return parse_link(link)
    except LinkInvalid as error:
        raise BadInvite(str(error)) from None


def _check_url(url: str) -> None:
    try:
        check_address(url)
    except LinkInvalid as error:
        raise BadInvite(str(error)) from None
