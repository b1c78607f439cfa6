"""A control log as a relay shows it, page by page, before anything of it is verified."""

from __future__ import annotations

from ofcd.protocol import limits
from ofcd.protocol.frames import ChainPage, RelayFrame

__all__ = ["ChainPages"]


class ChainPages:
    """The records of the pages so far: in order, and no more than a room may have."""

    def __init__(self) -> None:
        """Empty."""
        self.records: list[tuple[int, bytes]] = []
        """(seq, envelope), in order of seq."""
        self.more = False
        """The last page said that more follow."""
        self._bytes = 0

    @property
    def next_seq(self) -> int:
        """Where the next page begins."""
        return self.records[-1][0] + 1 if self.records else 0

    def take(self, page: RelayFrame) -> bool:
        """Add a page; False for what can be none: the relay does not play by the rules."""
        if not isinstance(page, ChainPage) or len(page.seqs) != len(page.records):
            return False
        for seq, record in zip(page.seqs, page.records, strict=True):
            self._bytes += len(record) + limits.CHAIN_OVERHEAD
            if seq < self.next_seq or self._bytes > limits.CHAIN_BYTES:
                return False
            self.records.append((seq, record))
        self.more = page.more
        return bool(page.seqs) or not page.more
