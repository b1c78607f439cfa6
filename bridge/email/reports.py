"""Reports about mail of ours that was not delivered (RFC 3464), whoever writes them and however."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from attrs import frozen

from bridge.email.headers import addresses, message_ids, parse_headers
from bridge.email.parsing import Mail

__all__ = ["Bounce", "Failure", "bounces", "failure_of", "status_of_refusal", "worst"]

_STATUS: Final = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_MOVED: Final = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.4.4"})
"""There is no such mailbox, or nobody reads it. Other failures of the fifth kind (too large,
refused for what it says) are about one mail."""


_ABOUT_US: Final = re.compile(
    r"relay|authenti|block|black|spam|polic|reputation|den(?:y|ied)|prohibit|reject|permit|allow"
    r"|\bSPF\b|DKIM|DMARC|\bPTR\b|rDNS|limit",
    re.IGNORECASE,
)
"""What servers say where they refuse the sender."""


class Failure(StrEnum):
    """What a report says of an address."""

    HARD = "hard"
    """There is no such mailbox: writing again is useless."""
    SOFT = "soft"
    """This mail was not delivered; the next one may be."""
    DELAYED = "delayed"
    """Not yet: nothing to do."""


@frozen
class Bounce:
    """One recipient of a report."""

    recipient: str
    """In small letters; "" where the report does not say."""
    failure: Failure
    status: str
    """As "5.1.1"."""
    message_ids: tuple[str, ...] = ()
    """Of the mail it is about, where the report holds it."""


def bounces(mail: Mail) -> tuple[Bounce, ...]:
    """What a mail reports as not delivered; () for one that is no such report."""
    about = tuple(
        one for raw in mail.reports for one in message_ids(parse_headers(raw).get("message-id"))
    )
    found = [
        bounce
        for raw in mail.reports
        for group in re.split(rb"\r?\n[ \t]*\r?\n", raw)[:100]
        if (bounce := _recipient(group, about)) is not None
    ]
    return tuple(found)


def _recipient(group: bytes, about: tuple[str, ...]) -> Bounce | None:
    fields = parse_headers(group.strip())
    action = fields.get("action").lower().strip()
    if action not in ("failed", "delayed"):
        return None
    status = _STATUS.search(fields.get("status")) or _STATUS.search(fields.get("diagnostic-code"))
    code = ".".join(status.groups()) if status else ("5.0.0" if action == "failed" else "4.0.0")
    named = fields.get("original-recipient") or fields.get("final-recipient")
    mailbox = addresses(named.partition(";")[2].strip())
    return Bounce(mailbox[0].key if mailbox else "", failure_of(action, code), code, about)


def worst(found: Sequence[Bounce]) -> Bounce | None:
    """What a report that names several (a list's, or one that was late first) means for us."""
    order = (Failure.HARD, Failure.SOFT, Failure.DELAYED)
    return min(found, key=lambda one: order.index(one.failure), default=None)


def status_of_refusal(code: int, status: str, text: str) -> str:
    """The enhanced status of a RCPT that was refused; a bare 550 says that there is no mailbox.

    Unless its words are about who sends: of a server that does not relay, or that has us on a
    blocklist, every address is refused, and none of them is at fault.
    """
    if status == "5.0.0" and code in (550, 551, 553) and not _ABOUT_US.search(text):
        return "5.1.1"
    return status


def failure_of(action: str, status: str) -> Failure:
    """What an action and an enhanced status (RFC 3463) mean for the address."""
    if action != "failed":
        return Failure.DELAYED
    return Failure.HARD if status in _MOVED else Failure.SOFT
