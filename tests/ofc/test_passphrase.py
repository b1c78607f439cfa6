"""The passphrase comes from a file, the environment, or the person; never from elsewhere."""

from __future__ import annotations

import getpass
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ofcd.client.errors import VaultError
from ofcd.ofc.errors import NoPassphrase, UsageError
from ofcd.ofc.passphrase import ask_new, obtain


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OFC_PASSPHRASE", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys, "stderr", io.StringIO())


def types(monkeypatch: pytest.MonkeyPatch, *answers: str) -> Iterator[str]:
    left = iter(answers)
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda prompt, stream: next(left))
    return left


def test_a_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first line, without the line's end, whatever the environment says."""
    monkeypatch.setenv("OFC_PASSPHRASE", "other")
    (tmp_path / "p").write_bytes(b"so geheim \r\nmore\n")
    assert obtain(str(tmp_path / "p")) == "so geheim "


def test_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked, terminal or not."""
    types(monkeypatch)
    monkeypatch.setenv("OFC_PASSPHRASE", "secret")
    assert obtain(None) == obtain(None, new=True) == "secret"


def test_then_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for a vault that is there."""
    types(monkeypatch, "typed")
    assert obtain(None) == "typed"


def test_a_new_one_is_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a slip of the finger loses no vault."""
    left = types(monkeypatch, "typed", "typed")
    assert obtain(None, new=True) == "typed"
    assert list(left) == []


def test_two_different_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is changed."""
    types(monkeypatch, "typed", "tpyed")
    with pytest.raises(UsageError, match="differ"):
        ask_new()


def test_an_empty_new_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It protects nothing."""
    types(monkeypatch, "")
    with pytest.raises(UsageError, match="empty"):
        ask_new()


@pytest.mark.parametrize("given", ["", None])
def test_without_any_there_is_a_sentence(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names both ways to give one."""
    if given is not None:
        monkeypatch.setenv("OFC_PASSPHRASE", given)
    with pytest.raises(NoPassphrase, match=r"OFC_PASSPHRASE.*--passphrase-file"):
        obtain(None)


@pytest.mark.parametrize(
    ("content", "error"), [(None, VaultError), (b"\n", NoPassphrase), (b"\xff\n", VaultError)]
)
def test_a_bad_file_is_named(content: bytes | None, error: type[Exception], tmp_path: Path) -> None:
    """Missing, empty, not text."""
    path = tmp_path / "p"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=str(path)):
        obtain(str(path))
