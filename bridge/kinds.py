"""The networks there are, by the names of their sections in bridge.toml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bridge.core.network import Network
from bridge.email.network import EmailNetwork
from bridge.irc import IrcNetwork

__all__ = ["KINDS"]

KINDS: Final[Mapping[str, type[Network[Any, Any]]]] = {
    IrcNetwork.kind: IrcNetwork,
    EmailNetwork.kind: EmailNetwork,
}
