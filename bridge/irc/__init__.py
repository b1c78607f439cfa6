"""IRC: one nick a network, attributed lines, from bare RFC 2812 servers to IRCv3.

Sans-IO: `wire` (lines), `login` (CAP, SASL, NICK), `mirc` (formatting), `splitting`, `rendering`,
`presence`. Shells: `connection` (one connection, its pace and proofs), `network`.
"""

from __future__ import annotations

from bridge.irc.network import IrcNetwork

__all__ = ["IrcNetwork"]
