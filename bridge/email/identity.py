"""Whose word a mail is (M3): what the receiving server, or its DKIM signatures, prove of its From.

`Authentication-Results` (RFC 8601) is believed of one authserv-id only, the configured one, which
has to strip what pretends to be from it; anybody may write such a field. What proves something has
to be about the domain in From: a signature of somebody else proves somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

import authres
import dkim

from bridge.email.parsing import Mail

__all__ = ["Proof", "admits", "proof_by_dkim", "proof_by_server"]

_FIELD: Final = 4096
_COMMENTS: Final = 20
"""Brackets of one field: the library goes one call deeper for each."""
_FIELDS: Final = 10
_SIGNATURES: Final = 3
"""Signatures of one mail that are checked: each costs a look-up and a pass over the mail."""
_DKIM_BYTES: Final = 26 * 1024 * 1024

Txt = Callable[[bytes, int], bytes | None]
"""The TXT record of a name, within so many seconds."""


class Proof(StrEnum):
    """What shows that a mail is from who it says."""

    DMARC = "dmarc"
    DKIM = "dkim"
    NONE = "none"


def proof_by_server(mail: Mail, authserv_id: str) -> Proof:
    """What the server `authserv_id` found. "dmarc=fail" there outweighs everything."""
    if len(mail.senders) != 1 or not authserv_id:
        return Proof.NONE
    domain = mail.senders[0].domain
    found = [
        result
        for value in mail.headers.all("authentication-results")[:_FIELDS]
        for result in _results(value, authserv_id)
    ]
    if any(one.method == "dmarc" and one.result != "pass" for one in found):
        return Proof.NONE
    for method, properties in (("dmarc", ("header", "from")), ("dkim", ("header", "d"))):
        for one in found:
            about = [p.value.lower() for p in one.properties if (p.type, p.name) == properties]
            if (one.method, one.result) == (method, "pass") and len(about) == 1:
                if method == "dmarc" and about[0].rpartition("@")[2] == domain:
                    return Proof.DMARC
                if method == "dkim" and is_aligned(about[0], domain):
                    return Proof.DKIM
    return Proof.NONE


def _results(value: str, authserv_id: str) -> list[authres.core.AuthenticationResult]:
    """The results in a field, if it is that server's."""
    named = re.match(r"\s*(?:\([^()]*\)\s*)?([^\s;()]+)", value)
    if named is None or named[1].lower() != authserv_id.lower():
        return []
    if len(value) > _FIELD or value.count("(") > _COMMENTS:
        return []
    try:
        parsed = authres.AuthenticationResultsHeader.parse(f"Authentication-Results: {value}")
    except (authres.AuthResError, RecursionError, ValueError, IndexError, AttributeError):
        return []
    return [one for one in parsed.results if one.method and one.result]


def is_aligned(signer: str, domain: str) -> bool:
    """Whether a signature of `signer` speaks for `domain`: the same, or what it is below.

    Stricter than DMARC's "relaxed", which takes sister domains too and needs the list of public
    suffixes for it.
    """
    signer = signer.lower().strip(".")
    return "." in signer and (signer == domain or domain.endswith("." + signer))


def proof_by_dkim(raw: bytes, mail: Mail, txt: Txt | None = None) -> Proof:
    """What the mail's own signatures prove; looks up keys and may take seconds: not on the loop."""
    if len(mail.senders) != 1 or len(raw) > _DKIM_BYTES:
        return Proof.NONE
    domain = mail.senders[0].domain
    signatures = mail.headers.all("dkim-signature")
    for index, value in enumerate(signatures[:_SIGNATURES]):
        signer = re.search(r"(?:^|;)\s*d\s*=\s*([^\s;]+)", value)
        covers = re.search(r"(?:^|;)\s*h\s*=\s*([^;]+)", value)
        if signer is None or covers is None or not is_aligned(signer[1], domain):
            continue
        signed = [name.strip().lower() for name in covers[1].split(":")]
        # `l=` leaves the end of the mail to anybody; a From that is not signed is anybody's.
        if re.search(r"(?:^|;)\s*l\s*=", value) or "from" not in signed:
            continue
        if _verifies(raw, index, txt):
            return Proof.DKIM
    return Proof.NONE


def _verifies(raw: bytes, index: int, txt: Txt | None) -> bool:
    look_up = {} if txt is None else {"dnsfunc": lambda name, timeout=5: txt(name, timeout)}
    try:
        return bool(dkim.DKIM(raw, timeout=5).verify(index, **look_up))
    except (dkim.DKIMException, ValueError, IndexError, KeyError, TypeError, OSError):
        return False
    except Exception as error:  # the resolver behind it has errors of its own
        if type(error).__module__.startswith("dns."):
            return False
        raise


def admits(allow: Iterable[str], address: str) -> bool:
    """Whether an address fits one of these patterns with *."""
    return any(fnmatchcase(address.lower(), pattern.lower()) for pattern in allow)
