"""Keys that did not come: asked for, and given (protocol.md §2.3, KEY_REQ)."""

from __future__ import annotations

from collections import deque
from typing import Final

from ofcd.client.controls import Change, ControlDesk, Made
from ofcd.client.core import Core
from ofcd.client.events import Alarm, AlarmKind
from ofcd.client.ledger import Ledger
from ofcd.client.turn import Turn
from ofcd.e2e.epochs import (
    make_boxed_rekey,
    make_key_answer,
    make_key_request,
    open_key_answer,
)
from ofcd.e2e.errors import KeyFault, KeyMissing, KeyRejected
from ofcd.protocol import limits
from ofcd.protocol.codes import ProtocolError
from ofcd.protocol.frames import KeyAnswer, KeyRequest, RelayFrame
from ofcd.themis.signed import peek

__all__ = ["KeyDesk"]

_ASK_AGAIN: Final = 600_000
"""Milliseconds between two requests of one key: an owner may be away for days."""
_CROSSED: Final = 30_000
"""Milliseconds after which it is asked for again, where the answer crossed an UPDATE_E."""
_OWNER_PATIENCE: Final = 60_000
"""Milliseconds after which an owner without the key makes a new one instead of waiting."""


class KeyDesk:
    """Asks owners for the current key where it is missing; as an owner, answers who asks."""

    def __init__(self, core: Core, ledger: Ledger, controls: ControlDesk) -> None:
        """Works on `core`; keys are taken by `ledger`."""
        self._core = core
        self._ledger = ledger
        self._controls = controls
        self._missing_since: int | None = None
        self._asked_epoch = -1
        """The epoch whose key was asked for last: who lacks one lacks those that follow it."""
        self._asking: deque[bytes] = deque(maxlen=limits.ROOM_MEMBERS)
        """KEY_REQs not answered yet: the relay shows one of a member."""

    def deadline(self) -> int | None:
        """When `pump` should be called, even if nothing comes in."""
        if self._missing_since is None:
            return None
        again = self._core.head.key_asked + _ASK_AGAIN
        if self._core.is_owner and not self._controls.has("rekey"):
            return min(again, self._missing_since + _OWNER_PATIENCE)
        return again

    def pump(self, turn: Turn) -> None:
        """Give the current key, or ask for it. Only while attached and caught up."""
        core = self._core
        if not core.holds_own_key:
            return  # what is boxed for it, or by it, would not open: it is renewed first
        if core.state.epoch in core.keys:
            self._missing_since = None
            while self._asking:
                self._answer(turn, self._asking.popleft())
            return
        if self._missing_since is None:
            self._missing_since = turn.now
            self._ask(turn)  # on each new link at once: the relay may have lost the last one
        elif turn.now >= core.head.key_asked + _ASK_AGAIN or self._asked_epoch != core.state.epoch:
            self._ask(turn)
        waited = turn.now - self._missing_since >= _OWNER_PATIENCE
        if waited and core.is_owner and not self._controls.has("rekey"):
            self._controls.add(Change("rekey", self._renew))

    def link_lost(self) -> None:
        """Ask again on the next link, on which the relay shows again who asks."""
        self._missing_since = None
        self._asking.clear()

    def _ask(self, turn: Turn) -> None:
        core = self._core
        pending = _epoch_asked(core.head.key_request)
        request = core.head.key_request
        if pending != core.state.epoch:
            request = make_key_request(core.state, core.mine, turn.now).envelope
        self._asked_epoch = core.state.epoch
        core.save_head(turn, key_request=request, key_asked=turn.now)
        turn.ask(lambda rid: KeyRequest(rid, core.room, request), _nothing_more)

    def _renew(self, turn: Turn) -> Made | None:
        core = self._core
        if core.state.epoch in core.keys:
            return None
        made = make_boxed_rekey(core.state, core.mine, core.log.seen, turn.now, reason="key lost")
        return Made(made.signed, made.boxes)

    def asked(self, envelope: bytes) -> None:
        """A member asks: it is answered once all is here that came before (`pump`).

        Its key, or this one's, may have been renewed in what is still to come.
        """
        self._asking.append(envelope)

    def _answer(self, turn: Turn, envelope: bytes) -> None:
        """Give it the current key, if it is a member and this is an owner."""
        core = self._core
        try:
            signed, boxed = make_key_answer(core.state, core.mine, core.keys, envelope)
        except (ProtocolError, KeyMissing):
            return  # not ours to give, or of another epoch
        turn.ask(lambda rid: KeyAnswer(rid, core.room, signed.envelope, boxed), _nothing_more)

    def answered(self, turn: Turn, envelope: bytes, boxed: bytes) -> None:
        """An owner's answer: adopt the key, if the control log commits to it."""
        core = self._core
        if not core.head.key_request or core.state.epoch in core.keys:
            return
        request = peek(core.head.key_request)
        try:
            keys = open_key_answer(core.state, core.mine, core.keys, request, envelope, boxed)
        except KeyRejected as error:
            if error.fault is KeyFault.CANNOT_OPEN:
                # Signed by an owner, but boxed for or by a key that was renewed a moment before.
                # The next request is another one: the relay keeps one answer to each.
                asked = min(turn.now - _ASK_AGAIN + _CROSSED, core.head.key_asked)
                core.save_head(turn, key_request=b"", key_asked=asked)
            elif error.fault is not KeyFault.OTHER_REQUEST:
                turn.tell(Alarm(core.room, AlarmKind.KEY_MISMATCH, str(error)))
            return
        core.save_head(turn, key_request=b"")
        self._ledger.adopt(turn, keys)


def _epoch_asked(envelope: bytes) -> int:
    return getattr(peek(envelope).record, "epoch", -1) if envelope else -1


def _nothing_more(turn: Turn, frame: RelayFrame) -> None:
    """Refused or taken: what follows comes by itself, or is asked again in time."""
