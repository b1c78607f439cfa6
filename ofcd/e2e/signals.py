"""Typing and presence: sealed, never stored, dropped when late (decisions: signal context).

A signal is not signed: any member could make one in another's name, so nothing but a hint on the
screen may hang on it. The one that carries something to rely on, `seen`, carries a signed RECEIPT.
The cell is `nonce 16 | Seal(K_e, JSON padded to 64 bytes, with a receipt to 640)`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import field, frozen
from attrs.validators import max_len

from ofcd.e2e.contexts import signal_context
from ofcd.e2e.errors import KeyMissing, Reason, Unreadable
from ofcd.e2e.keys import EpochKeys, new_sid
from ofcd.protocol import limits
from ofcd.protocol.codec import build, dump_json, parse_json, unbuild
from ofcd.protocol.codes import Malformed
from ofcd.protocol.ids import MemberId, RoomId
from ofcd.themis import CannotOpen, seal, unseal

__all__ = ["FRESH_FOR", "Signal", "SignalKind", "open_signal", "seal_signal"]

FRESH_FOR: Final = 60_000
"""Milliseconds after which (and before which) a signal says nothing any more."""
_NONCE_BYTES: Final = 16
_PADDED: Final = 64
_PADDED_RECEIPT: Final = 640


class SignalKind(StrEnum):
    """What is signalled; a kind from the future is `UNKNOWN`, and shows nothing."""

    TYPING = "typing"
    STOPPED = "stopped"
    ONLINE = "online"
    AWAY = "away"
    SEEN = "seen"
    """How far its sender has the log: believed by the receipt in it."""
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> SignalKind | None:
        return cls.UNKNOWN if isinstance(value, str) else None


@frozen
class Signal:
    """One signal; `ts` in milliseconds since 1970, by its sender's clock."""

    kind: SignalKind
    ts: int
    receipt: bytes = field(default=b"", repr=False, validator=max_len(limits.SIGNAL_BYTES))
    """Of SEEN: a signed RECEIPT. It is never too late, so its signal is not either."""
    ask: bool = False
    """Of SEEN: whoever hears it is asked for theirs."""


def seal_signal(room: RoomId, epoch: int, keys: EpochKeys, mid: MemberId, signal: Signal) -> bytes:
    """The cell of a signal of mine, `mid`; raises `KeyMissing`."""
    nonce = bytes(new_sid())
    size = _PADDED_RECEIPT if signal.receipt else _PADDED
    padded = dump_json(unbuild(signal)).ljust(size)
    return nonce + seal(keys.get(epoch), padded, signal_context(room, epoch, mid, nonce))


def open_signal(
    room: RoomId, epoch: int, keys: EpochKeys, mid: MemberId, cell: bytes, now: int
) -> Signal:
    """A signal that the relay says is of `mid`; raises `Unreadable`, also if it is stale."""
    nonce, sealed = cell[:_NONCE_BYTES], cell[_NONCE_BYTES:]
    context = signal_context(room, epoch, mid, nonce)
    try:
        raw = unseal(keys.get(epoch), sealed, context)
        signal = build(Signal, parse_json(raw, max_bytes=limits.SIGNAL_BYTES))
    except KeyMissing:
        raise Unreadable(Reason.MISSING_KEY) from None
    except CannotOpen:
        raise Unreadable(Reason.BAD_SEAL) from None
    except Malformed:
        raise Unreadable(Reason.BAD_BODY) from None
    if signal.kind is not SignalKind.SEEN and abs(now - signal.ts) > FRESH_FOR:
        raise Unreadable(Reason.STALE)
    return signal
