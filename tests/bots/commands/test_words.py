"""Words of a line: what quotes, escapes and phones' own characters mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.commands.words import BadLine, TooManyWords, Words, quote, shown


def split(line: str, most: int = 1_000) -> list[str]:
    """All words of a line."""
    words, found = Words(line, most=most), []
    while (word := words.peek()) is not None:
        words.take(word)
        found.append(word.text)
    return found


@given(st.lists(st.text()))
def test_what_is_quoted_is_read_back(texts: list[str]) -> None:
    """Any texts, quoted and joined by blanks, are the same words again."""
    assert split(" ".join(map(quote, texts))) == texts


@given(st.text())
def test_a_quoted_word_is_never_an_option(text: str) -> None:
    """What was quoted is a value, whatever it begins with."""
    word = Words(quote(text)).peek()
    assert word is not None
    assert not word.is_option


@given(st.text(alphabet="ab \\\"'\u201c\u201d-=\n"))
def test_any_line_is_words_or_has_an_open_quote(line: str) -> None:
    """Words lie in their line, in order, and cover all of it but white space."""
    words, end = Words(line, most=1_000), 0
    try:
        while (word := words.peek()) is not None:
            assert not line[end : word.start].strip()
            assert end <= word.start < word.end <= len(line)
            words.take(word)
            end = word.end
    except BadLine:
        assert any(mark in line for mark in "\"'\u201c\u201d")
    else:
        assert not line[end:].strip()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('two "two words" x', ["two", "two words", "x"]),
        ("'single quotes'", ["single quotes"]),
        ("\u201cfrom a phone\u201d", ["from a phone"]),
        ("\u201eauf Deutsch\u201c", ["auf Deutsch"]),
        ("\u00aben fran\u00e7ais\u00bb", ["en fran\u00e7ais"]),
        ("don't isn't", ["don't", "isn't"]),
        (r"a\ b \"c\" \\", ["a b", '"c"', "\\"]),
        (r"C:\temp", [r"C:\temp"]),
        ('--to="two words"', ["--to=two words"]),
        ('a"b c"', ['a"b', 'c"']),
        ('""', [""]),
        ('"a"b', ["ab"]),
        ("a\nb\u00a0c", ["a", "b", "c"]),
    ],
)
def test_words(line: str, words: list[str]) -> None:
    """Quotes open at a word's start or an option's value, and are themselves elsewhere."""
    assert split(line) == words


@pytest.mark.parametrize("line", ['"open', "'open", 'a "b', "\u201copen", '"escaped\\"'])
def test_an_open_quote_is_said(line: str) -> None:
    """A quote that nothing closes is an error, not a guess."""
    with pytest.raises(BadLine):
        split(line)


def test_words_are_bounded() -> None:
    """Past the bound nothing is read."""
    assert split("a b c", most=3) == ["a", "b", "c"]
    with pytest.raises(TooManyWords):
        split("a b c d", most=3)


def test_the_rest_is_left_as_written() -> None:
    """The rest of a line keeps its quotes, blanks and new lines."""
    words = Words("first  \"it's  \n me \\ ")
    word = words.peek()
    assert word is not None
    words.take(word)
    assert words.rest() == "\"it's  \n me \\"
    assert words.peek() is None


@given(st.text())
def test_what_is_shown_is_one_short_printable_line(text: str) -> None:
    """A word said back holds no control or direction characters and stays short."""
    assert shown(text).isprintable()
    assert len(shown(text)) <= 42
