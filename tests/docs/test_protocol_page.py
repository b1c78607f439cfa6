"""docs/protocol.md is exact: every frame, record, body, box, limit and code, field by field."""

from __future__ import annotations

import enum
import re
import types
import typing
from typing import Any

import attrs
import pytest

from ofcd.e2e import attachments, bodies, boxes, joining, signals
from ofcd.protocol import frames, limits, records
from ofcd.protocol.codes import RETRYABLE, SENTENCES, Code
from ofcd.protocol.ids import (
    BlobId,
    EventId,
    Hash32,
    InviteId,
    MemberId,
    PublicKey,
    RelayId,
    RoomId,
    Sid,
)
from tests.docs.pages import ROOT, Row, page, section, tables

TEXT = page("docs/protocol.md")
_KINDS: dict[Any, str] = {
    int: "int",
    str: "text",
    bool: "bool",
    bytes: "bytes",
    PublicKey: "key",
    **dict.fromkeys((Hash32, RoomId, MemberId, RelayId, EventId), "b32"),
    **dict.fromkeys((Sid, InviteId, BlobId), "b16"),
}
_FIELD = re.compile(r"`([a-z_]\w*\??: [^`]+)`")
_CONTROL = ["v: int", "room: b32", "mid: b32", "prev: b32", "seen: Seen", "ts: int"]


def _kind(annotation: Any) -> str:
    """A type as the page writes it."""
    arguments = typing.get_args(annotation)
    if annotation in _KINDS:
        return _KINDS[annotation]
    if typing.get_origin(annotation) is tuple:
        if arguments[1:] == (Ellipsis,):
            return f"[{_kind(arguments[0])}…]"
        return f"[{', '.join(map(_kind, arguments))}]"
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        (only,) = (one for one in arguments if one is not type(None))
        return _kind(only)
    if issubclass(annotation, enum.Enum):
        return "text"
    name: str = annotation.__name__
    return name


def _fields(cls: type[Any]) -> list[str]:
    """The JSON fields of a class, as the page writes them."""
    hints = typing.get_type_hints(cls)
    return [
        f"{f.name}{'' if f.default is attrs.NOTHING else '?'}: {_kind(hints[f.name])}"
        for f in attrs.fields(cls)
        if "part" not in f.metadata
    ]


def _parts(cls: type[Any]) -> list[str]:
    return [
        f.name + ("…" if f.metadata["part"] == "rest" else "")
        for f in attrs.fields(cls)
        if "part" in f.metadata
    ]


def _rows(heading: str) -> dict[str, Row]:
    """The rows of all tables in a section, by the code in their first cell."""
    return {row[0].strip("`"): row for table in tables(section(TEXT, heading)) for row in table}


def _named(cell: str) -> list[str]:
    found = _FIELD.findall(cell)
    return [*_CONTROL, *found] if cell.startswith("*control*") else found


@pytest.mark.parametrize(
    ("heading", "classes"),
    [
        ("From client to relay", frames.CLIENT_FRAMES),
        ("From relay to client", frames.RELAY_FRAMES),
    ],
)
def test_every_frame_stands_there_with_its_fields_and_parts(
    heading: str, classes: dict[str, type[Any]]
) -> None:
    """Neither more nor fewer frames, fields and parts than the codec knows, in the same order."""
    rows = _rows(heading)
    assert list(rows) == list(classes)
    for name, cls in classes.items():
        assert _named(rows[name][1]) == _fields(cls), name
        assert re.findall(r"`([^`]+)`", rows[name][2]) == _parts(cls), name


def test_every_frame_between_relays_stands_there_with_its_fields_and_parts() -> None:
    """Those that are theirs alone: the others stand with the clients' frames."""
    rows = _rows("19. Federation")
    known = {**frames.CLIENT_FRAMES, **frames.RELAY_FRAMES}
    own = {name: cls for name, cls in frames.PEER_FRAMES.items() if name not in known}
    assert list(rows) == list(own)
    for name, cls in own.items():
        assert _named(rows[name][1]) == _fields(cls), name
        assert re.findall(r"`([^`]+)`", rows[name][2]) == _parts(cls), name


def test_every_record_stands_there_with_its_fields() -> None:
    """Neither more nor fewer records and fields than the codec knows, in the same order."""
    rows = _rows("4. Records")
    assert list(rows) == list(records.RECORD_TYPES)
    for name, cls in records.RECORD_TYPES.items():
        assert _named(rows[name][1]) == _fields(cls), name


@pytest.mark.parametrize(
    ("heading", "name", "cls"),
    [
        ("From relay to client", "RelayLimits", frames.RelayLimits),
        ("4. Records", "Seen", records.Seen),
        ("4. Records", "Policy", records.Policy),
        ("Sending", "Via", bodies.Via),
    ],
)
def test_nested_objects_stand_there_with_their_fields(
    heading: str, name: str, cls: type[Any]
) -> None:
    """A sentence names each field of an object that stands inside another."""
    text = " ".join(section(TEXT, heading).split())
    _, _, after = text.partition(f"`{name}`")
    assert _FIELD.findall(after)[: len(_fields(cls))] == _fields(cls)


def test_every_message_type_stands_there_with_its_content() -> None:
    """Neither more nor fewer bodies and fields than the codec knows."""
    rows = _rows("Sending")
    for name, cls in bodies.BODY_TYPES.items():
        assert _named(rows[name][1]) == _fields(cls), name


def test_every_box_stands_there_with_its_fields() -> None:
    """Neither more nor fewer purposes than there are."""
    rows = _rows("Boxes")
    content = {
        "key": boxes.KeyBox,
        "answer": boxes.AnswerBox,
        "inv": boxes.TokenBox,
        "join": boxes.JoinBox,
    }
    assert sorted(rows) == sorted(typing.get_args(boxes.Purpose)) == sorted(content)
    for name, cls in content.items():
        assert _named(rows[name][1]) == _fields(cls), name


@pytest.mark.parametrize(
    ("heading", "cls"), [("7. Joining", joining.Welcome), ("12. Signals", signals.Signal)]
)
def test_what_other_cells_hold_stands_there(heading: str, cls: type[Any]) -> None:
    """The sealed part of JOIN_RESP, and a signal."""
    text = section(TEXT, heading)
    missing = [field for field in _fields(cls) if f"`{field}`" not in text]
    assert missing == []


def test_every_limit_stands_there_with_its_value() -> None:
    """The table is `protocol/limits.py`."""
    rows = _rows("14. Limits")
    known = {
        name: value
        for name, value in vars(limits).items()
        if name.isupper() and name not in ("KIB", "MIB")
    }
    assert {name: int(row[1]) for name, row in rows.items()} == known


def test_every_code_stands_there_with_its_sentence() -> None:
    """The table is `protocol/codes.py`; `again` marks exactly the codes that may be retried."""
    rows = _rows("15. Errors")
    assert list(rows) == [code.value for code in Code]
    for code in Code:
        assert rows[code.value][1:] == ["again" if code in RETRYABLE else "", SENTENCES[code]]


def test_every_hash_tag_stands_there() -> None:
    """No context or id is made with a tag that the page does not name.

    Aside are those of what one program keeps for itself: a vault, boxes on a bridge's disk.
    """
    source = "\n".join(path.read_text() for path in (ROOT / "ofcd").rglob("*.py"))
    tags = set(re.findall(r"(?:tagged_hash|_digits)\(\s*\"([a-z-]+)\"", source))
    local = {"rec", "vault", "fp", "box", "box-id"}
    assert {tag for tag in tags - local if f'H("{tag}"' not in TEXT} == set()


def test_values_that_the_text_names_are_those_of_the_code() -> None:
    """Figures that stand in sentences."""
    for figure, where in (
        (", ".join(str(size // 1024) for size in bodies.BUCKETS[1:4]), "1, 4, 16"),
        (str(bodies.BUCKETS[-1] // 1024), "48 KiB"),
        (str(bodies.FILE_CHUNKS), "960 chunks"),
        (str(attachments.FILE_BYTES // 2**20), "240 MiB"),
        (str(joining.ABANDONED_AFTER // 3_600_000), "24 hours"),
    ):
        assert figure in where
        assert where in TEXT
    policy = records.Policy()
    for name in ("rotate_after", "rotate_hours", "boxed_every", "max_members", "stall_after"):
        assert f"`{name}?: int` ({getattr(policy, name)}" in " ".join(TEXT.split())
