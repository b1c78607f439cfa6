"""IRC: one nick a network or one for each member, from bare RFC 2812 servers to IRCv3.

Sans-IO: `wire` (lines), `login` (CAP, SASL, NICK), `mirc` (formatting), `splitting`, `rendering`,
`presence`, `nicks`, `proof`. Shells: `connection` (one connection, its pace and proofs), `dialing`,
`history`; `network` with its `channels`, `hearing`, `saying` and `puppets`; `checking`.
"""

from __future__ import annotations

from bridge.irc.network import IrcNetwork

__all__ = ["IrcNetwork"]
