"""From a hook's body to words: `string.Template` over the JSON's fields (sans-IO).

Not `str.format`, which reaches attributes of what it is given.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from string import Template
from typing import Any, Final

from bots.shelf.words import quoted

__all__ = ["NothingToSay", "fields_of", "text_of"]

FIELDS: Final = 500
DEPTH: Final = 8
VALUE: Final = 500
"""Characters of one field."""


class NothingToSay(Exception):
    """A body is no JSON, or holds nothing of what its template names."""


class _Fields(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return ""


def text_of(template: str, content_type: str, body: bytes) -> str:
    """What is said about a request; what is not in it is left out. Raises `NothingToSay`."""
    fields = _Fields(fields_of(content_type, body))
    text = Template(template).substitute(fields).strip()
    names = Template(template).get_identifiers()
    if not text or (names and not any(fields[name] for name in names)):
        raise NothingToSay(f"the body has none of the fields that are told: {template[:100]}")
    return text


def fields_of(content_type: str, body: bytes) -> dict[str, str]:
    """A body's fields by name: {"a": {"b": [1]}} has the field a_b_0. Raises `NothingToSay`."""
    if content_type.partition(";")[0].strip().lower() == "text/plain":
        return {"text": quoted(body.decode("utf-8", "replace"), VALUE)}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise NothingToSay("the body is no JSON") from None
    fields: dict[str, str] = {}
    for name, value in _flat("", found, 0):
        if len(fields) >= FIELDS:
            break
        fields[name] = quoted(value, VALUE)
    return fields


def _flat(name: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list) and depth < DEPTH:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from _flat(f"{name}_{key}" if name else str(key), inner, depth + 1)
    elif isinstance(value, str):
        yield name, value
    elif isinstance(value, bool | int | float):
        yield name, json.dumps(value)
