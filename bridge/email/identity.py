"""Whose word a mail is (M3): what the receiving server, or its DKIM signatures, prove of its From.

`Authentication-Results` (RFC 8601) is believed of one authserv-id only, the configured one, which
has to strip what pretends to be from it; anybody may write such a field. What proves something has
to be about the domain in From: a signature of somebody else proves somebody else. Whose signature
it is, and what it covers, is what the library that verified it has read, never a reading of ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

import authres
import dkim
from dkim.dnsplug import get_txt

from bridge.email.headers import addresses, parse_headers
from bridge.email.parsing import Mail

__all__ = ["Proof", "admits", "proof_by_dkim", "proof_by_server", "servers_named"]

_FIELD: Final = 4096
_COMMENTS: Final = 20
"""Brackets of one field: the library goes one call deeper for each."""
_FIELDS: Final = 10
_SIGNATURES: Final = 3
"""Signatures of one mail that are checked: each costs a look-up and a pass over the mail."""
_DKIM_BYTES: Final = 26 * 1024 * 1024
_KEY_BYTES: Final = 2048
"""Of the record that holds a key, which is the sender's: with a longer one the library computes for
hours, and nothing else in the process does anything."""
_MALFORMED: Final = (dkim.DKIMException, ValueError, IndexError, KeyError, TypeError, OSError)
"""What the library raises over what strangers send."""

_NAMED: Final = r"\s*(?:\([^()]*\)\s*)?([^\s;()]+)"
"""The authserv-id at the beginning of a field."""

Txt = Callable[[bytes, int], bytes | None]
"""The TXT record of a name, within so many seconds."""


class Proof(StrEnum):
    """What shows that a mail is from who it says."""

    DMARC = "dmarc"
    DKIM = "dkim"
    NONE = "none"


def proof_by_server(mail: Mail, authserv_id: str) -> Proof:
    """What the server `authserv_id` found. "dmarc=fail" there outweighs everything.

    Where its fields contradict each other, one of them is not its own: then nothing is proven.
    """
    if len(mail.senders) != 1 or not authserv_id:
        return Proof.NONE
    domain = mail.senders[0].domain
    fields = _fields(mail, authserv_id)
    dmarc = [one for field in fields for one in field if one.method == "dmarc"]
    if dmarc:
        passed = all(
            one.result == "pass" and _about(one, "from").rpartition("@")[2] == domain
            for one in dmarc
        )
        return Proof.DMARC if passed else Proof.NONE
    dkim = [signed for field in fields if (signed := [o for o in field if o.method == "dkim"])]
    passed = bool(dkim) and all(
        any(one.result == "pass" and is_aligned(_about(one, "d"), domain) for one in field)
        for field in dkim
    )
    return Proof.DKIM if passed else Proof.NONE


def _about(one: authres.core.AuthenticationResult, name: str) -> str:
    """What a result is about, "" where it does not say, or says it twice."""
    found = [p.value.lower() for p in one.properties if (p.type, p.name) == ("header", name)]
    return found[0] if len(found) == 1 else ""


def _fields(mail: Mail, authserv_id: str) -> list[list[authres.core.AuthenticationResult]]:
    """That server's fields: those that stand together, above all others of its name.

    Servers write theirs on top. What stands below a Received field that stands below one of them
    came with the mail, whatever it says.
    """
    found: list[list[authres.core.AuthenticationResult]] = []
    for name, value in mail.headers.fields:
        if name == "received" and found:
            break
        if name == "authentication-results" and (results := _results(value, authserv_id)):
            found.append(results)
            if len(found) > _FIELDS:
                return []
    return found


def servers_named(mail: Mail) -> tuple[str, ...]:
    """Who wrote this mail's `Authentication-Results`, or says so: for people, each once."""
    values = mail.headers.all("authentication-results")[:_FIELDS]
    named = (re.match(_NAMED, value) for value in values if value.isascii())
    return tuple(dict.fromkeys(one[1].lower()[:100] for one in named if one))


def _results(value: str, authserv_id: str) -> list[authres.core.AuthenticationResult]:
    """The results in a field, if it is that server's, to the letter."""
    if not value.isascii() or not value.isprintable():
        return []
    named = re.match(_NAMED, value)
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
    try:
        checker = dkim.DKIM(raw, timeout=5)
        return Proof.DKIM if _is_signed(checker, mail, txt) else Proof.NONE
    except _MALFORMED:
        return Proof.NONE


def _is_signed(checker: dkim.DKIM, mail: Mail, txt: Txt | None) -> bool:
    signed = [value for name, value in checker.headers if name.lower() == b"from"]
    if len(signed) != 1 or _senders(signed[0]) != mail.senders:
        return False
    domain = mail.senders[0].domain
    return any(
        _speaks_for(checker, index, domain) and _verifies(checker, index, txt)
        for index in range(_SIGNATURES)
    )


def _senders(value: bytes) -> tuple[object, ...]:
    return addresses(parse_headers(b"From:" + value).get("from"))


def _speaks_for(checker: dkim.DKIM, index: int, domain: str) -> bool:
    """Whether a signature, as the library reads it, would prove anything: before keys are asked."""
    try:
        if not checker.verify_headerprep(index):
            return False
        signer = checker.domain.decode("ascii")
    except _MALFORMED:
        return False
    # `l=` leaves the end of the mail to anybody; a From that is not signed is anybody's.
    covers = b"from" in checker.include_headers and b"l" not in checker.signature_fields
    return covers and is_aligned(signer, domain)


def _verifies(checker: dkim.DKIM, index: int, txt: Txt | None) -> bool:
    def look_up(name: bytes, timeout: int = 5) -> bytes | None:
        found = (txt or get_txt)(name, timeout)
        return None if found is None or len(found) > _KEY_BYTES else found

    try:
        return bool(checker.verify(index, dnsfunc=look_up))
    except _MALFORMED:
        return False
    except Exception as error:  # the resolver behind it has errors of its own
        if type(error).__module__.startswith("dns."):
            return False
        raise


def admits(allow: Iterable[str], address: str) -> bool:
    """Whether an address fits one of these patterns with *."""
    return any(fnmatchcase(address.lower(), pattern.lower()) for pattern in allow)
