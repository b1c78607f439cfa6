"""What a client keeps of what can not be true, for whoever asks later who lied.

Each kind has places of its own. What a relay can make as much of as it likes takes none of those
of what somebody has signed, and nothing takes those of what has frozen the room.
"""

from __future__ import annotations

from enum import Enum, unique

from ofcd.client.model import Tables, number_key
from ofcd.client.vault import Reader, Records

__all__ = ["Shows", "keep", "kept"]


@unique
class Shows(Enum):
    """What an envelope shows; where its kind stands, and how many are kept, the first ones."""

    PROOF = b"proof/", 32
    """That somebody signed two histories, which froze the room; or root two moves of one term."""
    OFFENCE = b"evidence/", 32
    """Signed, and against the rules; or of a time that root has ended by a move by force."""
    JUNK = b"unproven/", 8
    """No record, or one that does not verify, or can not stand there: anybody can make these."""


def keep(tx: Records, tables: Tables, envelopes: tuple[bytes, ...], shows: Shows) -> bool:
    """True if some are new, and kept; what is kept as more than that is not new."""
    prefix, places = shows.value
    here = _of(tx, tables, shows)
    known = set(kept(tx, tables, shows))
    new = [one for one in dict.fromkeys(envelopes) if one not in known][: places - len(here)]
    for number, envelope in enumerate(new, start=len(here)):
        tx.put(tables.state, number_key(number, prefix), envelope)
    return bool(new)


def kept(records: Reader, tables: Tables, least: Shows = Shows.JUNK) -> list[bytes]:
    """All that shows at least as much, each once, what proves most first."""
    kinds = list(Shows)
    found = (_of(records, tables, one) for one in kinds[: kinds.index(least) + 1])
    return list(dict.fromkeys(raw for one in found for raw in one))


def _of(records: Reader, tables: Tables, shows: Shows) -> list[bytes]:
    prefix, _ = shows.value
    end = prefix[:-1] + b"0"  # behind the slash
    return [raw for _, raw in records.items(tables.state, prefix, end)]
