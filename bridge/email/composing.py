"""The mails that go out: headers that keep them out of loops, in threads, and easy to be rid of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime
from html import escape
from typing import Final

from attrs import field, frozen

from bridge.email.automatic import LOOP_HEADER
from bridge.email.parsing import Attachment
from ofcd.client import display_name, visible_text

__all__ = ["Item", "Letter", "compose"]

_SUBJECT: Final = 120
_NAME: Final = 100
_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,100}")
_REFERENCES: Final = 20
_ID: Final = re.compile(r"[!-;=?-~]{1,900}")
"""A Message-ID that fits a line of RFC 5322 (998) as it is; of others nothing can be found."""
_ID_FIELDS: Final = ("in-reply-to", "references")


class _Policy(EmailPolicy):
    """Ids of other mails go out as they came: never encoded, however long they are.

    What `email` makes of one that fits no line of 78 (Exchange's do not) finds nothing.
    """

    def fold_binary(self, name: str, value: str) -> bytes:
        if name.lower() not in _ID_FIELDS:
            return super().fold_binary(name, value)
        lines = value.replace(" ", "\r\n ")
        return f"{name}: {lines}\r\n".encode("ascii")


_POLICY: Final = _Policy(linesep="\r\n", cte_type="7bit")
"""Every server takes seven bits; what comes out is what was signed, sent again, and counted."""


@frozen(kw_only=True)
class Item:
    """One thing said in a room, as a mail shows it."""

    author: str
    ts: int
    """When it was said, milliseconds since 1970."""
    plain: str = field(repr=False)
    html: str = field(repr=False)
    late: bool = False


@frozen(kw_only=True)
class Letter:
    """All that one mail to one person says."""

    place: str
    """Its address, before the `@`."""
    domain: str
    room: str
    """The room's name."""
    to: str
    message_id: str
    date: int
    items: tuple[Item, ...] = ()
    count: int = 1
    """How much was said; in a notice, which has no items."""
    sender: str = ""
    """Who is shown as the sender beside the room."""
    subject: str = field(default="", repr=False)
    reply_token: str = field(repr=False)
    references: tuple[str, ...] = ()
    """Of the answered mail and those before it; the last one is answered."""
    path: tuple[str, ...] = ()
    unsubscribe_url: str = field(default="", repr=False)
    attachments: tuple[Attachment, ...] = ()
    digest: bool = False
    """They get what is said together."""

    @property
    def reply_to(self) -> str:
        """The secret address of this person for this place."""
        return f"{self.place}+{self.reply_token}@{self.domain}"


def compose(letter: Letter) -> bytes:
    """The mail, as it goes over the wire."""
    message = EmailMessage(policy=_POLICY)
    shown = f"{letter.sender} via {letter.room}" if letter.sender else letter.room
    message["From"] = HeaderAddress(_words(shown), letter.place, letter.domain)
    message["To"] = letter.to
    message["Reply-To"] = letter.reply_to
    message["Subject"] = _subject(letter)
    message["Date"] = format_datetime(datetime.fromtimestamp(letter.date / 1000, UTC))
    message["Message-ID"] = f"<{letter.message_id}>"
    if letter.references and _ID.fullmatch(letter.references[-1]):
        message.set_raw("In-Reply-To", f"<{letter.references[-1]}>")
    known = [one for one in letter.references if _ID.fullmatch(one)]
    if known:
        message.set_raw("References", " ".join(f"<{one}>" for one in known[-_REFERENCES:]))
    _add_list_fields(message, letter)
    _add_body(message, letter)
    return message.as_bytes()


def _words(text: str) -> str:
    """A phrase that no header is broken by: one line, nothing hidden, no quotes."""
    words = display_name(text).replace('"', "'").replace("\\", "/")
    return words.encode("utf-8", "replace").decode()


def _subject(letter: Letter) -> str:
    room = _words(letter.room)
    if letter.subject:
        said = display_name(letter.subject, limit=_SUBJECT)
        return f"Re: [{room}] {said}" if letter.references else f"[{room}] {said}"
    many = f"{letter.count} new messages" if letter.count > 1 else "New message"
    return f"{many} in {room}"


def _add_list_fields(message: EmailMessage, letter: Letter) -> None:
    off = f"{letter.place}+{letter.reply_token}.off@{letter.domain}"
    message["List-Id"] = f"<{letter.place}.{letter.domain}>"
    ways = [f"<{letter.unsubscribe_url}>"] if letter.unsubscribe_url else []
    message["List-Unsubscribe"] = ", ".join([*ways, f"<mailto:{off}>"])
    if letter.unsubscribe_url:
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message[LOOP_HEADER] = " ".join(letter.path) or "none"


def _add_body(message: EmailMessage, letter: Letter) -> None:
    plain, html = _texts(letter)
    message.set_content(plain, charset="utf-8", cte="quoted-printable")
    message.add_alternative(html, subtype="html", charset="utf-8", cte="quoted-printable")
    for one in letter.attachments:
        kind = one.media_type.lower()
        if not _TYPE.fullmatch(kind) or kind.startswith(("multipart/", "message/")):
            kind = "application/octet-stream"
        main, _, sub = kind.partition("/")
        name = display_name(one.name, limit=_NAME) or "file"
        message.add_attachment(one.content, maintype=main, subtype=sub, filename=name)


def _texts(letter: Letter) -> tuple[str, str]:
    plain: list[str] = []
    html: list[str] = []
    if not letter.items:
        many = f"{letter.count} new messages" if letter.count > 1 else "There is a new message"
        room = visible_text(letter.room)
        words = f"{many} in {room}. Open the room to read: mail carries no content."
        plain.append(words)
        html.append(f"<p>{escape(words)}</p>")
    for item in letter.items:
        head = _head(letter, item)
        plain += [head, item.plain, ""] if head else [item.plain, ""]
        html += [f"<p><b>{escape(head)}</b></p>", item.html] if head else [item.html]
    foot = _foot(letter)
    plain += ["-- ", *foot]
    html.append("<hr><p><small>" + "<br>".join(map(escape, foot)) + "</small></p>")
    body = "\n".join(html)
    return "\n".join(plain) + "\n", f"<!DOCTYPE html>\n<html><body>\n{body}\n</body></html>\n"


def _head(letter: Letter, item: Item) -> str:
    if len(letter.items) == 1 and not item.late:
        return ""
    at = datetime.fromtimestamp(item.ts / 1000, UTC)
    return f"{item.author}, {at:%Y-%m-%d %H:%M} UTC:"


def _foot(letter: Letter) -> Sequence[str]:
    secret = f"{letter.place}+{letter.reply_token}"
    other, how = ("each", "Each message by itself") if letter.digest else ("digest", "All together")
    return (
        f"Answer this mail to write to {visible_text(letter.room)}. The answer address is yours "
        "alone: who has it can write as you.",
        "A bridge carries these mails: between it and you they are not end-to-end encrypted.",
        f"{how}: write to {secret}.{other}@{letter.domain}",
        f"No more of them: write to {secret}.off@{letter.domain}",
    )
