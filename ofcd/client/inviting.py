"""Invites under an id of the application's: asked for twice, they are made once.

The code, with its token, is kept before INVITE_OPEN is sent. Whoever asks again under the same id
gets that code, whether the invite is still open, or used or closed since; only one that never came
into the log is made again, with the same token.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import field, frozen

from ofcd.client.core import Core
from ofcd.client.model import load, save
from ofcd.client.vault import Reader, Records
from ofcd.e2e.invites import InviteCode, parse_link
from ofcd.protocol.ids import InviteId
from ofcd.protocol.records import InviteOpen
from ofcd.themis.signed import peek

__all__ = ["keep_code", "kept_code", "was_opened"]

_CODE: Final = b"code/"
_END: Final = b"code0"


@frozen
class _Kept:
    code: str = field(repr=False)
    expires: int


def keep_code(records: Records, core: Core, code: InviteCode, expires: int, now: int) -> None:
    """Keep a code until it expires; forget those that have."""
    table = core.tables.state
    for key, raw in list(records.items(table, _CODE, _END)):
        if load(_Kept, raw).expires <= now:
            records.delete(table, key)
    records.put(table, _CODE + code.invite_id, save(_Kept(code.text, expires)))


def kept_code(records: Reader, core: Core, invite_id: InviteId) -> InviteCode | None:
    """The code that was made under this id, if it was and has not expired."""
    raw = records.get(core.tables.state, _CODE + invite_id)
    return None if raw is None else parse_link(load(_Kept, raw).code)


def was_opened(records: Reader, core: Core, invite_id: InviteId) -> bool:
    """Whether an invite of this client's with that id is, or was, in the control log."""
    if invite_id in core.state.invites:
        return True
    return any(
        record.invite_id == invite_id and record.mid == core.me
        for record in _opened(envelope for _, envelope in core.archive.chain(records))
    )


def _opened(envelopes: Iterable[bytes]) -> Iterable[InviteOpen]:
    for envelope in envelopes:
        record = peek(envelope).record
        if isinstance(record, InviteOpen):
            yield record
