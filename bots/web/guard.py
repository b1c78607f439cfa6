"""Which addresses a bot may be sent to by what members write: public ones (SSRF, CWE-918). Sans-IO.

Who may name a URL may otherwise look into the network that the bot runs in: its router, its cloud's
metadata service, the services of its own machine.
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
_NAT64: Final = ip_network("64:ff9b::/96")
"""RFC 6052: an IPv4 address in its last 32 bits."""


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
        seen = _embedded(ip)
        if any(one in network for one in (ip, seen) for network in self._allowed):
            return True
        return _is_public(seen)


def _is_public(ip: Address) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _embedded(ip: Address) -> Address:
    """The IPv4 address that a connection to an IPv6 one may end at; else the address itself."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
