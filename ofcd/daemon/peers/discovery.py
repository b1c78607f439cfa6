"""A relay's own page, `/.well-known/ofc/relay.json`: who it is, and where it is reached.

The page is one signed DESCRIPTOR. DNS and TLS only find it: what makes it believed is the key that
signed it, which hashes to the relay id; and where no id is known, that it was the first one seen.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final

from ofcd.config import Networks
from ofcd.daemon.identity import Identity
from ofcd.daemon.pages import DESCRIPTOR_PAGE
from ofcd.protocol import limits
from ofcd.protocol.codec import dump_json, parse_json
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import b64decode, b64encode
from ofcd.protocol.records import Descriptor
from ofcd.protocol.versions import VERSION
from ofcd.themis.lineage import Lineage
from ofcd.themis.signed import open_signed, peek, sign_record
from ofcd.wire import fetch_page

__all__ = [
    "allowed_by",
    "find_relay",
    "read_descriptor",
    "write_descriptor",
]

_NAT64: Final = ip_network("64:ff9b::/96")
_DISGUISES: Final = tuple(
    map(
        ip_network,
        (
            "::/96",  # IPv4-compatible
            "::ffff:0:0:0/96",  # IPv4-translated
            "64:ff9b:1::/48",  # NAT64 of a network's own
            "2001::/32",  # Teredo
            "2002::/16",  # 6to4
            "192.88.99.0/24",  # its relays
            "fec0::/10",  # site-local
        ),
    )
)
"""Other ways to write, or to come to, an address that is not public. No relay needs them."""
_PAGE_BYTES: Final = 16 * limits.KIB
_SECONDS: Final = 10.0
_DAY_MS: Final = 24 * 3600 * 1000
_VALID_DAYS: Final = 30
_RENEWED_DAYS: Final = 10


def allowed_by(private: Networks) -> Callable[[IPv4Address | IPv6Address], bool]:
    """Whether an address may be dialled: a public one, or one in these networks."""

    def allowed(address: IPv4Address | IPv6Address) -> bool:
        real = _real(address)
        if any(one in network for one in (address, real) for network in private):
            return True
        return real.is_global and not real.is_multicast and not _is_disguise(real)

    return allowed


def _real(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Where a packet to this address arrives: an IPv4 address may be written as another one."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:  # what a network without IPv4 makes of every public address
            return IPv4Address(address.packed[-4:])
    return address


def _is_disguise(address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in _DISGUISES)


def write_descriptor(identity: Identity, name: str, url: str, now: int) -> bytes:
    """The page for `now`. It is valid for 30 days, and written anew every 10 at least."""
    period = now // (_RENEWED_DAYS * _DAY_MS)
    record = Descriptor(
        v=VERSION,
        relay_id=identity.relay_id,
        key=identity.public,
        name=name,
        urls=(url,),
        valid_until=period * _RENEWED_DAYS * _DAY_MS + _VALID_DAYS * _DAY_MS,
        counter=period,
    )
    signed = sign_record(identity.keys.private, record)
    page: dict[str, object] = {"v": VERSION, "record": b64encode(signed.envelope)}
    if identity.relay.statements:
        page["succession"] = [b64encode(one) for one in identity.relay.statements]
    return dump_json(page)


def read_descriptor(
    raw: bytes, now: int, known: Lineage | None, counter: int = 0
) -> tuple[Descriptor, Lineage]:
    """The descriptor in a page, verified, and whose it is. Raises `ProtocolError`.

    `known` is the relay that it must be of; `counter` that of the last one taken.
    """
    page = parse_json(raw, max_bytes=_PAGE_BYTES)
    envelope, shown = page.get("record"), page.get("succession", [])
    if not isinstance(envelope, str):
        raise Malformed(Code.BAD_RECORD, "the page holds no record")
    if not isinstance(shown, list) or not all(isinstance(one, str) for one in shown):
        raise Malformed(Code.BAD_RECORD, "the page does not say how the relay came to its key")
    signed = peek(b64decode(envelope))
    record = signed.record
    if not isinstance(record, Descriptor):
        raise Malformed(Code.BAD_RECORD, "the page holds another kind of record")
    statements = tuple(map(b64decode, shown))
    if known is None:
        known = Lineage.first_seen(record.key, statements)
    if known.relay_id != record.relay_id:
        raise Refused(Code.WRONG_RELAY, "the page is of another relay")
    known = known.proven(record.key, statements)
    open_signed(record.key, signed.envelope)
    if not now < record.valid_until <= now + (_VALID_DAYS + 1) * _DAY_MS:
        raise Refused(Code.EXPIRED, "the page is not valid now: it is too old, or a clock is wrong")
    if record.counter < counter:
        raise Refused(Code.EXPIRED, "the page is older than the one that was read before")
    return record, known


async def find_relay(
    name: str, networks: Networks, now: int, known: Lineage | None, counter: int = 0
) -> tuple[Descriptor, Lineage]:
    """As `read_descriptor`, of the relay called `name`. Raises `DialError`, `ProtocolError`."""
    raw = await fetch_page(
        f"https://{name}{DESCRIPTOR_PAGE}",
        max_bytes=_PAGE_BYTES,
        seconds=_SECONDS,
        allowed=allowed_by(networks),
    )
    return read_descriptor(raw, now, known, counter)
