"""`!bridge mail ...`, for the owners of a room: who gets mail, who may write, what goes out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from attrs import evolve

from bridge.core.model import Verdict
from bridge.core.network import Host
from bridge.email.addressing import can_be_written_to
from bridge.email.incoming import Incoming
from bridge.email.reading import Deadly
from bridge.email.schedule import HOUR_MS, Delivery, check_zone, quiet_hours
from bridge.email.settings import Wish
from bridge.email.store import Store, Subscriber
from bridge.email.submitting import Submitter, masked
from ofcd.protocol.ids import RoomId

if TYPE_CHECKING:
    from bridge.email.network import EmailNetwork

__all__ = ["Commands"]

_SHOWN: Final = 20
_NAMED: Final = 200
_EVERY: Final = re.compile(r"(\d{1,4})([mhd])")
_IN_ROOM: Final = (Verdict.TAKEN, Verdict.DUPLICATE)
_NOT_IN_ROOM: Final = {
    Verdict.IGNORED: "It can not be brought in: its sender is ignored here (!bridge ignored).",
    Verdict.ECHO: "It can not be brought in: it is what was said here.",
    Verdict.INVALID: "It can not be brought in: there is nothing in it that a room can show.",
}
_NOT_NOW: Final = "It can not be brought in now, try again."
_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400}


class Commands:
    """Reads and answers them. Doing one twice is the same as doing it once."""

    def __init__(
        self,
        network: EmailNetwork,
        host: Host,
        store: Store,
        submitter: Submitter,
        incoming: Incoming,
    ) -> None:
        self._network = network
        self._host = host
        self._store = store
        self._submitter = submitter
        self._incoming = incoming

    async def run(self, room: RoomId, words: Sequence[str]) -> str | None:
        """The answer; None: it is not for this network."""
        if not words or words[0].lower() != self._network.name.lower():
            return None
        places = [place for place in self._network.places if room in self._host.rooms(place)]
        if not places:
            return None
        place = places[0]
        match [word.lower() for word in words[1:]]:
            case ["add", address]:
                return self._add(place, address)
            case ["remove", address]:
                return self._remove(place, address)
            case ["token", address]:
                return self._renew(place, address)
            case ["pace", address, *_]:
                return self._pace(place, address, words[3:])
            case ["full", ("on" | "off") as switch]:
                return self._full(room, place, switch == "on")
            case ["held"]:
                return self._held(place)
            case [("let" | "drop") as verb, number] if number.isdecimal():
                return await self._release(place, int(number), let=verb == "let")
            case ["who"]:
                return self._who(place)
            case ["status"] | []:
                return self._status(room, place)
        name = self._network.name
        return (
            f"!bridge {name} status | who | add ADDRESS | remove ADDRESS | token ADDRESS | "
            "pace ADDRESS [each | digest [30m]] [quiet 22:00-07:00 [ZONE]] | full on | full off | "
            " held | let N | drop N"
        )

    def _add(self, place: str, address: str) -> str:
        if not can_be_written_to(address) or address.endswith("@" + self._network.settings.domain):
            return "That is no address that mail can go to."
        with self._host.transaction() as tx:
            one = self._store.subscriber(tx, place, address)
            if one is None:
                one = Subscriber(address=address, token=self._network.new_token())
            self._store.keep_subscriber(tx, place, evolve(one, on=True, suspended="", soft=0))
        return f"{masked(address)} gets mail from now on."

    def _remove(self, place: str, address: str) -> str:
        with self._host.transaction() as tx:
            one = self._store.subscriber(tx, place, address)
            if one is None:
                return "Nobody with that address gets mail."
            self._store.keep_subscriber(tx, place, evolve(one, on=False))
        return f"{masked(address)} gets no more mail."

    def _renew(self, place: str, address: str) -> str:
        with self._host.transaction() as tx:
            one = self._store.subscriber(tx, place, address)
            if one is None:
                return "Nobody with that address gets mail."
            new = evolve(one, token=self._network.new_token())
            self._store.keep_subscriber(tx, place, new)
        return (
            f"{masked(address)} has a new secret address to answer to; it comes with the next "
            "mail. The old one no longer works."
        )

    def _pace(self, place: str, address: str, words: Sequence[str]) -> str:
        """How one person gets mail; without words, as the place says."""
        try:
            wish = _wish(list(words))
        except ValueError as error:
            return f"That is no pace: {error}."
        with self._host.transaction() as tx:
            one = self._store.subscriber(tx, place, address)
            if one is None:
                return "Nobody with that address gets mail."
            self._store.keep_subscriber(tx, place, evolve(one, wish=wish))
        self._network.postman.stir()
        options = self._network.places[place].options
        pace = options.pace(wish, full=True)
        how = "each message by itself"
        if pace.delivery is Delivery.DIGEST:
            how = f"what was said together, every {int(pace.every // 60)} minutes"
        quiet = ""
        if pace.quiet is not None:
            first, last = pace.quiet
            quiet = f", and nothing from {first:%H:%M} to {last:%H:%M} ({pace.zone})"
        return f"{masked(address)} gets {how}{quiet}."

    def _full(self, room: RoomId, place: str, on: bool) -> str:
        with self._host.transaction() as tx:
            self._store.keep_fact(tx, f"full/{room.hex()}", on)
            if not on:
                for one in self._network.places:
                    self._host.end_links(tx, one, room)
        self._network.postman.stir()
        where = self._network.describe(place)
        if on:
            return (
                f"From now on what is said here goes out to {where}, in full. Mail is not "
                "end-to-end encrypted: servers on its way can read it."
            )
        return f"From now on {where} only says that something was said here, and not what."

    def _who(self, place: str) -> str:
        """Who reads outside, and who may write besides: as a whole room may see it."""
        people = self._store.subscribers(self._host.vault, place)
        lines = [masked(one.address) for one in people if one.on and not one.suspended]
        lines += [
            f"{masked(one.address)}: no more mail, {one.suspended}"
            for one in people
            if one.on and one.suspended
        ]
        text = "\n".join(lines[:_NAMED]) or "Nobody gets mail."
        more = f"\nand {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
        allow = self._network.places[place].options.allow
        return text + more + (f"\nwho may write besides: {_allowed(allow)}" if allow else "")

    def _held(self, place: str) -> str:
        held = list(self._store.held(self._host.vault, place))
        if not held:
            return "No mail waits."
        lines = [f"{n}: from {one.sender[:100]}: {one.why}" for n, one in held[:_SHOWN]]
        name = self._network.name
        return "\n".join([*lines, f"!bridge {name} let N brings one in, drop N throws it away"])

    async def _release(self, place: str, number: int, *, let: bool) -> str:
        held = dict(self._store.held(self._host.vault, place)).get(number)
        if held is None:
            return "No such mail waits."
        if let:
            try:
                why = await self._bring(place, number, proven=held.proven)
            except Deadly as error:
                why = f"It can not be brought in: {error}."
            if why:
                return why
        with self._host.transaction() as tx:
            self._store.release(tx, place, number)
        return "It is in the room." if let else "It is gone."

    async def _bring(self, place: str, number: int, *, proven: bool) -> str:
        """Why a mail that waited can not be brought in; "": it is. Raises `Deadly`."""
        raw = self._store.held_raw(self._host.vault, place, number)
        mail = await self._incoming.read(raw)
        if len(mail.senders) != 1:
            return "It does not name one sender: it can not be said who wrote it."
        verdict = await self._incoming.say(place, mail, raw, proven=proven)
        return "" if verdict in _IN_ROOM else _NOT_IN_ROOM.get(verdict, _NOT_NOW)

    def _status(self, room: RoomId, place: str) -> str:
        people = self._store.subscribers(self._host.vault, place)
        on = [one for one in people if one.on and not one.suspended]
        suspended = [one for one in people if one.on and one.suspended]
        posted = [one for _, one in self._store.posted(self._host.vault)]
        waiting, why = len(posted), self._submitter.why
        lines = [
            f"{self._network.describe(place)}: {len(on)} get mail, "
            + ("in full" if self._network.is_full(room) else "without content"),
            f"{waiting} mails wait for the server" + (f" ({why})" if why and waiting else ""),
        ]
        put_off = sum(1 for one in posted if one.attempts or one.broken)
        if put_off:
            hours = (self._host.now() - min(one.born for one in posted)) / HOUR_MS
            lines.append(f"{put_off} of them were put off, the oldest is {hours:.1f} hours old")
        if waiting := sum(1 for _ in self._store.inbox(self._host.vault, place)):
            lines.append(f"{waiting} mails wait to be brought in here")
        if held := sum(1 for _ in self._store.held(self._host.vault, place)):
            lines.append(f"{held} mails wait for an owner's word")
        if self._incoming.without_results >= 3:
            lines.append(
                f"the last {self._incoming.without_results} mails had no Authentication-Results of "
                f"{self._network.settings.authserv_id}: nothing shows who sends"
            )
        lines += [f"{masked(one.address)}: no more mail, {one.suspended}" for one in suspended]
        counts = self._incoming.counts
        if counts:
            lines.append(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
        return "\n".join(lines)


def _allowed(allow: Sequence[str]) -> str:
    """Who is on the list, as a whole room may see it: a pattern names nobody."""
    shown = ", ".join(one if "*" in one else masked(one) for one in allow[:_SHOWN])
    return shown + (f" and {len(allow) - _SHOWN} more" if len(allow) > _SHOWN else "")


def _wish(words: list[str]) -> Wish:
    """What `digest 30m quiet 22:00-07:00 Europe/Berlin` means; raises ValueError."""
    wish = Wish()
    while words:
        match words.pop(0).lower():
            case "each":
                wish = evolve(wish, delivery="each")
            case "digest":
                wish = evolve(wish, delivery="digest")
                if words and (found := _EVERY.fullmatch(words[0].lower())):
                    words.pop(0)
                    wish = evolve(wish, every=max(1, int(found[1])) * _UNITS[found[2]])
            case "quiet":
                hours = words.pop(0) if words else ""
                hours = "" if hours.lower() == "none" else hours
                quiet_hours(hours)
                wish = evolve(wish, quiet=hours)
                if words and "/" in words[0]:
                    check_zone(words[0])
                    wish = evolve(wish, zone=words.pop(0))
            case word:
                raise ValueError(f"{word[:20]} is none of each, digest, quiet")
    return wish
