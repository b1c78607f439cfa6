"""What is packed in a file, as far as programs pack text: zip, gzip, bzip2, xz, PDF. Sans-IO.

A zip (and so docx, xlsx, odt) is read by the head before each of its files, not by its directory: a
broken or hostile directory hides nothing, and costs nothing. Of a PDF its streams are inflated, and
its text is put together again: programs write it letter by letter, and as numbers of glyphs that
only the document's own character maps make letters of.

What is encrypted, packed otherwise or a picture is not read.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import lzma
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, Protocol

from attrs import define, frozen

__all__ = ["PIECE_BYTES", "TooMuch", "is_packed", "unpacked"]

_FILES: Final = 10_000
"""Files of one archive, or streams of one PDF, that are looked at."""
PIECE_BYTES: Final = 32 * 1024 * 1024
"""The longest piece: it is in memory as a whole."""
_LOCAL: Final = b"PK\x03\x04"
_GZIP, _BZIP2, _XZ, _PDF = b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"%PDF-"
_STARTS: Final = (_LOCAL, _GZIP, _BZIP2, _XZ, _PDF)
_HEAD: Final = struct.Struct("<4sHHHHHIIIHH")
_ENCRYPTED: Final = 1
_STORED, _DEFLATED = 0, 8
_STREAM: Final = re.compile(rb"stream\r?\n")
_PICTURE: Final = re.compile(rb"/Subtype\s*/Image\b")
_DICTIONARY: Final = 1000
_ESCAPED: Final = re.compile(rb"\\[()\\]")
_LITERAL: Final = re.compile(rb"\(([^()]*)\)")
_HEX: Final = re.compile(rb"<([0-9A-Fa-f\s]+)>")
_CODESPACE: Final = re.compile(rb"begincodespacerange\s*<([0-9A-Fa-f]+)>")
_PAIR: Final = re.compile(rb"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>")
_RANGE: Final = re.compile(
    rb"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>\s*(?:<([0-9A-Fa-f]+)>|\[([^\[\]]*)\])"
)
_MAP_BYTES: Final = 1024 * 1024
_MAPS: Final = 100
_CODES: Final = 65_536
"""Numbers that a glyph can have."""
_GLYPHS: Final = 10 * _CODES
"""Glyphs of all maps of a PDF: each costs a hundred bytes or two."""
_GLYPH: Final = 8
"""Letters of one glyph: a ligature has three, and nothing bounds what a map may say."""
_STRINGS: Final = 4_000_000
"""Strings of a PDF, which programs write letter by letter: each costs a step of ours."""
_ASCII85: Final = 8 * 1024 * 1024
"""Letters of ASCII85 in a PDF: the standard library takes a step for each."""
_READ: Final = 50_000_000
"""Glyphs read, each by every map: to know which font is whose would be to lay out the pages."""
_CHUNK: Final = 16 * 1024


class TooMuch(Exception):
    """More is packed in it than may be looked at."""


class _Unpacker(Protocol):
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


def unpacked(raw: bytes, left: Callable[[], int]) -> Iterator[bytes]:
    """What is packed in it, piece by piece; nothing for what is no such file.

    `left`: how many bytes may be unpacked now. Raises `TooMuch` where a piece is longer, or there
    are too many.
    """
    yield from _pieces(raw, lambda: max(0, min(PIECE_BYTES, left())))


def is_packed(raw: bytes) -> bool:
    """Whether it begins as such files do."""
    return raw.startswith(_STARTS)


def _pieces(raw: bytes, left: Callable[[], int]) -> Iterator[bytes]:
    if _LOCAL in raw:
        yield from _zipped(raw, left)
    if raw.startswith(_GZIP):
        yield _inflated(memoryview(raw), 31, left())
    elif raw.startswith(_BZIP2):
        yield _decompressed(bz2.BZ2Decompressor(), raw, left())
    elif raw.startswith(_XZ):
        # What an xz may ask for as memory is said by who made it.
        yield _decompressed(lzma.LZMADecompressor(memlimit=128 * 1024 * 1024), raw, left())
    if _PDF in raw[:1024]:
        yield from _printed(raw, left)


def _inflated(packed: memoryview, bits: int, left: int) -> bytes:
    """As far as it can be read; it ends where it says, and what is behind it costs nothing."""
    made, unpacker = bytearray(), zlib.decompressobj(bits)
    for at in range(0, len(packed), _CHUNK):
        more = packed[at : at + _CHUNK]
        try:
            while more:
                made += unpacker.decompress(more, left + 1 - len(made))
                if len(made) > left:
                    raise TooMuch
                more = memoryview(unpacker.unconsumed_tail)
        except zlib.error:
            break  # not packed in this way, or broken from here on
        if unpacker.eof:
            break
    return bytes(made)


def _decompressed(unpacker: _Unpacker, packed: bytes, left: int) -> bytes:
    try:
        made = unpacker.decompress(packed, left + 1)
    except (OSError, lzma.LZMAError, EOFError):
        return b""
    if len(made) > left:
        raise TooMuch
    return made


def _zipped(raw: bytes, left: Callable[[], int]) -> Iterator[bytes]:
    view, at = memoryview(raw), raw.find(_LOCAL)
    for _ in range(_FILES):
        if at < 0 or at + _HEAD.size > len(raw):
            return
        _, _, flags, how, _, _, _, size, _, name, extra = _HEAD.unpack_from(raw, at)
        begin = at + _HEAD.size + name + extra
        at = raw.find(_LOCAL, at + 4)
        if not flags & _ENCRYPTED:
            if how == _DEFLATED:
                yield _inflated(view[begin:], -15, left())
            elif how == _STORED:
                # Of an archive in it the files are found by themselves.
                yield raw[begin : min(begin + size, at if at >= 0 else len(raw))]
    raise TooMuch


# -- PDF -------------------------------------------------------------------------------------------


class _Letters(dict[int, str]):
    """The letters of a font's glyphs, by their numbers; what it does not know is none."""

    def __missing__(self, _number: int) -> str:
        return ""


@frozen
class _Map:
    """What the numbers of a font's glyphs are as text."""

    width: int
    """Of a number, in bytes."""
    letters: _Letters

    def read(self, codes: bytes, left: Callable[[], int]) -> bytes:
        """A run of numbers as text. Raises `TooMuch` where that is longer."""
        made = bytearray()
        for at in range(0, len(codes), _CHUNK):
            # By pairs even where one of them is a surrogate's: each is a glyph's number.
            some = codes[at : at + _CHUNK]
            if self.width == 2:
                pairs = struct.unpack(f">{len(some) // 2}H", some[: len(some) // 2 * 2])
                text = "".join([self.letters[one] for one in pairs])
            else:
                text = some.decode("latin-1").translate(self.letters)
            made += text.encode("utf-8", "replace")
            if len(made) > left():
                raise TooMuch
        return bytes(made)


@define
class _Spare:
    """What one PDF may still cost."""

    glyphs: int = _GLYPHS
    strings: int = _STRINGS
    ascii85: int = _ASCII85


def _printed(raw: bytes, left: Callable[[], int]) -> Iterator[bytes]:
    maps: list[_Map] = []
    texts: list[bytes] = []
    spare = _Spare()
    found = list(islice(_STREAM.finditer(raw), 2 * _FILES + 1))
    if len(found) > 2 * _FILES:
        raise TooMuch
    for number, one in enumerate(found):
        if raw.endswith(b"end", 0, one.start()) or _is_picture(raw, one.start()):
            continue
        end = found[number + 1].start() if number + 1 < len(found) else len(raw)
        made = _stream(raw, one.end(), end, left(), spare)
        yield made
        if b"beginbf" in made and len(made) <= _MAP_BYTES and len(maps) < _MAPS:
            maps.append(_map(made, spare))
        elif b"Tj" in made or b"TJ" in made:
            spare.strings -= made.count(b"(") + made.count(b"<") + made.count(b"\\")
            if spare.strings < 0:
                raise TooMuch
            yield _joined(_LITERAL, _ESCAPED.sub(b"", made))
            texts.append(_from_hex(_joined(_HEX, made)))
    if len(maps) * sum(map(len, texts)) > _READ:
        raise TooMuch
    for codes in texts:
        for font in maps:
            yield font.read(codes, left)


def _is_picture(raw: bytes, at: int) -> bool:
    """Whether what stands before a stream says so: pixels are no text, and many."""
    before = raw[max(0, at - _DICTIONARY) : at]
    return _PICTURE.search(before, before.rfind(b" obj") + 1) is not None


def _joined(pattern: re.Pattern[bytes], raw: bytes) -> bytes:
    """All that its group finds, and never a list of it: an entry costs more than what it holds."""
    made = bytearray()
    for one in pattern.finditer(raw):
        made += one[1]
    return bytes(made)


def _stream(raw: bytes, at: int, end: int, left: int, spare: _Spare) -> bytes:
    """As its usual filters leave it."""
    if made := _inflated(memoryview(raw)[at:], 15, left):
        return made
    plain, marked, _ = raw[at : min(end, at + left)].partition(b"~>")
    if marked:
        spare.ascii85 -= len(plain) + 3 * plain.count(b"z")  # a z is four bytes
        if spare.ascii85 < 0:
            raise TooMuch
    try:
        packed = base64.a85decode(plain) if marked else b""
    except ValueError:
        packed = b""
    return _inflated(memoryview(packed), 15, left) or packed or plain


def _from_hex(digits: bytes) -> bytes:
    digits = re.sub(rb"\s", b"", digits)
    return binascii.unhexlify(digits[: len(digits) // 2 * 2])


def _map(raw: bytes, spare: _Spare) -> _Map:
    space = _CODESPACE.search(raw)
    letters = _Letters()

    def keep(code: int, text: str) -> None:
        spare.glyphs -= 1
        if spare.glyphs < 0:
            raise TooMuch
        if code < _CODES:
            letters[code] = text

    for block in _blocks(raw, b"bfchar"):
        for one in _PAIR.finditer(block):
            keep(int(one[1][:8], 16), _utf16(one[2]))
    for block in _blocks(raw, b"bfrange"):
        for one in _RANGE.finditer(block):
            begin, last = int(one[1][:8], 16), int(one[2][:8], 16)
            many = [_utf16(text[1]) for text in islice(_HEX.finditer(one[4] or b""), _CODES)]
            known = _utf16(one[3] or b"")
            for step in range(min(last, _CODES - 1) - begin + 1):
                if step < len(many):
                    keep(begin + step, many[step])
                elif known:
                    keep(begin + step, known[:-1] + chr(min(ord(known[-1]) + step, 0x10FFFF)))
                else:
                    break
    return _Map(2 if space is not None and len(space[1]) > 2 else 1, letters)


def _blocks(raw: bytes, name: bytes) -> Iterator[bytes]:
    for one in raw.split(b"begin" + name)[1:]:
        yield one.partition(b"end" + name)[0]


def _utf16(digits: bytes) -> str:
    """What a map says that a glyph is, and no more of it than a glyph is."""
    return _from_hex(digits[: 16 * _GLYPH]).decode("utf-16-be", "ignore")[:_GLYPH]
