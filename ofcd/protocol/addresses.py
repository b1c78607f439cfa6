"""Addresses of relays that a signed record names.

A record holds for everybody or for nobody, so what an address is must be the same in every
implementation: this form, and not what some library takes for a URL.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import Attribute

__all__ = ["address", "first_reachable", "is_address"]

_LENGTH: Final = 200
"""Characters; an invite carries no longer one."""
_PORT: Final = (
    "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
)
_ADDRESS: Final = re.compile(
    rf"wss?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?:{_PORT}))?(?:/[A-Za-z0-9._~%/:=+,;-]*)?"
)
_ENDS_IN_A_NUMBER: Final = re.compile(r"[0-9]$|\.0x[0-9a-f]*$")
_LOCAL_NAMES: Final = ("localhost", "local", "internal", "lan", "home.arpa")


def is_address(text: str) -> bool:
    """Whether this is ws:// or wss://, a host, maybe a port and a path, and nothing besides."""
    return len(text) <= _LENGTH and _ADDRESS.fullmatch(text) is not None


def address(_: object, attribute: Attribute[Any], value: str) -> None:
    """The validator of a field that holds one."""
    if not is_address(value):
        raise ValueError(f"{attribute.name} holds what is no address of a relay")


def first_reachable(urls: tuple[str, ...], here: str) -> str | None:
    """The first of `urls` that a client which uses the relay at `here` may be sent to unasked.

    Nobody's word sends a client into a private network, its own machine first of all, but that of
    somebody whose relay it reaches there already.
    """
    return next((url for url in urls if not _is_private(url) or _is_private(here)), None)


def _is_private(url: str) -> bool:
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return True
    try:
        return not ip_address(host).is_global
    except ValueError:
        # A name; or a number that is written in another way, which its last part shows.
        local = any(host == name or host.endswith(f".{name}") for name in _LOCAL_NAMES)
        return local or "." not in host or _ENDS_IN_A_NUMBER.search(host) is not None
