"""Events that take the whole process down, told from others by counting (B3).

After a bad end (see `bots.isolation`) the next life is careful: it notes in the vault what it is
about to handle, which costs a commit each time. What was in hand at three bad ends is given up, as
is what raises three times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bots.dispatch import Call
from bots.errors import ProcessDied
from bots.records import DEAD
from bots.runs import Outcome, Subject, bury
from bots.services import Services

__all__ = ["is_poison"]

_BEGUN: Final = DEAD + "/begun"
_MOST: Final = 2
"""Careful lives that an event may end; the one before them was not careful."""


def is_poison(
    services: Services, subject: Subject, calls: Sequence[Call], outcome: Outcome
) -> bool:
    """Whether this event is given up now, its handlers' dead letters being in `outcome`.

    If not, it is noted as begun until `outcome` is committed.
    """
    if not services.careful or not calls:
        return False
    key = subject.event_id
    begun = int.from_bytes(services.client.vault.get(_BEGUN, key) or b"", "big")
    outcome.draft.delete(_BEGUN, key)
    if key in services.begun:
        return False  # it is only run again
    services.begun.add(key)
    if begun >= _MOST:
        for call in calls:
            error = ProcessDied(f"the process ended {begun + 1} times while this was handled")
            bury(services, subject, call.handler, error, outcome)
        return True
    with services.client.transaction() as tx:
        tx.put(_BEGUN, key, (begun + 1).to_bytes(1, "big"))
    return False
