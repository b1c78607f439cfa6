"""One turn of the client core: what came in at one moment, and all that follows from it (sans-IO).

The machines read and write `records` (one vault transaction for the turn), and gather here what
the shell does once that transaction is on the disk: frames to send, events to tell, requests that
are settled. If the transaction fails, none of it happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field

from ofcd.client.errors import ClientError
from ofcd.client.events import AppEvent
from ofcd.client.vault import Records
from ofcd.protocol.frames import ClientFrame, RelayFrame
from ofcd.protocol.ids import RoomId
from ofcd.themis.lineage import Lineage

__all__ = ["Asker", "Handler", "Ticket", "Turn"]


@define(eq=False)
class Ticket:
    """Something the application asked for and waits for; settled once, by a value or an error."""

    what: str
    value: object = None
    error: ClientError | None = None
    settled: bool = False


class Asker(Protocol):
    """The link that numbers requests and knows what to do with their answers."""

    def ask(self, turn: Turn, make: Callable[[int], ClientFrame], handler: Handler) -> None:
        """Number the request that `make` makes and send it, now or when others are answered."""
        ...


@define(eq=False)
class Turn:
    """The context of one turn; `now` is milliseconds since 1970, `random` gives [0, 1)."""

    now: int
    records: Records
    random: Callable[[], float]
    asker: Asker
    frames: list[ClientFrame] = field(factory=list)
    events: list[AppEvent] = field(factory=list)
    settled: list[Ticket] = field(factory=list)
    opened: list[RoomId] = field(factory=list)
    """Rooms that a finished join has brought."""
    moved: list[RoomId] = field(factory=list)
    """Rooms that are reached at another relay from now on."""
    changed: list[RoomId] = field(factory=list)
    """Rooms whose records were changed beside their machine, which is to read them anew."""
    renewed: list[Lineage] = field(factory=list)
    """Relays that are known to have another key now."""
    again: bool = False
    """Something was queued that can be sent in the next turn: let it come at once."""
    drop: str = ""
    """Why the link is to be given up and opened anew; "" to keep it."""

    def send(self, frame: ClientFrame) -> None:
        """Send a frame after the commit."""
        self.frames.append(frame)

    def ask(self, make: Callable[[int], ClientFrame], handler: Handler) -> None:
        """Send a request; its answer (or `Failure`) comes to `handler`, in a later turn.

        If the link goes first, the handler is forgotten: what must not be forgotten is in the
        vault, or asked again when the room is attached anew.
        """
        self.asker.ask(self, make, handler)

    def tell(self, event: AppEvent) -> None:
        """Tell the application after the commit."""
        self.events.append(event)

    def settle(self, ticket: Ticket | None, outcome: object) -> None:
        """Answer what the application waits for: with a value, or with a `ClientError`."""
        if ticket is None or ticket.settled:
            return
        ticket.settled = True
        if isinstance(outcome, ClientError):
            ticket.error = outcome
        else:
            ticket.value = outcome
        self.settled.append(ticket)


Handler = Callable[[Turn, RelayFrame], None]
