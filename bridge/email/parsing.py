"""From the bytes of a mail to what it says. Never raises; bounded by `limits`, whatever comes.

The standard library's parser takes the mail apart, but only what was found to be small enough to be
taken apart, and without its parsing of header fields (see `headers`). What is too much is not read:
the mail then is its header, and says so (`Mail.defects`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from email.policy import Compat32
from hashlib import sha256
from typing import Final

from attrs import field, frozen

from bridge.email import limits
from bridge.email.body import Line, plain_lines
from bridge.email.charsets import decoded, strip_controls
from bridge.email.flowed import unflow
from bridge.email.headers import (
    Address,
    Headers,
    addresses,
    message_ids,
    parse_date,
    parse_headers,
)
from bridge.email.markup import html_lines
from ofcd.client import display_name

__all__ = ["RAW_POLICY", "Attachment", "Mail", "digest_of", "inner_messages", "parse", "too_much"]


class _Raw(Compat32):
    """Header fields as they came: the eight-bit ones too, which Compat32 would blot out."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        return value


RAW_POLICY: Final = _Raw()
_BOUNDARY: Final = re.compile(rb"boundary\s{0,5}=\s{0,5}\"?([^\"\s;]{1,100})", re.IGNORECASE)
_WRITTEN: Final = ("from", "date", "subject", "in-reply-to")
_BODY_TYPES: Final = ("text/plain", "text/html")
_REPORT_TYPES: Final = ("message/delivery-status", "message/disposition-notification")
_SEALED_TYPES: Final = (
    "application/pkcs7-mime",
    "application/x-pkcs7-mime",
    "application/pgp-encrypted",
)
_NAME_CHARACTERS: Final = 100
_OTHER_NAME: Final = "attachment"


@frozen
class Attachment:
    """A file in a mail."""

    name: str
    """Safe to show, without folders; still the sender's word."""
    media_type: str
    content: bytes = field(repr=lambda raw: f"<{len(raw)}>")


@frozen(kw_only=True)
class Mail:
    """One mail."""

    headers: Headers = field(repr=False)
    message_id: str = ""
    """Without brackets; "" where it has none."""
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    senders: tuple[Address, ...] = ()
    """Of From. Not one: nobody can be named."""
    recipients: tuple[Address, ...] = ()
    """Of To and Cc."""
    subject: str = field(default="", repr=False)
    date: int | None = None
    """Milliseconds since 1970: the sender's word."""
    lines: tuple[Line, ...] = field(default=(), repr=False)
    attachments: tuple[Attachment, ...] = ()
    content_type: str = ""
    reports: tuple[bytes, ...] = field(default=(), repr=False)
    """Machine-readable parts of a report (RFC 3464), and the header of the mail it is about."""
    digest: str = ""
    """SHA-256 of what its sender wrote, in hex: names it where its Message-ID does not."""
    defects: tuple[str, ...] = ()
    """What could not be read, as sentences for people."""

    @property
    def id(self) -> str:
        """What names this mail: its Message-ID, or its digest."""
        return self.message_id or f"sha256.{self.digest}"


def parse(raw: bytes) -> Mail:
    """The mail that these bytes are."""
    headers = parse_headers(raw)
    defects: list[str] = ["its header is too large to be read whole"] if headers.cut else []
    body = _Body(defects)
    if (why := too_much(raw)) is not None:
        defects.append(why)
    else:
        body.read(raw)
    ids = message_ids(headers.get("message-id"))
    return Mail(
        headers=headers,
        message_id=ids[0] if len(ids) == 1 else "",
        in_reply_to=message_ids(headers.get("in-reply-to")),
        references=message_ids(headers.get("references")),
        senders=addresses(headers.get("from")) if len(headers.all("from")) == 1 else (),
        recipients=tuple(
            one for name in ("to", "cc") for value in headers.all(name) for one in addresses(value)
        )[: limits.ADDRESSES],
        subject=headers.get("subject")[:500],
        date=parse_date(headers.get("date")),
        lines=body.lines,
        attachments=tuple(body.attachments),
        content_type=headers.get("content-type").lower(),
        reports=tuple(body.reports),
        digest=_digest(headers, raw),
        defects=tuple(dict.fromkeys(defects)),
    )


def _digest(headers: Headers, raw: bytes) -> str:
    """Not of all of it: what servers add to the head is another thing each time it comes."""
    found = re.search(rb"\r?\n\r?\n", raw)
    written = [value for name in _WRITTEN for value in headers.all(name)]
    body = raw[found.end() :] if found else b""
    head = "\0".join(written).encode("utf-8", "replace")
    return sha256(len(head).to_bytes(8, "big") + head + body).hexdigest()


def digest_of(raw: bytes) -> str:
    """What names bytes that nothing else names."""
    return f"sha256.{sha256(raw).hexdigest()}"


def too_much(raw: bytes) -> str | None:
    """Why a mail is not taken apart; None: it is."""
    if len(raw) > limits.MAIL_BYTES:
        return "it is too large"
    found = _BOUNDARY.findall(raw)
    if len(found) > limits.BOUNDARIES:
        return "too many multiparts are in each other"
    if sum(raw.count(b"\n--" + boundary) for boundary in set(found)) > limits.PARTS:
        return "it has too many parts"
    return None


class _Body:
    """Collects words, files and reports from the parts of one mail."""

    def __init__(self, defects: list[str]) -> None:
        self.defects = defects
        self.lines: tuple[Line, ...] = ()
        self.attachments: list[Attachment] = []
        self.reports: list[bytes] = []
        self._plain: list[Line] = []
        self._html: list[Line] = []
        self._left = dict.fromkeys(_BODY_TYPES, limits.TEXT_BYTES)
        """Bytes of each kind of text that are still looked at, in whatever many parts."""

    def read(self, raw: bytes) -> None:
        try:
            message = BytesParser(policy=RAW_POLICY).parsebytes(raw)
            for part in _leaves(message):
                self._take(part)
        except (RecursionError, ValueError, LookupError, TypeError, AssertionError, IndexError):
            # Each of them has been seen to leave the standard library's parser on broken mail.
            self.defects.append("it is too broken to be read whole")
        self.lines = tuple(self._plain if _has_words(self._plain) else self._html)

    def _take(self, part: Message) -> None:
        kind = part.get_content_type()
        if kind in _SEALED_TYPES:
            self.defects.append("its words are within S/MIME or OpenPGP, which is not read here")
        if kind in _REPORT_TYPES or kind == "text/rfc822-headers":
            self.reports.append(_payload(part)[: limits.FIELD_BYTES])
        elif kind in _BODY_TYPES and not _is_file(part):
            self._words(part, kind)
        elif len(self.attachments) < limits.ATTACHMENTS:
            self._file(part, kind)
        else:
            self.defects.append("it has more files than are brought in one by one")

    def _words(self, part: Message, kind: str) -> None:
        raw = _payload(part)
        left = self._left[kind]
        self._left[kind] = max(0, left - len(raw))
        if len(raw) > left:
            self.defects.append("its text is too long to be read whole")
        text = decoded(raw[:left], str(_param(part, "charset")))
        if kind == "text/html":
            lines, cut = html_lines(text)
            if cut:
                self.defects.append("its text could not be read whole")
            _append(self._html, lines)
            return
        text = strip_controls(text)
        if str(_param(part, "format")).lower() == "flowed":
            text = unflow(text, delsp=str(_param(part, "delsp")).lower() == "yes")
        _append(self._plain, plain_lines(text))

    def _file(self, part: Message, kind: str) -> None:
        if kind == "message/rfc822":
            nested = part.get_payload()
            whole = b"".join(one.as_bytes() for one in inner_messages(nested)[:1])
            self.reports.append(whole[: limits.FIELD_BYTES])
            name, content = "message.eml", whole
        else:
            name, content = _file_name(part), _payload(part)
        if content:
            self.attachments.append(Attachment(name, kind, content))


def _has_words(lines: list[Line]) -> bool:
    return any(line.plain.strip() for line in lines)


def _append(lines: list[Line], more: tuple[Line, ...]) -> None:
    """Further text of the same mail: an empty line between."""
    if lines and more:
        lines.append(Line("", ""))
    lines += more[: limits.LINES - len(lines)]


def _leaves(message: Message) -> Iterator[Message]:
    """The parts that hold something, in order; a forwarded mail is one of them."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        inner = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(inner, list):
            waiting += reversed(inner_messages(inner))
        elif (
            part.get_content_type() == "message/delivery-status"
            or not isinstance(inner, list)
            or part.get_content_type() == "message/rfc822"
        ):
            yield part


def inner_messages(payload: object) -> list[Message]:
    """The parts that a part's payload consists of; none: it is no multipart."""
    return [one for one in payload if isinstance(one, Message)] if isinstance(payload, list) else []


def _payload(part: Message) -> bytes:
    inner = part.get_payload()
    if isinstance(inner, list):
        return b"\n".join(one.as_bytes() for one in inner_messages(inner))
    raw = part.get_payload(decode=True)
    return raw if isinstance(raw, bytes) else b""


def _is_file(part: Message) -> bool:
    disposition = str(part.get("content-disposition", "")).strip().lower()
    return disposition.startswith("attachment")


def _param(part: Message, name: str) -> str:
    """A parameter of Content-Type, "" where there is none that can be read."""
    try:
        value = part.get_param(name, "")
    except (ValueError, LookupError, TypeError):
        return ""
    return value[2] if isinstance(value, tuple) else str(value or "")


def _file_name(part: Message) -> str:
    try:
        raw = part.get_filename("") or ""
    except (ValueError, LookupError, TypeError):
        raw = ""
    if "=?" in raw or not raw.isascii():
        # As what is for people: a subject is such a thing.
        raw = parse_headers(b"subject: " + raw.encode("utf-8", "surrogateescape")).get("subject")
    name = display_name(re.split(r"[/\\]", raw)[-1], limit=_NAME_CHARACTERS).strip(". ")
    if part.get_content_type() == "application/ms-tnef":
        return name or "winmail.dat"
    return name or _OTHER_NAME
