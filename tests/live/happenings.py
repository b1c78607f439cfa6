"""What people do to a room in a storm: it is moved, they move, guests come and are put out, files.

Each room has its own, drawn from the seed. What is under way when the weather clears is brought to
its end: nothing that somebody may do is refused for good.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio
from attrs import define, field

from ofcd.client import Client, Offline, RelayRefused
from ofcd.e2e.bodies import FileRef
from tests.live.storm import WORD, Member

__all__ = ["Happenings"]

T = TypeVar("T")

_AFTERWARDS: Final = 180.0
"""Seconds without any change after which it is given up, once all roads are whole."""


@define(eq=False)
class Happenings:
    """What the people of one room do; its first member is root."""

    name: str
    """Of the room."""
    number: int
    """Of what comes first: each room begins with something else."""
    members: list[Member]
    """Who is there now."""
    urls: list[str]
    """The relays'."""
    new_client: Callable[[], Awaitable[Client]]
    take_in: Callable[[Member], None]
    """Has the storm know of one more."""
    chance: random.Random
    happened: Counter[str] = field(factory=Counter)
    """How often each thing was done, and why something had to be tried again."""
    files: dict[str, str] = field(factory=dict)
    """The caption of each file, and its SHA-256."""
    guests: list[Member] = field(factory=list)
    """Who came after the others; of them only the last may still be there."""
    _doing: str = ""

    async def go_on(self, over: trio.Event) -> None:
        """One thing after the other, until it is over, and two at the least."""
        kinds = (self._change_guests, self._move, self._go_home, self._send_file)
        first = self.number
        with trio.CancelScope() as patience:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._lose_patience, over, patience)
                while not over.is_set() or self.number < first + 2:
                    await kinds[self.number % len(kinds)]()
                    self.number += 1
                    await trio.sleep(self.chance.uniform(0.1, 1.0))
                nursery.cancel_scope.cancel()
        if patience.cancelled_caught:
            people = "\n".join(map(str, self.members))
            raise AssertionError(
                f"{self.name}: {self._doing} did not end: {self.happened}\n{people}"
            )

    async def _lose_patience(self, over: trio.Event, patience: trio.CancelScope) -> None:
        """However slow the machine: as long as anything moves, it is waited for."""
        await over.wait()
        before: list[tuple[int, int]] = []
        while True:
            now = [(member.room.head, len(member.room.outbox())) for member in self.members]
            now.append((self.number, 0))
            if now != before:
                before, patience.deadline = now, trio.current_time() + _AFTERWARDS
            await trio.sleep(0.5)

    async def _insist(self, what: str, act: Callable[[], Awaitable[T]]) -> T:
        """Again and again, as a person does who is told that it can not be done now."""
        while True:
            self._doing = what
            try:
                done = await act()
            except (Offline, RelayRefused) as error:
                self.happened[f"{what}: {error}"] += 1
                await trio.sleep(self.chance.uniform(0.1, 1.0))
            else:
                self.happened[what] += 1
                return done

    # -- what may happen -------------------------------------------------------------------------

    async def _move(self) -> None:
        """Root has another relay order the room."""
        root = self.members[0].room
        url = self._other_than(root._client._core(root.id).identity.invite_url)
        await self._insist("move", lambda: root.move_hub(url))

    async def _go_home(self) -> None:
        """Somebody goes to another relay, and stays the same member."""
        room = self.chance.choice(self.members).room
        url = self._other_than(room.relay_url)
        await self._insist("home", lambda: room.move_home(url))

    def _other_than(self, url: str) -> str:
        return self.chance.choice([other for other in self.urls if other != url])

    async def _send_file(self) -> None:
        """Somebody sends an attachment, by whatever relay is theirs."""
        member = self.chance.choice(self.members)
        content = WORD.encode() + self.chance.randbytes(self.chance.randrange(1_000, 100_000))
        caption = f"{member.name} sends {len(self.files)} {WORD}"

        async def upload() -> FileRef:
            return await member.room.upload(content, name=WORD, caption=caption)

        member.say(caption, await self._insist("file", upload))
        self.files[caption] = hashlib.sha256(content).hexdigest()

    async def _change_guests(self) -> None:
        """The guest is put out, and the key renewed once more; or another comes."""
        if self.guests and self.guests[-1] in self.members:
            await self._put_out(self.guests[-1])
        else:
            await self.let_in()

    async def _put_out(self, guest: Member) -> None:
        root, boxed = self.members[0].room, self.chance.random() < 0.5

        async def evict() -> None:
            if guest.room.me in root._client._core(root.id).state.members:
                await root.evict(guest.room.me)

        self.members.remove(guest)
        guest.is_out = True
        await self._insist("evict", evict)
        await self._insist("rotate", lambda: root.rotate(boxed=boxed))

    async def let_in(self) -> None:
        """A guest comes, and is at home at any of the relays."""
        name, via = f"guest{len(self.guests)}@{self.name}", self.chance.choice(self.urls)
        client = await self.new_client()
        code = await self._insist("invite", self.members[0].room.invite)
        room = await self._insist("join", lambda: client.join(code, name=name, via=via))
        guest = Member(name, client, room, since=room.head, pause=self.members[0].pause)
        self.guests.append(guest)
        self.members.append(guest)
        self.take_in(guest)
