"""Writes `config.example.toml` from the settings themselves, so the two can not drift."""

import inspect
import json
import textwrap
from typing import Any, Final, Literal, get_args, get_origin

import attrs

from ofcd.config.fields import DOC, Doc, Networks, Size, describe_range, show_size
from ofcd.config.sections import SECTIONS

HEAD: Final = """\
# The settings of an ofcd relay, each at its default: what you do not change you may leave out.
# Start with it: ofcd --config config.example.toml
# A relative path starts at this file's directory. A size is bytes, or a text such as "64 KiB".
# Written by `make example` from ofcd/config.
"""


def render_example() -> str:
    """The text of `config.example.toml`: every section and key, its doc above, at its default."""
    return HEAD + "".join(_render_section(name, kind) for name, kind in SECTIONS.items())


def _render_section(name: str, kind: type[Any]) -> str:
    about = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
    head = "\n".join(_comment(paragraph) for paragraph in about)
    keys = "\n".join(_render_key(attribute) for attribute in attrs.fields(kind))
    return f"\n\n{head}\n[{name}]\n{keys}"


def _render_key(attribute: "attrs.Attribute[Any]") -> str:
    doc: Doc = attribute.metadata[DOC]
    lines = [_comment(f"{doc.text} {_allowed(attribute, doc)}")]
    lines += [_comment(doc.safe)] if doc.safe else []
    return "\n".join(lines) + f"\n{attribute.name} = {_toml(attribute)}\n"


def _allowed(attribute: "attrs.Attribute[Any]", doc: Doc) -> str:
    origin: Any = get_origin(attribute.type)
    if origin is Literal:
        return "One of " + ", ".join(map(json.dumps, get_args(attribute.type))) + "."
    bounds = describe_range(doc)
    return f"{bounds[0].upper()}{bounds[1:]}." if bounds else ""


def _toml(attribute: "attrs.Attribute[Any]") -> str:
    """The default as TOML writes it; JSON's texts are TOML's."""
    value: Any = attribute.default
    if attribute.type is Size:
        return json.dumps(show_size(value)) if value else "0"
    if attribute.type is Networks:
        return json.dumps([str(network) for network in value])
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def _comment(text: str) -> str:
    words = " ".join(text.split())
    return textwrap.fill(words, 96, initial_indent="# ", subsequent_indent="# ")
