"""Instances of every record and frame, as hypothesis strategies and as plain samples."""

from __future__ import annotations

import types
from enum import StrEnum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
from hypothesis import strategies as st

from ofcd.protocol import ids
from ofcd.protocol.ids import PublicKey
from ofcd.protocol.limits import INT_MAX
from ofcd.protocol.records import Policy, Role

HASHES = (ids.Hash32, ids.RoomId, ids.MemberId, ids.RelayId, ids.EventId)
SHORT = (ids.Sid, ids.InviteId, ids.BlobId)
ADDRESSES = ("wss://r.example", "ws://[2001:db8::7]:5100/ofc", "ws://127.0.0.1:65535")
TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)


def public_keys() -> st.SearchStrategy[PublicKey]:
    """Keys of canonical form; nothing here asks whether they are on the curve."""
    return st.builds(
        lambda crc, sign, x: PublicKey(b"UEC2\0\0\0\x2d" + crc + bytes([sign]) + x),
        st.binary(min_size=4, max_size=4),
        st.sampled_from([2, 3]),
        st.binary(min_size=32, max_size=32),
    )


def policies() -> st.SearchStrategy[Policy]:
    return st.builds(
        Policy,
        rotate_after=st.integers(2, 1000),
        boxed_every=st.integers(1, 100),
        max_members=st.integers(1, 500),
        join_rekey=st.booleans(),
    )


def values(annotation: Any, name: str) -> st.SearchStrategy[Any]:
    """Values of a field of this type that pass its validators."""
    if name == "v":
        return st.just(1)
    if name == "role":
        return st.sampled_from([Role.CO_OWNER, Role.MEMBER, Role.READONLY])
    if name == "versions":
        return st.lists(st.integers(0, 9), min_size=1, max_size=8).map(tuple)
    if name == "urls":
        return st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=4).map(tuple)
    if annotation in HASHES:
        return st.binary(min_size=32, max_size=32)
    if annotation in SHORT:
        return st.binary(min_size=16, max_size=16)
    if annotation is PublicKey:
        return public_keys()
    if annotation is Policy:
        return policies()
    if annotation is int:
        return st.integers(1, INT_MAX)
    if annotation is bool:
        return st.booleans()
    if annotation is str:
        return TEXTS
    if annotation is bytes:
        return st.binary(min_size=1, max_size=40)
    return _compound(annotation, name)


def _compound(annotation: Any, name: str) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return st.one_of(*(st.none() if a is type(None) else values(a, "") for a in arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0], ""), min_size=1, max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(a, "") for a in arguments))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return st.sampled_from(list(annotation))
    return instances(annotation)


def instances(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Valid instances of an attrs class."""
    hints = get_type_hints(cls)
    return st.builds(cls, **{f.name: values(hints[f.name], f.name) for f in attrs.fields(cls)})
