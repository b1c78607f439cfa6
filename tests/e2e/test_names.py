"""Names to show, and names to save under."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofcd.e2e.attachments import safe_file_name, safe_mime
from ofcd.e2e.names import NAME_CHARACTERS, display_name, visible_text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("Ana", "Ana"),
        ("  Ana \t  Maria\n", "Ana Maria"),
        ("A\x00n\x1b[31ma", "An[31ma"),
        ("Ana\u202egnp.exe", "Anagnp.exe"),
        ("\u2066Ana\u2069", "Ana"),
        ("A\u200bn\u200da\ufeff", "Ana"),
        ("A\u00adna", "Ana"),
        ("\u3164\u2800\u115f", ""),
        ("Ana\ufe0f", "Ana"),
        ("e\u0301", "\u00e9"),
        ("Z" + "\u0334" * 30, "Z\u0334\u0334"),
        ("Ana\u2028Bo", "Ana Bo"),
        ("\ud800Ana", "Ana"),
        ("", ""),
        ("日本語 🦀", "日本語 🦀"),
        ("x" * 100, "x" * NAME_CHARACTERS),
    ],
)
def test_a_display_name_can_not_hide_or_reorder(raw: str, shown: str) -> None:
    """Control, bidi, zero-width and blank characters are gone, and the name is short."""
    assert display_name(raw) == shown


@given(st.text())
def test_a_display_name_is_one_short_visible_line(raw: str) -> None:
    """Whatever comes in, what comes out is short, trimmed, printable, and stays as it is."""
    shown = display_name(raw)
    assert len(shown) <= NAME_CHARACTERS
    assert shown == shown.strip()
    assert all(unicodedata.category(c)[0] != "C" for c in shown)
    assert len(shown.splitlines()) <= 1
    assert display_name(shown) == shown


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\U0001f469\u200d\U0001f467", "\U0001f469\u200d\U0001f467"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("\u200da \u200cb", "a b"),
        ("a\u200c\u200d\u200db", "a\u200cb"),
        ("\u202ea\u200bb\ufeff", "ab"),
        ("a" + "\u200d\u0301" * 9, "a\u200d\u0301\u200d\u0301\u200d"),
        ("\u2764\ufe0f \u2139\ufe0f 1\ufe0f\u20e3", "\u2764\ufe0f \u2139\ufe0f 1\ufe0f\u20e3"),
        ("\U0001f3f3\ufe0f\u200d\U0001f308", "\U0001f3f3\ufe0f\u200d\U0001f308"),
        ("a\ufe0f\ufe0f \ufe0f\u2764\ufe0f\ufe0f\ufe0e\U000e0100", "a \u2764\ufe0f"),
    ],
)
def test_text_that_is_read_keeps_what_joins_characters(raw: str, shown: str) -> None:
    """One between two, one behind a sign; nothing else unseen, and marks do not stack by it."""
    assert visible_text(raw, joiners=True) == shown
    assert not set(visible_text(raw)) & {"\u200c", "\u200d", "\ufe0f"}


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../x", "x"),
        ("..\\..\\x.txt", "x.txt"),
        ("/etc/passwd", "passwd"),
        ("C:\\boot.ini", "boot.ini"),
        ("..", "file"),
        (".", "file"),
        ("", "file"),
        ("dir/", "file"),
        (".bashrc", "bashrc"),
        ("a\x00b\n.txt", "ab .txt"),
        ("cat\u202egpj.exe", "catgpj.exe"),
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("com1", "_com1"),
        ('a<b>:"|?*.txt', "a_b______.txt"),
        ("name. . ", "name"),
        ("n" * 300 + ".tar", "n" * 196 + ".tar"),
        ("日" * 100 + ".png", "日" * 65 + ".png"),
        ("a." + "b" * 300, "a." + "b" * 198),
    ],
)
def test_30_a_file_name_stays_inside(raw: str, name: str) -> None:
    """Test 30: no name leads out of the folder, hides the file or names a device."""
    assert safe_file_name(raw) == name


@given(st.text())
def test_30_every_file_name_is_one_plain_component(raw: str) -> None:
    """Test 30: whatever the sender wrote, one visible path component of at most 200 bytes."""
    name = safe_file_name(raw)
    assert name not in ("", ".", "..")
    assert not name.startswith(".")
    assert not set(name) & set('/\\:*?"<>|\0')
    assert 0 < len(name.encode("utf-8")) <= 200
    assert safe_file_name(name) == name


@pytest.mark.parametrize(
    ("raw", "mime"),
    [
        ("image/png", "image/png"),
        (" Text/HTML ", "text/html"),
        ("text/html; charset=x", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("image/png\nX-Evil: 1", "application/octet-stream"),
    ],
)
def test_a_media_type_is_one_or_none(raw: str, mime: str) -> None:
    """Only a plain type/subtype passes."""
    assert safe_mime(raw) == mime
