"""Small records that hold at once, and are on the disk as soon as it takes them."""

from __future__ import annotations

from contextlib import suppress

from bridge.core.network import Host
from ofcd.client import VaultUnwritable

__all__ = ["Kept"]


class Kept:
    """Records of one network's tables, as `Host.table` names those."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._unkept: dict[tuple[str, str], bytes | None] = {}
        """What the disk does not say yet; None: that the record is gone."""

    def get(self, table: str, key: str) -> bytes | None:
        """A record, also one that the disk has not taken."""
        if (table, key) in self._unkept:
            return self._unkept[table, key]
        return self._host.vault.get(table, key.encode())

    def note(self, table: str, key: str, record: bytes | None) -> None:
        """It is so from now on; on the disk with the next `keep`. None: there is none."""
        self._unkept[table, key] = record

    def keep(self) -> None:
        """Bring to the disk what it does not say yet; what it does not take, the next time."""
        if not self._unkept:
            return
        with suppress(VaultUnwritable), self._host.transaction() as tx:
            for (table, key), record in self._unkept.items():
                if record is None:
                    tx.delete(table, key.encode())
                else:
                    tx.put(table, key.encode(), record)
            tx.on_commit(self._unkept.clear)
