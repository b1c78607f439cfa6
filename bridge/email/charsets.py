"""Bytes to text, whatever the sender calls them; never raises, never slower than linear."""

from __future__ import annotations

import codecs
import re
from typing import Final

__all__ = ["decoded", "strip_controls"]

_ALLOWED: Final = re.compile(
    r"(?:ascii|utf-(?:8|16|32)|iso8859-|iso2022_|cp\d|windows-|koi8-|mac-|big5|gb|euc_|shift_jis"
    r"|johab|hz|tis-620|ptcp154|kz1048)"
)
"""Python's own names of charsets. Its others are no charsets (`zlib`, `unicode_escape`) or take
time that grows with the square of the length (`punycode`, `idna`)."""
_WIDER: Final = {"ascii": "utf-8", "gb2312": "gb18030", "gbk": "gb18030", "iso8859-1": "cp1252"}
"""What senders call by the narrower name."""
_CONTROLS: Final = dict.fromkeys(
    [*range(9), 11, *range(13, 32), 127, *range(128, 160), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF]
)


def decoded(raw: bytes, charset: str = "") -> str:
    """`raw` as text: in `charset` if it is one and fits, else UTF-8, else Windows' Latin."""
    for name in (_known(charset), "utf-8"):
        if name:
            try:
                return raw.decode(name)
            except (UnicodeDecodeError, LookupError):
                continue
    declared = _known(charset)
    latin = not declared or declared.startswith("utf")
    return raw.decode("cp1252" if latin else declared, "replace")


def strip_controls(text: str) -> str:
    """`text` without control characters and halves of characters; lines end with a line feed."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    return text.translate(_CONTROLS)


def _known(charset: str) -> str:
    """Python's name of a charset that we decode, "" of any other."""
    if not charset or len(charset) > 64 or not charset.isascii():
        return ""
    try:
        name = codecs.lookup(charset.strip().strip("\"'")).name
    except (LookupError, ValueError):
        return ""
    return _WIDER.get(name, name) if _ALLOWED.match(name) else ""
