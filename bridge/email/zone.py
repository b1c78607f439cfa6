"""What the world's name servers say of a mail domain: MX, SPF, DKIM and DMARC, for the check."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import dns.exception
import dns.resolver
import trio

from bridge.core.network import Finding
from bridge.email.settings import EmailSettings

__all__ = ["zone_findings"]

_SECONDS: Final = 10.0


async def zone_findings(
    settings: EmailSettings, resolver: dns.resolver.Resolver | None = None
) -> list[Finding]:
    """What is well and what is not; `resolver` is this machine's own where none is given."""
    domain, selector = settings.domain, settings.dkim_selector
    try:
        resolver = resolver or dns.resolver.Resolver()
        spf = await _records(resolver, domain, "TXT", "v=spf1")
        mx = await _records(resolver, domain, "MX")
        dmarc = await _records(resolver, f"_dmarc.{domain}", "TXT", "v=dmarc1")
        name = f"{selector}._domainkey.{domain}"
        dkim = await _records(resolver, name, "TXT") if selector else []
    except (dns.exception.DNSException, OSError, trio.TooSlowError) as error:
        return [
            Finding(
                True,
                f"no name server answers here ({type(error).__name__}): MX, SPF, DKIM and DMARC of "
                f"{domain} were not looked at",
            )
        ]
    return [
        *_mx(domain, mx),
        *_spf(domain, spf, settings.smtp.host),
        *_dkim(domain, selector, dkim),
        *_dmarc(domain, dmarc),
    ]


async def _records(
    resolver: dns.resolver.Resolver, name: str, kind: str, start: str = ""
) -> list[str]:
    """The records of a name, those that begin so; none where it has none."""
    ask = partial(resolver.resolve, name, kind, lifetime=_SECONDS)
    try:
        with trio.fail_after(_SECONDS + 5):
            answer = await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    found = [_text(one) for one in answer]
    return [one for one in found if one.lower().startswith(start)]


def _text(record: Any) -> str:
    strings = getattr(record, "strings", None)
    return b"".join(strings).decode("utf-8", "replace") if strings else str(record)


def _mx(domain: str, found: list[str]) -> Iterator[Finding]:
    if found:
        yield Finding(True, f"{domain} has a mail server: {found[0].split()[-1].rstrip('.')}")
    else:
        yield Finding(
            False,
            f"{domain} has no MX record: nobody can answer by mail; add one that names the server "
            "which hands its mail to the bridge",
        )


def _spf(domain: str, found: list[str], host: str) -> Iterator[Finding]:
    if not found:
        sends = "mx" if re.fullmatch(r"[\d.]+|.*:.*|localhost", host) else f"a:{host}"
        yield Finding(
            False,
            f'{domain} has no SPF record: add TXT "v=spf1 {sends} -all" (the server that sends '
            "its mail to the world), or much of it is taken for spam",
        )
    elif len(found) > 1:
        yield Finding(False, f"{domain} has {len(found)} SPF records: keep one, others ignore all")
    elif found[0].split()[-1].lower() in ("+all", "all"):
        yield Finding(False, f'the SPF record of {domain} lets everybody send: end it in "-all"')
    else:
        yield Finding(True, f"{domain} has an SPF record")


def _dkim(domain: str, selector: str, found: list[str]) -> Iterator[Finding]:
    name = f"{selector}._domainkey.{domain}"
    if not selector:
        yield Finding(True, "dkim_selector is not set: whether mail is signed was not looked at")
    elif not found:
        yield Finding(
            False,
            f"there is no DKIM key at {name}: add the TXT record that your signer (OpenDKIM, "
            "Rspamd) has written, or correct dkim_selector",
        )
    elif not any(_has_key(one) for one in found):
        yield Finding(False, f"the DKIM record at {name} holds no key (p=): it was withdrawn")
    else:
        yield Finding(True, f"there is a DKIM key at {name}")


def _has_key(record: str) -> bool:
    tags = dict(one.strip().partition("=")[::2] for one in record.split(";"))
    return bool(tags.get("p", "").strip())


def _dmarc(domain: str, found: list[str]) -> Iterator[Finding]:
    if len(found) == 1:
        yield Finding(True, f"{domain} has a DMARC record")
    else:
        what = f"{len(found)} DMARC records" if found else "no DMARC record"
        yield Finding(
            False,
            f'{domain} has {what}: have one, TXT "v=DMARC1; p=none" at _dmarc.{domain} at first',
        )
