"""What can go wrong in a bridge, typed."""

from __future__ import annotations

from ofcd.errors import OfcError

__all__ = ["BridgeError", "NetworkError"]


class BridgeError(OfcError):
    """A bridge can not do what was asked."""

    code = "bridge"


class NetworkError(BridgeError):
    """A network outside refuses the bridge, or can not be used as configured."""

    code = "bridge_network"
