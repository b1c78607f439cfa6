"""Whether a mail was written to a room, and lately: else whoever has it may have sent it on.

A proof says who wrote a mail, and neither to whom nor when: anybody who ever got one of somebody
who may write could hand it in again. What its envelope says, and fields like Delivered-To, are the
word of whoever hands it in. What counts is To, Cc and Date, as far as they were signed. Sans-IO.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from bridge.email.addressing import Purpose, own_address
from bridge.email.headers import addresses
from bridge.email.identity import admits, is_aligned
from bridge.email.parsing import Mail
from bridge.email.settings import EmailSettings

__all__ = ["why_not_here"]

_DAY_MS: Final = 24 * 3_600_000
_PAST_MS: Final = 30 * _DAY_MS
"""Less than what has come is known for: the same mail is never taken twice."""
_FUTURE_MS: Final = 2 * _DAY_MS
_UNSIGNED: Final = (
    "its sender's server signs no To (Microsoft's does not), so it may be to others: add them as a "
    "subscriber, and their secret address will do"
)
_TAG: Final = re.compile(r"(?:^|;)\s*(d|h)\s*=([^;]*)")


def why_not_here(
    mail: Mail, place: str, settings: EmailSettings, also_to: Iterable[str], now: int
) -> str:
    """Why a mail to a place's open address waits for an owner's word; "": it does not.

    `also_to`: patterns of other addresses whose mail comes there; `now`: milliseconds since 1970.
    """
    if mail.headers.cut:
        # Behind the cut may stand the signature of another To, and whoever checked it has read it.
        return "its header is too large to be read whole"
    if not any(_names(mail, name, place, settings, also_to) for name in ("to", "cc")):
        return _UNSIGNED if _is_unsigned(mail) else "it was not written to this room"
    if not _is_signed(mail, "date"):
        return "its date can be anybody's"
    if mail.date is not None and not now - _PAST_MS <= mail.date <= now + _FUTURE_MS:
        return "by its date it is over 30 days old, or not written yet"
    return ""


def _names(
    mail: Mail, field: str, place: str, settings: EmailSettings, also_to: Iterable[str]
) -> bool:
    """Whether a field that its sender vouches for names the place."""
    if not _is_signed(mail, field):
        return False
    for one in (one for value in mail.headers.all(field) for one in addresses(value)):
        own = own_address(one.key, domain=settings.domain, bounce=settings.bounce)
        if own is not None and (own.purpose, own.local) == (Purpose.ROOM, place):
            return True
        if admits(also_to, one.key):
            return True
    return False


def _is_signed(mail: Mail, field: str) -> bool:
    """Whether nobody but its sender has written a field.

    So it is where each signature of theirs covers it as often as it is there; one that stands there
    once more than that was put in later. Without a signature, their own server has sent the mail.
    """
    count = len(mail.headers.all(field))
    return all(fields.count(field) >= max(1, count) for fields in _covered(mail))


def _is_unsigned(mail: Mail) -> bool:
    """Whether its sender's server has signed the mail, and not to whom it is."""
    covers = _covered(mail)
    return bool(covers) and not any("to" in fields or "cc" in fields for fields in covers)


def _covered(mail: Mail) -> list[list[str]]:
    """The fields that each signature of its sender covers."""
    return [
        fields
        for signer, fields in map(_signature, mail.headers.all("dkim-signature"))
        if is_aligned(signer, mail.senders[0].domain)
    ]


def _signature(value: str) -> tuple[str, list[str]]:
    """Who has signed, and which fields."""
    tags = {name: "".join(what.split()).lower() for name, what in _TAG.findall(value)}
    return tags.get("d", ""), tags.get("h", "").split(":")
