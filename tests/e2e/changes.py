"""One changed byte, anywhere in anything."""

from __future__ import annotations

from hypothesis import strategies as st

Change = tuple[int, int]
"""Where, modulo the length, and by what (XOR): sizes of signatures vary, these bounds do not."""
changes = st.tuples(st.integers(0, 0xFFFF), st.integers(1, 255))


def changed(raw: bytes, change: Change) -> bytes:
    """`raw` with one byte changed."""
    at, by = change
    made = bytearray(raw)
    made[at % len(made)] ^= by
    return bytes(made)
