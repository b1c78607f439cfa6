"""Our secret addresses, taken out of what a room is shown of a mail.

Who has somebody's answer address (`books+<token>@`) can write as them, and who has the token alone
can end their mail. A mail to us holds it: in To, in what servers write into its head, in the foot
that it quotes; plain, folded, quoted-printable, base64, as an encoded word, percent-encoded or as
HTML's entities, and broken by tags. So a mail is looked at in all of these ways, what is found is
written anew without the token, and then looked at once more: what still shows it is left out whole.

Archives, office documents and PDFs are unpacked to be looked at (see `packed`), with bounds: one
that holds a token, or more than may be looked at, is left out. What a sender encrypts, or a picture
of an address, is not read: no program makes that of an answer.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from email.parser import BytesParser
from html import unescape
from time import thread_time
from typing import Final
from urllib.parse import unquote_to_bytes

from attrs import define, evolve, field, frozen

from bridge.email.addressing import without_tokens
from bridge.email.headers import encoded_words_read
from bridge.email.packed import PIECE_BYTES, TooMuch, is_packed, unpacked
from bridge.email.parsing import RAW_POLICY, Attachment, inner_messages, too_much
from bridge.email.tnef import rich_texts

__all__ = ["Secrets"]

_IN_ADDRESS: Final = re.compile(rb"\+[a-z2-7]{24}(?=@|\.[a-z]{2,6}@)", re.IGNORECASE)
_ALONE: Final = re.compile(rb"(?<![a-z2-7])[a-z2-7]{24}(?![a-z2-7])", re.IGNORECASE)
_WHOLE: Final = re.compile(_ALONE.pattern.decode(), re.IGNORECASE)
_LENGTH: Final = 24
_BETWEEN: Final = "[^A-Za-z2-7]{0,12}"
"""What a program puts between the letters of a word that it breaks: a line's end, `> `, a `=`."""
_DEEP: Final = 4
"""Encodings within each other that are looked through: an encoded word in a mail in base64 in..."""
_WORK: Final = 256 * 1024 * 1024
"""Bytes looked at for one mail, all its files together; what would cost more is taken for one that
shows a token."""
_TEXT_WORK: Final = 16 * 1024 * 1024
"""The same for one text that a room is shown: none is longer than `limits` say."""
_SECONDS: Final = 30.0
"""Of one core that all of one mail may take, or one text: counted as work done, so that a busy
machine holds nothing back."""
_STEP: Final = 1024 * 1024
"""Bytes that are read at a stroke, where each may cost a step of ours."""
_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz234567"
_LOWER: Final = bytes(range(256)).lower()
_MARKS: Final = bytes(97 if one in _LETTERS + _LETTERS.upper() else 32 for one in range(256))
_WORD: Final = b" " + b"a" * _LENGTH + b" "
_OTHERS: Final = bytes(one for one in range(256) if one not in _LETTERS + _LETTERS.upper())
_BASE64_LINES: Final = re.compile(
    rb"(?:^[ \t>]*[A-Za-z0-9+/]{40,}[ \t]*\r?\n)+(?:^[ \t>]*[A-Za-z0-9+/]+={0,2}[ \t]*$)?",
    re.MULTILINE,
)
_BASE64_RUN: Final = re.compile(rb"[A-Za-z0-9+/]{32,20000}")
_QUOTED: Final = re.compile(rb"=(?:[0-9A-Fa-f]{2}|[ \t]*\r?\n)")
_PERCENT: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_TAG: Final = re.compile(rb"<[^<>]{0,1000}>")
_NEAR: Final = 1000
"""Bytes on either side of a tag in which all of a token would stand, however its letters are
written."""
_ENTITY: Final = re.compile(rb"&(?:#|[A-Za-z])")
_WRITTEN: Final = RAW_POLICY.clone(linesep="\r\n")
_GONE: Final = "(left out here: it held a secret address)"


@define
class _Work:
    """What was looked at: not twice, and not without end."""

    left: int = field(factory=lambda: _WORK)
    seconds: float = field(factory=lambda: _SECONDS)
    """Not counting what is going on."""
    until: float = field(factory=lambda: thread_time() + _SECONDS)
    """The thread's own time at which what is going on is to end."""
    clean: dict[tuple[int, int], int] = field(factory=dict)
    """What shows nothing, by length and hash, and how deep it was looked into."""
    unopened: set[tuple[int, int]] = field(factory=set)
    """Archives that were met too deep to be opened there."""

    def spare(self) -> int:
        """How many bytes may still be looked at. Raises `TooMuch` where time is up."""
        if thread_time() > self.until:
            raise TooMuch
        return self.left


@frozen
class Secrets:
    """Tokens that nobody is to read in a room."""

    own: frozenset[str] = field(repr=False)
    """Of the address that a mail came to, and of whoever sent it: looked for however broken."""
    others: frozenset[str] = field(default=frozenset(), repr=False)
    """All others: looked for where they stand whole."""
    _work: _Work = field(factory=_Work, init=False, repr=False, eq=False)
    """For one mail: with the next one these are made anew."""

    def in_text(self, text: str) -> str:
        """A text without them."""
        text = without_tokens(text)
        if not self._shows(text.encode("utf-8", "replace")):
            return text
        text = _WHOLE.sub(lambda found: "…" if self._is_one(found[0]) else found[0], text)
        for token in self.own:
            text = re.sub(_BETWEEN.join(token), "…", text, flags=re.IGNORECASE)
        raw = text.encode("utf-8", "replace")
        return _GONE if self._is_in(raw, _DEEP, _Work(_TEXT_WORK)) else text

    def file(self, one: Attachment) -> Attachment | None:
        """A file without them; None: it can not be shown."""
        clean = evolve(one, name=self.in_text(one.name))
        if not self.stand_in(one.content):
            return clean
        if one.media_type == "message/rfc822" or one.name.lower().endswith(".eml"):
            content = self.mail(one.content)
        else:
            content = self._bytes(one.content) if one.media_type.startswith("text/") else None
        return None if content is None else evolve(clean, content=content)

    def mail(self, raw: bytes) -> bytes | None:
        """A whole mail without them; None: that can not be made sure of."""
        if not self.stand_in(raw):
            return raw
        if too_much(raw) is not None:
            return None
        try:
            message = BytesParser(policy=RAW_POLICY).parsebytes(raw)
            self._rewrite(message)
            made = message.as_bytes(policy=_WRITTEN)
        except (RecursionError, ValueError, LookupError, TypeError, AssertionError, AttributeError):
            # What leaves the standard library's parser and generator on broken mail.
            return None
        return None if self.stand_in(made) else made

    # -- looking ---------------------------------------------------------------------------------

    def stand_in(self, raw: bytes) -> bool:
        """Whether one of them can be read in it, in any of the ways that mail programs write."""
        work = self._work
        work.unopened.clear()
        began = thread_time()
        work.until = began + work.seconds
        found = self._is_in(raw, _DEEP, work)
        work.seconds -= thread_time() - began
        # Archives in archives in archives hide something; the same met less deep was opened.
        return found or any(key not in work.clean for key in work.unopened)

    def _is_in(self, view: bytes, depth: int, work: _Work) -> bool:
        key = len(view), hash(view)
        if work.clean.get(key, -1) >= depth:
            return False
        work.left -= len(view)
        if work.left < 0 or len(view) > PIECE_BYTES or thread_time() > work.until:
            return True
        if self._shows(view) or (0 in view and self._shows(_without_zeros(view))):
            return True
        if not depth:
            if is_packed(view):
                work.unopened.add(key)
            return False
        # What reads as itself is not looked into again within itself.
        work.clean[key] = depth
        try:
            found = any(self._is_in(inner, depth - 1, work) for inner in _decoded(view, work))
        except TooMuch:
            found = True
        if found:
            del work.clean[key]
        return found

    def _shows(self, view: bytes) -> bool:
        letters = view.translate(_LOWER, _OTHERS)
        if any(token.encode() in letters for token in self.own):
            return True
        if _IN_ADDRESS.search(view):
            return True
        return any(self._is_one(word.decode()) for word in _words(view))

    def _is_one(self, word: str) -> bool:
        return word.lower() in self.own or word.lower() in self.others

    # -- taking out ------------------------------------------------------------------------------

    def _bytes(self, raw: bytes) -> bytes | None:
        """Where they stand as they are; None where they stand otherwise too."""
        raw = _IN_ADDRESS.sub(b"+withheld", raw)
        raw = _ALONE.sub(lambda f: b"withheld" if self._is_one(f[0].decode()) else f[0], raw)
        for token in self.own:
            raw = re.sub(token.encode(), b"withheld", raw, flags=re.IGNORECASE)
        return None if self.stand_in(raw) else raw

    def _rewrite(self, message: Message) -> None:
        """A part and all within it, in place."""
        message.preamble = message.epilogue = None  # what stands between parts no program shows
        fields = [(name, self._value(str(value))) for name, value in message.items()]
        for name in message.keys():  # noqa: SIM118 - a message's own iteration is over nothing else
            del message[name]
        for name, value in fields:
            message[name] = value
        inner = inner_messages(message.get_payload())
        for one in inner:
            self._rewrite(one)
        if not inner:
            self._rewrite_leaf(message)

    def _value(self, value: str) -> str:
        raw = value.encode("utf-8", "surrogateescape")
        if not self.stand_in(raw):
            return value
        found = self._bytes(re.sub(rb"\r?\n(?=[ \t])", b"", raw))
        return _GONE if found is None else found.decode("utf-8", "surrogateescape")

    def _rewrite_leaf(self, part: Message) -> None:
        content = part.get_payload(decode=True)
        written = str(part.get_payload()).encode("utf-8", "surrogateescape")
        if not isinstance(content, bytes) or not (self.stand_in(content) or self.stand_in(written)):
            return
        clean = self._bytes(content) if part.get_content_maintype() == "text" else None
        if clean is None:
            clean = _GONE.encode()
            for name in ("content-type", "content-disposition"):
                del part[name]
            part["Content-Type"] = "text/plain; charset=us-ascii"
        del part["content-transfer-encoding"]
        part["Content-Transfer-Encoding"] = "quoted-printable"
        part.set_payload(binascii.b2a_qp(clean).decode("ascii"))


def _words(view: bytes) -> Iterator[bytes]:
    """What `_ALONE` finds, an order of magnitude sooner."""
    marks = b" %b " % view.translate(_MARKS)
    at = marks.find(_WORD)
    while at >= 0:
        yield view[at : at + _LENGTH]
        at = marks.find(_WORD, at + _LENGTH)


def _without_zeros(raw: bytes) -> bytes:
    """UTF-16 and UTF-32 of plain letters, as plain letters."""
    return raw.translate(None, b"\0")


def _decoded(raw: bytes, work: _Work) -> Iterator[bytes]:
    """As each of the encodings in it reads, and what is packed in it."""
    yield from rich_texts(raw)
    yield from unpacked(raw, work.spare)
    if zeros := raw.count(0):
        if zeros * 5 > len(raw):
            yield _without_zeros(raw)
        return  # and else a picture, an archive: no text
    if _QUOTED.search(raw):
        yield binascii.a2b_qp(raw)
    if b"=?" in raw:
        text = re.sub(r"\r?\n[ \t]+", " ", raw.decode("utf-8", "replace"))
        yield encoded_words_read(text, work.spare).encode("utf-8", "replace")
    if _PERCENT.search(raw):
        yield _stepwise(raw, b"%", unquote_to_bytes, work)
    if _ENTITY.search(raw):
        yield _stepwise(raw, b"&", _unescaped, work)
    if b"<" in raw and (apart := _without_tags(raw, work)):
        yield apart
    yield from _out_of_base64(raw)


def _stepwise(raw: bytes, mark: bytes, read: Callable[[bytes], bytes], work: _Work) -> bytes:
    """What `read` makes of it, cut where a mark stands: the library makes lists of all it finds."""
    made, at = bytearray(), 0
    while 0 <= at < len(raw):
        work.spare()
        next_at = raw.find(mark, at + _STEP)
        made += read(raw[at : next_at if next_at >= 0 else len(raw)])
        at = next_at
    return bytes(made)


def _unescaped(raw: bytes) -> bytes:
    return unescape(raw.decode("latin-1")).encode("utf-8", "replace")


def _without_tags(raw: bytes, work: _Work) -> bytes:
    """What stands around its tags, as far as they may break a token; empty: there is no tag."""
    made, at = bytearray(), 0
    for number, tag in enumerate(_TAG.finditer(raw)):
        if not number % _STEP:
            work.spare()
        made += _ends(raw, at, tag.start())
        at = tag.end()
    return bytes(made + _ends(raw, at, len(raw))) if at else b""


def _ends(raw: bytes, begin: int, end: int) -> bytes:
    if end - begin <= 2 * _NEAR:
        return raw[begin:end]
    return raw[begin : begin + _NEAR] + b"\n" + raw[end - _NEAR : end]


def _out_of_base64(raw: bytes) -> Iterator[bytes]:
    for found in _BASE64_LINES.finditer(raw):
        yield from _base64(found[0].translate(None, b" \t>\r\n="), (0,))
    for found in _BASE64_RUN.finditer(_BASE64_LINES.sub(b"\n", raw)):
        yield from _base64(found[0], range(4))


def _base64(letters: bytes, starts: Iterable[int]) -> Iterator[bytes]:
    for start in starts:
        whole = letters[start : start + (len(letters) - start) // 4 * 4]
        if len(whole) > _LENGTH:
            yield binascii.a2b_base64(whole)
