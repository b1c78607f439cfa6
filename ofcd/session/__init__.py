"""One link: bytes in, authenticated frames out, and back. `ClientSession` and `RelaySession`.

Law: sans-IO. States: handshake -> hello -> open -> closed; whatever does not fit the state closes.
Never reaches `e2e` or `client`.
"""

from __future__ import annotations

from ofcd.session.bulk import BulkReader, BulkSealer, SealedBulk
from ofcd.session.session import ClientSession, Received, RelaySession, SessionState

__all__ = [
    "BulkReader",
    "BulkSealer",
    "ClientSession",
    "Received",
    "RelaySession",
    "SealedBulk",
    "SessionState",
]
