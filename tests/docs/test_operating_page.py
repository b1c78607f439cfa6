"""docs/operating.md knows every setting, metric, exit code and sentence that it should."""

from __future__ import annotations

import json
import re
from typing import Any, Literal, get_args, get_origin

import attrs
import pytest

from ofcd import cli
from ofcd.config.fields import DOC, Doc, Size, describe_range, show_size
from ofcd.config.sections import SECTIONS
from ofcd.daemon.identity import KEY_FILE
from ofcd.daemon.metrics import Metrics
from tests.docs.pages import ROOT, page, section, tables

TEXT = page("docs/operating.md")
ARCHITECTURE = page("docs/architecture.md")


def _default(setting: attrs.Attribute[Any]) -> str:
    value: Any = setting.default
    if setting.type is Size:
        return json.dumps(show_size(value)) if value else "0"
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def _allowed(setting: attrs.Attribute[Any]) -> str:
    if get_origin(setting.type) is Literal:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in get_args(setting.type))
    return describe_range(setting.metadata[DOC])


def _row(setting: attrs.Attribute[Any]) -> list[str]:
    doc: Doc = setting.metadata[DOC]
    about = " ".join(f"{doc.text} {doc.safe}".split())
    return [f"`{setting.name}`", f"`{_default(setting)}`", _allowed(setting), about]


@pytest.mark.parametrize("name", SECTIONS)
def test_every_setting_stands_under_the_heading_of_its_section(name: str) -> None:
    """With default, range and meaning as the settings themselves have them."""
    (rows,) = tables(section(TEXT, name))
    assert rows == [_row(setting) for setting in attrs.fields(SECTIONS[name])]


def test_every_metric_stands_there() -> None:
    """Neither more nor fewer than are served, with the kind and the labels they have."""
    (rows,) = tables(section(TEXT, "Metrics"))
    served = re.findall(r"^# TYPE (\w+) (\w+)$", Metrics().render().decode(), re.MULTILINE)
    known = {
        name.removesuffix("_total"): kind for name, kind in served if not name.endswith("_created")
    }
    assert {row[0].strip("`"): row[1].split(",")[0] for row in rows} == known


def test_every_exit_code_stands_there() -> None:
    """The table has a row for each EXIT_ of the command."""
    (rows,) = tables(section(TEXT, "Exit codes"))
    codes = {value for name, value in vars(cli).items() if name.startswith("EXIT_")}
    assert {int(row[0]) for row in rows} == codes


def test_sentences_quoted_for_troubleshooting_are_sentences_of_the_program() -> None:
    """Who searches the page for what the relay said finds it."""
    source = "\n".join(path.read_text() for path in (ROOT / "ofcd").rglob("*.py"))
    joined = re.sub(r"[\"']\s*\n\s*f?[\"']", "", source)
    first, others, _ = tables(section(TEXT, "Troubleshooting"))
    quoted = [words for row in (*first, *others) for words in re.findall(r"`([^`]+)`", row[0])]
    assert [words for words in quoted if words not in joined] == []


def test_keys_named_in_sentences_are_settings() -> None:
    """What the pages for operators call `section.key`, or set in TOML, is there."""
    keys = {
        f"{name}.{setting.name}"
        for name, kind in SECTIONS.items()
        for setting in attrs.fields(kind)
    }
    keys.add(KEY_FILE)  # has the form of one
    names = "|".join(SECTIONS)
    for text in (TEXT, page("SECURITY.md"), page("README.md"), ARCHITECTURE):
        dotted = re.findall(rf"`((?:{names})\.[a-z_]+)`", text)
        assert [key for key in dotted if key not in keys] == []
        assigned = re.findall(r"`([a-z_]+) = ", text)
        assert [key for key in assigned if not any(k.endswith(f".{key}") for k in keys)] == []
