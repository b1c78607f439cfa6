"""One statement of a handler's, and what it was answered."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, Final

from attrs import define, field

from bots.tables.errors import TablesRefused

__all__ = ["Answer", "Op", "Rows", "load_writes", "plain", "save_writes"]

Rows = Sequence[Sequence[Any]]

_BLOB: Final = "b"


@define(eq=False)
class Answer:
    """What a statement was answered, to be told from another answer later."""

    digest: bytes
    """Of its rows, how many it changed, the id it gave; or of the error it met."""
    changed: int
    """Rows inserted, changed or removed; -1 where that is not known."""

    @classmethod
    def of(cls, rows: Rows, changed: int, given_id: int | None) -> Answer:
        """The answer of a statement that went well."""
        seen = repr((rows, changed, given_id if changed == 1 else None))
        return cls(hashlib.sha256(seen.encode("utf-8", "surrogatepass")).digest(), changed)

    @classmethod
    def error(cls, error: BaseException) -> Answer:
        """The answer of one that failed."""
        return cls(b"failed: " + type(error).__name__.encode(), -1)


@define(eq=False)
class Op:
    """A statement as SQLite got it."""

    sql: str
    parameters: list[Any] = field(repr=False)
    """Values in their order, or a list of such for a statement run many times."""
    many: bool
    writes: bool
    """Whether it changed something, so that it has to be done again where it was not committed."""
    answer: Answer
    at: int
    """The version of the tables that it was answered by."""
    purges: bool = False
    """Whether a new image is to be made once it is committed."""

    @property
    def failed(self) -> bool:
        """Whether its answer was an error."""
        return self.answer.digest.startswith(b"failed: ")


# -- as bytes --------------------------------------------------------------------------------------


def save_writes(ops: Sequence[Op]) -> bytes:
    """What changed something, to be done again when the tables are loaded."""
    kept = [[op.sql, op.parameters, op.answer.changed] for op in ops if op.writes]
    return json.dumps(kept, separators=(",", ":"), default=_encode).encode("utf-8", "surrogatepass")


def load_writes(raw: bytes) -> list[Op]:
    """What `save_writes` saved; its answers know only how many rows were changed."""
    kept = json.loads(raw, object_hook=_decode)
    return [
        Op(sql, values, bool(values) and isinstance(values[0], list), True, Answer(b"", n), -1)
        for sql, values, n in kept
    ]


def plain(values: Sequence[Any]) -> list[Any]:
    """Values of one run of a statement; raises `TablesRefused` for one that can not be kept."""
    for value in values:
        if not isinstance(value, int | float | str | bytes | bytearray | memoryview | None):
            raise TablesRefused(
                f"a {type(value).__name__} can not be kept as it is: give its column a type, or "
                "pass a number, a text or bytes"
            )
    return list(values)


def _encode(value: bytes) -> dict[str, str]:
    return {_BLOB: b64encode(value).decode()}


def _decode(found: dict[str, str]) -> bytes:
    return b64decode(found[_BLOB])
