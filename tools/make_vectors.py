"""Writes tests/vectors: what another implementation of OFC/1 can check itself against.

`make vectors` writes the files that follow from the code alone. Keys, and whatever is sealed or
signed under them (both are randomised), are made once and then kept: `make vectors ARGS=--fresh`
makes them anew, which is right after a change of the protocol and wrong at any other time.

All keys here are made up for tests. Bytes stand as hex, unless they are JSON or text themselves.
themis.json is not made here: see tests/themis/make_vectors.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.vectors.making import (
    chain,
    comparing,
    evidence,
    forced,
    frames,
    ids,
    lite,
    messages,
    moves,
    records,
    sealed,
    successions,
)

FOLDER: Final = Path(__file__).parent.parent / "tests" / "vectors"

DERIVED: Final[dict[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "ids.json": ids.make,
    "records.json": records.make,
    "frames.json": frames.make,
    "contexts.json": messages.make_contexts,
    "bodies.json": messages.make_bodies,
    "names.json": messages.make_names,
    "invites.json": messages.make_invites,
    "comparing.json": comparing.make,
    "lite.json": lite.make,
}
"""Files that follow from the code (and keys.json): written every time."""
MADE_ONCE: Final[dict[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "sealed.json": sealed.make,
    "chain.json": chain.make,
    "evidence.json": evidence.make,
    "moves.json": moves.make,
    "successions.json": successions.make,
    "forced.json": forced.make,
}
"""Files that hold randomness: written where they are missing, or with --fresh."""


def render(content: dict[str, Any]) -> str:
    """The text of a file of vectors."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def load(name: str) -> dict[str, Any]:
    """A file of vectors."""
    found: dict[str, Any] = json.loads((FOLDER / name).read_text("utf-8"))
    return found


def main(arguments: list[str]) -> None:
    """Write what is due, and say what was written."""
    fresh = "--fresh" in arguments
    FOLDER.mkdir(parents=True, exist_ok=True)
    if fresh or not (FOLDER / "keys.json").exists():
        _write("keys.json", sealed.make_keys())
    keys = load("keys.json")
    for name, make in DERIVED.items():
        _write(name, make(keys))
    for name, make in MADE_ONCE.items():
        if fresh or not (FOLDER / name).exists():
            _write(name, make(keys))


def _write(name: str, content: dict[str, Any]) -> None:
    path = FOLDER / name
    text = render(content)
    changed = not path.exists() or path.read_text("utf-8") != text
    path.write_text(text, "utf-8")
    print(f"{name}: {'written' if changed else 'unchanged'}")


if __name__ == "__main__":
    main(sys.argv[1:])
