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

from attrs import frozen

__all__ = ["TooMuch", "is_packed", "unpacked"]

_FILES: Final = 10_000
"""Files of one archive, or streams of one PDF, that are looked at."""
_PIECE: Final = 32 * 1024 * 1024
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
"""Glyphs of one map."""
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
    yield from _pieces(raw, lambda: max(0, min(_PIECE, left())))


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

    def read(self, codes: bytes) -> bytes:
        """A run of numbers as text."""
        if self.width == 2:
            numbers = codes[: len(codes) // 2 * 2].decode("utf-16-be", "surrogatepass")
        else:
            numbers = codes.decode("latin-1")
        return numbers.translate(self.letters).encode("utf-8", "replace")


def _printed(raw: bytes, left: Callable[[], int]) -> Iterator[bytes]:
    maps: list[_Map] = []
    texts: list[bytes] = []
    found = list(islice(_STREAM.finditer(raw), 2 * _FILES + 1))
    if len(found) > 2 * _FILES:
        raise TooMuch
    for number, one in enumerate(found):
        if raw.endswith(b"end", 0, one.start()) or _is_picture(raw, one.start()):
            continue
        end = found[number + 1].start() if number + 1 < len(found) else len(raw)
        made = _stream(raw, one.end(), end, left())
        yield made
        if b"beginbf" in made and len(made) <= _MAP_BYTES and len(maps) < _MAPS:
            maps.append(_map(made))
        elif b"Tj" in made or b"TJ" in made:
            yield b"".join(_LITERAL.findall(_ESCAPED.sub(b"", made)))
            texts.append(_from_hex(b"".join(_HEX.findall(made))))
    if len(maps) * sum(map(len, texts)) > _READ:
        raise TooMuch
    for codes in texts:
        for font in maps:
            yield font.read(codes)


def _is_picture(raw: bytes, at: int) -> bool:
    """Whether what stands before a stream says so: pixels are no text, and many."""
    before = raw[max(0, at - _DICTIONARY) : at]
    return _PICTURE.search(before, before.rfind(b" obj") + 1) is not None


def _stream(raw: bytes, at: int, end: int, left: int) -> bytes:
    """As its usual filters leave it."""
    if made := _inflated(memoryview(raw)[at:], 15, left):
        return made
    plain, marked, _ = raw[at : min(end, at + left)].partition(b"~>")
    try:
        packed = base64.a85decode(plain) if marked else b""
    except ValueError:
        packed = b""
    return _inflated(memoryview(packed), 15, left) or packed or plain


def _from_hex(digits: bytes) -> bytes:
    digits = re.sub(rb"\s", b"", digits)
    return binascii.unhexlify(digits[: len(digits) // 2 * 2])


def _map(raw: bytes) -> _Map:
    space = _CODESPACE.search(raw)
    letters = _Letters()
    for block in _blocks(raw, b"bfchar"):
        letters.update((int(code[:8], 16), _utf16(text)) for code, text in _PAIR.findall(block))
    steps = 0
    for block in _blocks(raw, b"bfrange"):
        for first, last, text, listed in _RANGE.findall(block):
            begin = int(first[:8], 16)
            many = [_utf16(one) for one in _HEX.findall(listed)]
            known = _utf16(text)
            for step in range(min(int(last[:8], 16) - begin + 1, _CODES - steps)):
                steps += 1
                if step < len(many):
                    letters[begin + step] = many[step]
                elif known:
                    letters[begin + step] = known[:-1] + chr(min(ord(known[-1]) + step, 0x10FFFF))
    return _Map(2 if space is not None and len(space[1]) > 2 else 1, letters)


def _blocks(raw: bytes, name: bytes) -> Iterator[bytes]:
    for one in raw.split(b"begin" + name)[1:]:
        yield one.partition(b"end" + name)[0]


def _utf16(digits: bytes) -> str:
    return _from_hex(digits).decode("utf-16-be", "ignore")
