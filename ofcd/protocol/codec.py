r"""The one place where bytes become types, and types bytes (protocol.md §2.1).

Strict JSON (no duplicate keys, no floats, no NUL, no lone surrogates, integers in 0..2^53-1,
bounded depth) into frozen attrs classes. Everything that is wrong raises `Malformed`; any other
exception from `decode_record`, `decode_frame` or `decode_body` is a bug.

A signed payload is `OFC1:<type>\n` and a JSON object. A frame is a JSON head and raw parts:

    u32be head length | head | (u32be part length | part)*

and a link message is `(u32be frame length | frame)*`. Signed bytes travel verbatim, as parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar, get_origin

import attrs
from cattrs import Converter
from cattrs.errors import BaseValidationError, StructureHandlerNotFoundError
from cattrs.gen import make_dict_unstructure_fn, override

from ofcd.protocol import limits
from ofcd.protocol.codes import Code, Malformed
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
    b64decode,
    b64encode,
    check_public_key,
)

__all__ = [
    "Tagged",
    "build",
    "dump_json",
    "join_parts",
    "parse_json",
    "split_parts",
    "unbuild",
]

T = TypeVar("T")
Tagged = dict[str, type]
"""Type names, as they stand on the wire, and their classes."""

_HASHES: Final = (Hash32, RoomId, MemberId, RelayId, EventId)
_SHORT_IDS: Final = (Sid, InviteId, BlobId)
_U32: Final = 4
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


# -- strict JSON ---------------------------------------------------------------------------------


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed(Code.BAD_RECORD, "a JSON key stands twice")
    return found


def _no_float(_: str) -> Any:
    raise Malformed(Code.BAD_RECORD, "JSON numbers here are whole numbers")


def _int(text: str) -> int:
    if len(text) > len(str(limits.INT_MAX)) or not 0 <= (number := int(text)) <= limits.INT_MAX:
        raise Malformed(Code.BAD_RECORD, "a JSON number is out of range")
    return number


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_no_float, parse_constant=_no_float, parse_int=_int
)
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _check_tree(value: Any, depth: int = 0) -> None:
    if isinstance(value, str):
        if "\0" in value or not (value.isascii() or _LONE_SURROGATE.search(value) is None):
            raise Malformed(Code.BAD_RECORD, "a JSON text holds a NUL or half a character")
        return
    if not isinstance(value, dict | list):
        return
    if depth >= limits.JSON_DEPTH:
        raise Malformed(Code.BAD_RECORD, f"JSON is nested deeper than {limits.JSON_DEPTH}")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_tree(key)
            _check_tree(item, depth + 1)
    else:
        for item in value:
            _check_tree(item, depth + 1)


def parse_json(raw: bytes, *, max_bytes: int) -> dict[str, Any]:
    """The object in `raw`, checked against every rule of protocol.md §2.1; else `Malformed`."""
    if len(raw) > max_bytes:
        raise Malformed(Code.TOO_LARGE, f"{len(raw)} bytes of JSON where {max_bytes} are allowed")
    try:
        value = _decoder.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise Malformed(Code.BAD_RECORD, "the JSON is not UTF-8") from None
    except RecursionError:
        raise Malformed(Code.BAD_RECORD, "JSON is nested too deeply") from None
    except ValueError:
        raise Malformed(Code.BAD_RECORD, "this is not JSON") from None
    if not isinstance(value, dict):
        raise Malformed(Code.BAD_RECORD, "the JSON is not an object")
    _check_tree(value)
    return value


def dump_json(value: dict[str, Any]) -> bytes:
    """`value` as compact UTF-8 JSON."""
    return _encoder.encode(value).encode("utf-8")


# -- attrs classes -------------------------------------------------------------------------------


def _refuse(what: str) -> Malformed:
    return Malformed(Code.BAD_RECORD, f"a field is not {what}")


def _sized(size: int) -> Callable[[Any, Any], bytes]:
    def structure(value: Any, _: Any) -> bytes:
        raw = _bytes(value, _)
        if len(raw) != size:
            raise _refuse(f"{size} bytes long")
        return raw

    return structure


def _bytes(value: Any, _: Any) -> bytes:
    if not isinstance(value, str):
        raise _refuse("base64url text")
    return b64decode(value)


def _exact(kind: type[T]) -> Callable[[Any, Any], T]:
    def structure(value: Any, _: Any) -> T:
        if type(value) is not kind:
            raise _refuse(f"of type {kind.__name__}")
        return value

    return structure


def _word(value: Any, cls: type[StrEnum]) -> StrEnum:
    if type(value) is not str:
        raise _refuse("a word")
    return cls(value)


def _is(kind: Any) -> Callable[[Any], bool]:
    return lambda annotation: annotation is kind


def _is_tuple(annotation: Any) -> bool:
    return get_origin(annotation) is tuple


def _tuple_of(annotation: Any, inner: Converter) -> Callable[[Any, Any], tuple[Any, ...]]:
    arguments = annotation.__args__
    variadic = len(arguments) == 2 and arguments[1] is Ellipsis

    def structure(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _refuse("a list")
        if variadic:
            return tuple(inner.structure(item, arguments[0]) for item in value)
        if len(value) != len(arguments):
            raise _refuse(f"a list of {len(arguments)}")
        return tuple(
            inner.structure(item, kind) for item, kind in zip(value, arguments, strict=True)
        )

    return structure


def _make_converter() -> Converter:
    made = Converter(detailed_validation=False, omit_if_default=True)
    for kind in (int, str, bool):
        made.register_structure_hook(kind, _exact(kind))
    # The hook of `str` would else serve its subclasses too, and leave them plain texts.
    made.register_structure_hook(StrEnum, _word)
    made.register_structure_hook(bytes, _bytes)
    made.register_unstructure_hook(bytes, b64encode)
    made.register_structure_hook_factory(_is_tuple, _tuple_of)
    for sized, size in [*((h, 32) for h in _HASHES), *((i, 16) for i in _SHORT_IDS)]:
        made.register_structure_hook_func(_is(sized), _sized(size))
        made.register_unstructure_hook_func(_is(sized), b64encode)
    made.register_structure_hook_func(_is(PublicKey), lambda v, _: check_public_key(_bytes(v, _)))
    made.register_unstructure_hook_func(_is(PublicKey), b64encode)
    made.register_unstructure_hook_factory(attrs.has, _without_parts)
    return made


def _without_parts(cls: type) -> Callable[[Any], dict[str, Any]]:
    skipped = {f.name: override(omit=True) for f in attrs.fields(cls) if "part" in f.metadata}
    return make_dict_unstructure_fn(
        cls,
        _converter,
        _cattrs_omit_if_default=True,
        **skipped,  # type: ignore[arg-type]
    )


_converter = _make_converter()


def build(cls: type[T], fields: dict[str, Any], **parts: Any) -> T:
    """An instance of the attrs class `cls` from JSON `fields`; unknown fields are passed over.

    `parts` are the values of fields that travel as raw bytes. Raises `Malformed` for a missing
    field, a wrong type or a failed validator.
    """
    try:
        if parts:
            return _structure_with_parts(cls, fields, parts)
        return _converter.structure(fields, cls)
    except Malformed:
        raise
    except KeyError as missing:
        raise Malformed(Code.BAD_RECORD, f"the field {missing} is missing") from None
    except (
        BaseValidationError,
        StructureHandlerNotFoundError,
        ValueError,
        TypeError,
        AttributeError,
    ):
        raise Malformed(Code.BAD_RECORD, f"a field of {cls.__name__} is out of bounds") from None


def _structure_with_parts(cls: type[T], fields: dict[str, Any], parts: dict[str, Any]) -> T:
    resolved: Any = attrs.resolve_types(cls)  # type: ignore[type-var]  # annotations are text
    known = {f.name: f for f in attrs.fields(resolved) if f.name not in parts}
    taken = {
        name: _converter.structure(fields[name], attribute.type)
        for name, attribute in known.items()
        if name in fields or attribute.default is attrs.NOTHING
    }
    return cls(**taken, **parts)


def unbuild(value: Any) -> dict[str, Any]:
    """The JSON fields of an attrs instance, without its parts and what stands at its default."""
    fields: dict[str, Any] = _converter.unstructure(value)
    return fields


# -- parts ---------------------------------------------------------------------------------------


def join_parts(parts: Iterable[bytes]) -> bytes:
    """Each part after its u32be length."""
    return b"".join([piece for part in parts for piece in (len(part).to_bytes(_U32, "big"), part)])


def split_parts(raw: bytes, *, max_parts: int) -> Sequence[bytes]:
    """The parts that `join_parts` joined; raises `Malformed` unless they fill `raw` exactly."""
    parts: list[bytes] = []
    at, end = 0, len(raw)
    while at < end:
        size = int.from_bytes(raw[at : at + _U32], "big")
        at += _U32
        if at + size > end or len(parts) >= max_parts:
            raise Malformed(Code.BAD_FRAME, "the parts of a frame do not add up")
        parts.append(raw[at : at + size])
        at += size
    if at != end:
        raise Malformed(Code.BAD_FRAME, "the parts of a frame do not add up")
    return parts
