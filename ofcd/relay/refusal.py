"""Refusals that carry what helps the client on, and the frame that tells it."""

from __future__ import annotations

from ofcd.protocol import frames
from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.ids import EventId

__all__ = ["Refusal", "failure_of"]


class Refusal(Refused):
    """A `Refused` with hints for `frames.Failure`; `retry_after` in milliseconds."""

    def __init__(
        self,
        kind: Code,
        detail: str | None = None,
        *,
        seq: int | None = None,
        event_id: EventId | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(kind, detail)
        self.seq = seq
        self.event_id = event_id
        self.retry_after = retry_after


def failure_of(rid: int, error: ProtocolError) -> frames.Failure:
    """The frame that tells a client of `error`."""
    if not isinstance(error, Refusal):
        return frames.Failure(rid, error.kind.value, str(error))
    return frames.Failure(
        rid, error.kind.value, str(error), error.seq, error.event_id, error.retry_after
    )
