"""One line of text format lite: markers, code, links, mentions. One pass, in linear time.

Markers are kept on a stack that holds each kind at most once, so that nesting is bounded and the
fate of a marker is decided at once. What stays open at the end is literal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from attrs import define, field, frozen

from ofcd.e2e.lite.tree import Bold, Code, Inline, Italic, Line, Link, Mention, Strike, Text
from ofcd.protocol.ids import MemberId

__all__ = ["URL_CHARACTERS", "Mentioned", "address_at", "parse_line"]

Mentioned = tuple[MemberId, str]
"""A member that a message mentions, and the name it may be called by."""

URL_CHARACTERS: Final = 2048
_ADDRESS: Final = r"[!#$%&'()*+,\-./0-9:;=?@A-Z_a-z~]"
_SCHEME: Final = re.compile(r"https?://(?=[0-9A-Za-z])|mailto:(?=[0-9A-Za-z])")
_URL: Final = re.compile(rf"(?:https?://|mailto:)[0-9A-Za-z]{_ADDRESS}*")
_TRAILING: Final = ".,:;!?'*_~"
_SPECIAL: Final = re.compile(r"\\|`+|\*+|_+|~+|[\[\]@]|https?://|mailto:")
_TICKS: Final = re.compile(r"`+")
_PUNCTUATION: Final = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_BLANK: Final = " \t"


def _is_word(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _is_letter(character: str) -> bool:
    """A word's character in any script."""
    return _is_word(character) or character >= "\x80"


# -- markers ---------------------------------------------------------------------------------------


@frozen(eq=False)
class _Marker:
    text: str
    make: Callable[[Line], Inline]
    is_word: Callable[[str], bool] = _is_word
    """What must stand neither before it opens nor behind it closes."""


_BOLD: Final = _Marker("**", Bold)
_STAR: Final = _Marker("*", Italic)
_LOW: Final = _Marker("_", Italic, _is_letter)
_STRIKE: Final = _Marker("~~", Strike)
_LINK: Final = _Marker("[", lambda children: Link("", children))


@define
class _Frame:
    """What stands behind an open marker; without one, the line itself."""

    marker: _Marker | None
    children: list[Inline] = field(factory=list)


class _LineParser:
    def __init__(self, text: str, mentioned: Sequence[Mentioned]) -> None:
        self._text = text
        self._mentioned = mentioned
        self._stack = [_Frame(None)]
        self._ticks = _tick_runs(text)
        self._at = 0

    def parse(self) -> Line:
        text = self._text
        while found := _SPECIAL.search(text, self._at):
            self._say(text[self._at : found.start()])
            self._at = found.end()
            self._take(found.group(), found.start())
        self._say(text[self._at :])
        while len(self._stack) > 1:
            self._give_up(len(self._stack) - 1)
        return _joined(self._stack[0].children)

    def _take(self, token: str, start: int) -> None:
        match token[0]:
            case "\\":
                self._escape()
            case "`":
                self._code(token, start)
            case "[":
                self._open_link()
            case "]":
                self._close_link()
            case "@":
                self._mention(start)
            case "h" | "m":
                self._address(token, start)
            case _:
                self._markers(token, start)

    def _say(self, text: str) -> None:
        if text:
            self._stack[-1].children.append(Text(text))

    def _around(self, start: int) -> tuple[str, str]:
        """The characters before `start` and at the present position; "" at an end."""
        return self._text[max(start - 1, 0) : start], self._text[self._at : self._at + 1]

    # -- pieces without children -----------------------------------------------------------------

    def _escape(self) -> None:
        following = self._text[self._at : self._at + 1]
        if following in _PUNCTUATION:
            self._say(following)
            self._at += 1
        else:
            self._say("\\")

    def _code(self, ticks: str, start: int) -> None:
        closers = self._ticks[len(ticks)]
        while closers and closers[-1] <= start:
            closers.pop()
        if not closers:
            self._say(ticks)
            return
        code = self._text[self._at : closers[-1]]
        if code.startswith(" ") and code.endswith(" ") and code.strip(" "):
            code = code[1:-1]
        self._stack[-1].children.append(Code(code))
        self._at = closers[-1] + len(ticks)

    def _mention(self, start: int) -> None:
        before = self._around(start)[0]
        for member, name in () if before and _is_letter(before) else self._mentioned:
            end = self._at + len(name)
            following = self._text[end : end + 1]
            if self._text.startswith(name, self._at) and not (following and _is_letter(following)):
                self._stack[-1].children.append(Mention(member, name))
                self._at = end
                return
        self._say("@")

    def _address(self, scheme: str, start: int) -> None:
        url, end = address_at(self._text, start)
        if url:
            self._stack[-1].children.append(Link(url, (Text(url),)))
        elif end:
            self._say(self._text[start:end])
        else:
            self._say(scheme)
        self._at = end or self._at

    # -- markers ---------------------------------------------------------------------------------

    def _markers(self, run: str, start: int) -> None:
        before, after = self._around(start)
        may_close = before not in ("", " ", "\t")
        may_open = after not in ("", " ", "\t")
        left = len(run) if run in _RUNS else 0
        while left and may_close and (index := self._to_close(run[0], left, after)):
            left -= self._close(index)
        for marker in _openers(run[0], left):
            if may_open and not self._index(marker) and not (before and marker.is_word(before)):
                self._stack.append(_Frame(marker))
                left -= len(marker.text)
            else:
                break
        self._say(run[:left] if run in _RUNS else run)

    def _to_close(self, character: str, left: int, after: str) -> int:
        """Where on the stack the marker stands that a run of `left` closes; 0: nowhere."""
        open_ones = (self._index(marker) for marker in _CLOSERS[character][left - 1])
        index = max(open_ones, default=0)
        marker = self._stack[index].marker
        return index if marker is not None and not (after and marker.is_word(after)) else 0

    def _close(self, index: int) -> int:
        """Make a piece of what stands behind a marker; returns the marker's length."""
        while len(self._stack) > index + 1:
            self._give_up(len(self._stack) - 1)
        frame = self._stack.pop()
        marker = frame.marker or _BOLD
        self._stack[-1].children.append(marker.make(_joined(frame.children)))
        return len(marker.text)

    def _index(self, marker: _Marker) -> int:
        """Where on the stack a marker stands; 0: nowhere."""
        frames = enumerate(self._stack)
        return next((index for index, frame in frames if frame.marker is marker), 0)

    def _give_up(self, index: int) -> None:
        """A marker turns out to be literal; what stands behind it goes to the frame below."""
        frame = self._stack.pop(index)
        if frame.marker is not None:
            below = self._stack[index - 1].children
            below.append(Text(frame.marker.text))
            below += frame.children

    # -- links -----------------------------------------------------------------------------------

    def _open_link(self) -> None:
        if index := self._index(_LINK):
            self._give_up(index)
        self._stack.append(_Frame(_LINK))

    def _close_link(self) -> None:
        index = self._index(_LINK)
        url = _target_at(self._text, self._at) if index else ""
        if not url:
            if index:
                self._give_up(index)
            self._say("]")
            return
        self._at += len(url) + 2
        while len(self._stack) > index + 1:
            self._give_up(len(self._stack) - 1)
        words = _unlinked(self._stack.pop().children)
        self._stack[-1].children.append(Link(url, _joined(words) or (Text(url),)))


_RUNS: Final = frozenset({"*", "**", "***", "_", "~~"})
_CLOSERS: Final[dict[str, tuple[tuple[_Marker, ...], ...]]] = {
    "*": ((_STAR,), (_BOLD,), (_BOLD, _STAR)),
    "_": ((_LOW,),),
    "~": ((), (_STRIKE,)),
}
"""By a run's character and length (less one): what it may close."""


def _openers(character: str, left: int) -> tuple[_Marker, ...]:
    """What a run opens, outermost first."""
    if character == "*":
        return ((), (_STAR,), (_BOLD,), (_BOLD, _STAR))[left]
    return {"_": (_LOW,), "~": (_STRIKE,)}[character] if left else ()


def _tick_runs(text: str) -> dict[int, list[int]]:
    """Where runs of backticks begin, by their length, the last one first."""
    runs: dict[int, list[int]] = {}
    for found in reversed(list(_TICKS.finditer(text))):
        runs.setdefault(len(found.group()), []).append(found.start())
    return runs


def _joined(pieces: Sequence[Inline]) -> Line:
    """The pieces, texts beside each other made one."""
    made: list[Inline] = []
    words: list[str] = []
    for piece in pieces:
        if isinstance(piece, Text):
            words.append(piece.text)
            continue
        if words:
            made.append(Text("".join(words)))
            words = []
        made.append(piece)
    if words:
        made.append(Text("".join(words)))
    return tuple(made)


def _unlinked(pieces: Sequence[Inline]) -> list[Inline]:
    """The pieces without the addresses found in them: a link holds no link."""
    made: list[Inline] = []
    for piece in pieces:
        if isinstance(piece, Link):
            made += piece.children
        elif isinstance(piece, Bold | Italic | Strike):
            made.append(type(piece)(_joined(_unlinked(piece.children))))
        else:
            made.append(piece)
    return made


# -- addresses -------------------------------------------------------------------------------------


def address_at(text: str, start: int) -> tuple[str, int]:
    """The address that begins at `start`, and where it ends.

    ("", end) where what stands up to `end` looks like one and is none, ("", 0) otherwise.
    """
    before = text[max(start - 1, 0) : start]
    if (before and _is_word(before)) or not _SCHEME.match(text, start):
        return "", 0
    found = _URL.match(text, start)
    if found is None:
        return "", 0
    end = found.end()
    # Where an address goes on beyond ASCII, its end can not be told: no link is better than half.
    if text[end : end + 1] >= "\x80":
        return "", end
    url = _without_tail(found.group())
    if len(url) > URL_CHARACTERS or not _is_url(url):
        return "", end
    return url, start + len(url)


def _without_tail(url: str) -> str:
    """An address without the punctuation of the sentence it ends."""
    spare = url.count(")") - url.count("(")
    end = len(url)
    while url[end - 1] in _TRAILING or (url[end - 1] == ")" and spare > 0):
        spare -= url[end - 1] == ")"
        end -= 1
    return url[:end]


def _is_url(url: str) -> bool:
    if not url.startswith("mailto:"):
        return True
    name, _, host = url.removeprefix("mailto:").partition("@")
    return bool(name and host) and _is_word(host[0])


def _target_at(text: str, at: int) -> str:
    """The address in "(address)" at `at`; "" if there is none."""
    found = _URL.match(text, at + 1) if text.startswith("(", at) else None
    if found is None:
        return ""
    depth = 0
    for position, character in enumerate(found.group()):
        depth += (character == "(") - (character == ")")
        if depth < 0:
            url = found.group()[:position]
            return url if len(url) <= URL_CHARACTERS and _is_url(url) else ""
    return ""


def parse_line(text: str, mentioned: Sequence[Mentioned] = ()) -> Line:
    """The pieces of one line; `mentioned` by longest name first."""
    return _LineParser(text, mentioned).parse()
