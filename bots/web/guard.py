"""Which addresses a bot may be sent to by what members write: public ones (SSRF, CWE-918). Sans-IO.

Who may name a URL may otherwise look into the network that the bot runs in: its router, its cloud's
metadata service, the services of its own machine.

Of IPv6 only what the registry gives out for the public is permitted (RFC 4291 §2.4, 2000::/3), so
that forms given up long ago (site-local fec0::/10, IPv4-compatible ::/96) need no line of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

__all__ = ["Guard"]

Address = IPv4Address | IPv6Address
_NAT64: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052: an IPv4 address in its last 32 bits."""
_PUBLIC6: Final = IPv6Network("2000::/3")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)
"""RFC 5214 §6.1: after one of these, the last 32 bits of an IPv6 address are an IPv4 one."""
_CLOSED: Final = tuple(
    map(
        ip_network,
        [
            "168.63.129.16",  # Azure's metadata and DNS: a public number, answered by the host
            "192.88.99.0/24",  # 6to4 relays, given up (RFC 7526)
            "2001::/32",  # Teredo: an IPv4 address, hidden
            "3fff::/20",  # documentation (RFC 9637), which Python does not know yet
        ],
    )
)
"""Not public, though Python's registry says so, or does not know."""


class Guard:
    """Tells public addresses from others; `allowed` networks are an operator's exceptions."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """`allowed`: networks such as "10.1.0.0/16" or "127.0.0.1". Raises ValueError."""
        self._allowed: list[IPv4Network | IPv6Network] = [ip_network(one) for one in allowed]

    def permits(self, address: str) -> bool:
        """Whether a connection to this numeric address may be made."""
        try:
            ip = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        ends = _ends(ip)
        if any(one in network for one in ends for network in self._allowed):
            return True
        return all(map(_is_public, ends))


def _is_public(ip: Address) -> bool:
    if any(ip in network for network in _CLOSED):
        return False
    if isinstance(ip, IPv6Address) and ip not in _PUBLIC6:
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _ends(ip: Address) -> tuple[Address, ...]:
    """Where a connection to an address may end: there, or at the IPv4 address that it holds.

    ISATAP addresses are ordinary ones as well, by their prefix; the others are nothing else.
    """
    if isinstance(ip, IPv4Address):
        return (ip,)
    last = IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip in _NAT64:
        return (last,)
    held = ip.ipv4_mapped or ip.sixtofour
    if held is not None:
        return (held,)
    return (ip, last) if int(ip) >> 32 & 0xFFFFFFFF in _ISATAP else (ip,)
