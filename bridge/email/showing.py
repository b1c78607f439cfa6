"""What a room is shown of a mail: its newest words, its files, and itself where less is shown."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

from bridge.email.body import room_text
from bridge.email.parsing import Attachment, Mail
from bridge.email.quotes import strip
from bridge.email.secrecy import Secrets
from ofcd.client import lite

__all__ = ["Shown", "shown_of"]

_ORIGINAL: Final = "original.eml"


@frozen
class Shown:
    """Words in the room's format, and files, without anybody's secret address."""

    text: str = field(repr=False)
    files: tuple[Attachment, ...]
    subject: str = field(repr=False)


def shown_of(mail: Mail, raw: bytes, secrets: Secrets, *, titled: bool) -> Shown:
    """What is shown of a mail; `titled`: with its subject. May take seconds: not on the loop."""
    newest = strip(mail.lines)
    text, cut = room_text(newest.lines)
    text = secrets.in_text(text)
    subject = secrets.in_text(mail.subject)
    if subject and titled:
        text = f"**{lite.escape(subject)}**\n\n{text}".rstrip()
    wanted = list(mail.attachments)
    if newest.stripped or cut or mail.defects:
        wanted.append(Attachment(_ORIGINAL, "message/rfc822", raw))
    files, left_out = [], 0
    for one in wanted:
        clean = secrets.file(one)
        if clean is None:
            left_out += 1
        else:
            files.append(clean)
    notes = []
    if cut or mail.defects:
        why = "; ".join([*mail.defects, *(["its text is cut here"] if cut else [])])
        notes.append(f"Not all of this mail is shown: {why}.")
    if left_out:
        what = "A file is left out: it holds"
        if left_out > 1:
            what = f"{left_out} files are left out: they hold"
        notes.append(
            f"{what} a secret address for answers by mail, or more than can be searched for one."
        )
    for note in notes:
        text = f"{text}\n\n*{lite.escape(note)}*".lstrip()
    if not text and not files:
        text = "*An empty mail.*"
    return Shown(text, tuple(files), subject)
