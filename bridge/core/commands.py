"""`!bridge`, as members and admins use it in a room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.core.consent import PRIVATE_MARK, Consent, consent_of, keep_consent
from bridge.core.formatting import one_line
from bridge.core.ignoring import MOST, ignored_in, is_everybody, keep_ignored
from bridge.core.model import State
from bridge.core.settings import Portal
from bridge.core.sids import own_sid
from ofcd.client import (
    Message,
    Room,
    Text,
    Transaction,
    VaultError,
    VaultUnwritable,
    display_name,
)
from ofcd.client.applog import traceback_of
from ofcd.errors import OfcError
from ofcd.protocol.records import Cap

if TYPE_CHECKING:
    from bridge.core.engine import Engine

__all__ = ["Commands"]

_WORD: Final = "!bridge"
_SHOWN: Final = 10
_NAME: Final = 100
_OF_OWNERS: Final = ("status", "queue", "cancel", "resend", "ignore", "unignore", "ignored")
_NOT_YOURS: Final = "That is for the owners of this room."
_HELP: Final = (
    "!bridge me full | nick-only | withheld: what this bridge may copy of yours\n"
    f"{PRIVATE_MARK} at the beginning of a message: it stays in this room\n"
    "For admins: !bridge status, queue, cancel, resend (as a reply to what failed)"
    ", ignore NAME, unignore NAME, ignored"
    ", and !bridge NETWORK for what a network can do here"
)


class Commands:
    """Reads and answers them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def introduction(self, room: Room) -> tuple[str, str]:
        """What the bridge says of itself in a room, and what it calls itself there."""
        engine = self._engine
        portals = engine.portals_of(room)
        out = [self._where(one) for one in portals if one.sends]
        back = [self._where(one) for one in portals if one.takes]
        parts = []
        if out:
            parts.append(
                f"I copy this room to {', '.join(out)}: what is copied is not end-to-end encrypted "
                "beyond here."
            )
        if back:
            parts.append(f"I bring here what is said at {', '.join(back)}, marked as such.")
        if not engine.is_open(room):
            parts = [
                "I may not bridge this room: an owner has to grant me the capability `bridge`."
            ]
        parts.append("!bridge help says how to be left out.")
        titles = (engine.networks[one.network].title(one.place) for one in portals)
        places = ", ".join(dict.fromkeys(titles))
        return " ".join(parts), display_name(f"{engine.settings.bridge.name} ({places})")

    def _where(self, portal: Portal) -> str:
        return self._engine.networks[portal.network].describe(portal.place)

    def words_of(self, room: Room, message: Message) -> list[str] | None:
        """The command in a member's message; None where it is none."""
        words = message.text.split()
        if not words or words[0].casefold() != _WORD or message.mine or message.via is not None:
            return None
        if Cap.BOT in room.caps_of(message.mid) or Cap.BRIDGE in room.caps_of(message.mid):
            return None
        return words[1:]

    async def of_networks(self, room: Room, message: Message, words: list[str]) -> str | None:
        """What the room's network of that name answers; None where the words name none.

        It may be asked again after a crash: what it does has to be the same if done twice.
        """
        engine = self._engine
        names = {one.network.casefold(): one.network for one in engine.portals_of(room)}
        if not words or words[0].casefold() not in names:
            return None
        network = engine.networks[names[words[0].casefold()]]
        try:
            own = network.member_command(room.id, message.mid, words)
            if own is not None or not engine.is_admin(room, message.mid):
                return own or _NOT_YOURS
            return await network.command(room.id, words)
        except VaultUnwritable:
            raise  # the message waits, and is done when there is space
        except Exception as error:  # a network's mistake must not end the others
            engine.log.error(
                "a network failed at a command", network=network.name, trace=traceback_of(error)
            )
            return "That did not work; the bridge's log says why."

    def run(
        self,
        tx: Transaction,
        room: Room,
        message: Message,
        words: list[str],
        answer: str | None = None,
    ) -> None:
        """Do it (unless a network did) and answer, in the transaction that moves the cursor."""
        if answer is None:
            answer = self._answer(tx, room, message, words)
        sid = own_sid("answer", room.id, message.first_id)
        try:
            room.queue(tx, Text(answer, reply_to=message.event_id), sid=sid, hops=1)
        except VaultError:
            raise  # the transaction is not to be kept
        except OfcError as error:
            self._engine.log.warning("an answer could not be said", code=error.code)

    def _answer(self, tx: Transaction, room: Room, message: Message, words: list[str]) -> str:
        word = words[0].casefold() if words else "help"
        if word == "me":
            return self._me(tx, room, message, words[1:])
        if word not in _OF_OWNERS:
            return _HELP
        if not self._engine.is_admin(room, message.mid):
            return _NOT_YOURS
        match word:
            case "status":
                return self._status(room)
            case "queue":
                return self._queue(room)
            case "cancel":
                return self._cancel(tx, room)
            case "ignore" | "unignore" | "ignored":
                return self._ignore(tx, room, word, one_line(" ".join(words[1:])))
            case _:
                return self._resend(tx, room, message)

    def _resend(self, tx: Transaction, room: Room, message: Message) -> str:
        if message.reply_to is None:
            return "Answer the message that failed with !bridge resend."
        count = self._engine.outbound.resend(room, tx, message.reply_to)
        return (
            f"Once more, to {count} place(s)."
            if count
            else "That message has not failed, or is not to be copied."
        )

    def _ignore(self, tx: Transaction, room: Room, word: str, name: str) -> str:
        """Of whom nothing is taken, here alone; what the settings say besides is the operator's."""
        said = ignored_in(tx, room.id)
        known = next((one for one in said if one.casefold() == name.casefold()), None)
        if word == "ignored":
            return f"Ignored here: {', '.join(said)}" if said else "Nobody is ignored here."
        if not name:
            return f"!bridge {word} NAME: as they are shown, or a mask with * and ?"
        if word == "unignore":
            if known is None:
                return f"{name} is not ignored here."
            keep_ignored(tx, room.id, [one for one in said if one != known])
            return f"No longer ignored: {known}"
        if len(name) > _NAME or len(said) >= MOST:
            return f"That is too much: {MOST} names, of up to {_NAME} characters."
        if is_everybody(name):
            return "That would be everybody."
        if known is None:
            keep_ignored(tx, room.id, [*said, name])
        return f"Ignored from now on: {name}"

    def _me(self, tx: Transaction, room: Room, message: Message, words: list[str]) -> str:
        if not words:
            return f"Of you: {consent_of(tx, room.id, message.mid).value}"
        try:
            consent = Consent(words[0].casefold())
        except ValueError:
            return "It is one of: full, nick-only, withheld"
        keep_consent(tx, room.id, message.mid, consent)
        if consent is not Consent.FULL:
            self._engine.links.withdraw(tx, room.id, mid=message.mid)
        return f"Of you, from now on: {consent.value}"

    def _status(self, room: Room) -> str:
        lines = []
        for portal in self._engine.portals_of(room):
            queue = self._engine.places[portal.network, portal.place]
            arrow = {"both": "<->", "out": "->", "in": "<-"}[portal.direction]
            state = "connected" if queue.is_ready else f"not connected ({queue.why})"
            lines.append(f"{arrow} {self._where(portal)}: {state}, {len(queue.entries)} waiting")
        if not lines:
            lines.append("no [[portal]] of this bridge means this room")
        if not self._engine.is_open(room):
            lines.append("nothing is copied: this room has not granted the capability `bridge`")
        return "\n".join(lines)

    def _queue(self, room: Room) -> str:
        lines = []
        for portal in self._engine.portals_of(room):
            queue = self._engine.places[portal.network, portal.place]
            for entry in queue.entries.values():
                if entry.room == room.id:
                    size = len(entry.text)
                    lines.append(
                        f"{portal.place}: {entry.kind.value} of {entry.name or 'the bridge'}, "
                        f"{size} characters, {entry.state.value}"
                    )
        more = f"\nand {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        return "\n".join(lines[:_SHOWN]) + more if lines else "Nothing waits."

    def _cancel(self, tx: Transaction, room: Room) -> str:
        count = 0
        for portal in self._engine.portals_of(room):
            queue = self._engine.places[portal.network, portal.place]
            for entry in queue.waiting():
                if entry.room == room.id:
                    self._engine.ledger.finish(tx, entry, State.DROPPED, "cancelled by an admin")
                    count += 1
        return f"{count} cancelled."
