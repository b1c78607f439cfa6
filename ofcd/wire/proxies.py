"""Who a proxy speaks for: X-Forwarded-For, and Forwarded (RFC 7239), sans-IO.

Law: a header is believed only as far as the hands it went through are trusted. From the nearest
hop to the farthest, each trusted proxy names the one before it; the first that is no trusted proxy
is the client, and what stands before that is the client's own claim, not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from attrs import frozen

from ofcd.wire.pages import HeadError, HttpRequest, HttpResponse
from ofcd.wire.stream import RemoteAddress

__all__ = ["TrustedProxies"]

_NODE: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+))(?::(?:(?P<port>[0-9]{1,5})|_[\w.-]+))?"
    r"|(?P<bare>[0-9A-Fa-f:.]+)"
)
"""RFC 7239 section 6; and a bare IPv6 address, as X-Forwarded-For has it."""
_NAMELESS: Final = re.compile(r"(?:unknown|_[\w.-]+)(?::[\w.-]+)?", re.ASCII | re.IGNORECASE)
_PIECE: Final = re.compile(r'((?:[^",;]|"(?:[^"\\]|\\.)*")*)([,;]|$)')
_PAIR: Final = re.compile(r"([!#$%&'*+.^_`|~\w-]+)=(?:([^\s\"]+)|\"(.*)\")", re.ASCII)


@frozen
class TrustedProxies:
    """The networks of proxies, whose connections are somebody else's. None by default."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def trusts(self, remote: RemoteAddress | None) -> bool:
        """Whether this peer is a trusted proxy."""
        if remote is None or not self.networks:
            return False
        address = ip_address(remote.host.partition("%")[0])
        return any(address in network for network in self.networks)

    def client(self, proxy: RemoteAddress, request: HttpRequest) -> RemoteAddress:
        """Whom the trusted `proxy` speaks for; itself, where it does not say. Port 0: not told.

        Where both headers are there they must agree: else a client could choose its address
        at a proxy that writes the one and passes the other through.

        Raises HeadError (400) for a malformed header, or two that disagree.
        """
        found = []
        if request.header("x-forwarded-for") is not None:
            found.append(self._nearest(proxy, request.tokens("x-forwarded-for")))
        if (forwarded := request.header("forwarded")) is not None:
            hops = [element.get("for", "unknown") for element in _elements(forwarded)]
            found.append(self._nearest(proxy, hops))
        if len({client.host for client in found}) > 1:
            raise _bad("X-Forwarded-For and Forwarded disagree: let the proxy set or remove both")
        return found[0] if found else proxy

    def _nearest(self, proxy: RemoteAddress, hops: Iterable[str]) -> RemoteAddress:
        client, left = proxy, list(hops)
        while left and self.trusts(client):
            named = _address(left.pop())
            if named is None:
                break  # who does not say for whom it speaks answers for it
            client = named
        return client


def _address(node: str) -> RemoteAddress | None:
    """The address of a node; None for one without (unknown, or a name made up by the proxy)."""
    if _NAMELESS.fullmatch(node):
        return None
    found = _NODE.fullmatch(node)
    try:
        if found is not None and int(found["port"] or 0) <= 65_535:
            four = found["v4"]
            address = IPv4Address(four) if four else IPv6Address(found["v6"] or found["bare"])
            return RemoteAddress.of(str(address), int(found["port"] or 0))
    except ValueError:
        pass
    raise _bad("the proxy's X-Forwarded-For or Forwarded header holds no address where one is due")


def _elements(header: str) -> Iterator[dict[str, str]]:
    """The elements of a Forwarded header (RFC 7239 section 4), the farthest hop first."""
    element: dict[str, str] = {}
    end, at = ",", 0
    while end:
        piece = _PIECE.match(header, at)
        pair = _PAIR.fullmatch(piece[1].strip()) if piece else None
        if piece is None or (piece[1].strip() and (pair is None or pair[1].lower() in element)):
            raise _bad("the proxy's Forwarded header is not one of RFC 7239")
        if pair is not None:
            element[pair[1].lower()] = pair[2] or re.sub(r"\\(.)", r"\1", pair[3] or "")
        end, at = piece[2], piece.end()
        if end != ";" and element:
            yield element
            element = {}


def _bad(text: str) -> HeadError:
    return HeadError(HttpResponse.sentence(400, text))
