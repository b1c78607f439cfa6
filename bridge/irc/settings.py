"""What `[[irc]]` and `[portal.irc]` say."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen
from attrs.validators import ge, in_, le

__all__ = ["IrcPlace", "IrcSettings"]


@frozen
class IrcSettings:
    """One [[irc]]: a server, and who the bridge is there."""

    name: str
    """The network's name: badge of its people, and what a [[portal]] refers to."""
    server: str
    port: int = field(default=6697, validator=[ge(1), le(65535)])
    tls: bool = True
    """Encrypt, and verify the server's certificate and name."""
    ca_file: str = ""
    """Trust these certificates instead of the system's."""
    nick: str = "ofc"
    username: str = "ofc"
    realname: str = "ofcd bridge"
    password_file: str = ""
    """Holds the password that the server itself asks for (PASS)."""
    account: str = ""
    """An account with the network's services."""
    account_password_file: str = ""
    """Holds its password (SASL SCRAM-SHA-256, else PLAIN)."""
    client_cert_file: str = ""
    """A client certificate with its key (SASL EXTERNAL)."""
    sasl: Literal["required", "wanted"] = "required"
    """Where an account or certificate is given: without it, do not go on, or go on without."""
    burst: int = field(default=5, validator=[ge(1), le(100)])
    """Lines at once."""
    line_seconds: float = field(default=2.0, validator=ge(0.01))
    """And one more every so many seconds."""
    ping_seconds: float = field(default=60.0, validator=ge(5))
    """A server silent for so long is asked; silent for twice that, it is gone."""

    def __attrs_post_init__(self) -> None:
        """The settings fit each other."""
        if self.account and not self.account_password_file:
            raise ValueError("account is given, and no account_password_file")
        if self.account_password_file and not self.account:
            raise ValueError("account_password_file is given, and no account")
        if self.client_cert_file and not self.tls:
            raise ValueError("client_cert_file is for tls = true")


@frozen
class IrcPlace:
    """A portal's [portal.irc]."""

    key: str = field(default="", repr=False)
    """The channel's key."""
    max_lines: int = field(default=5, validator=ge(1))
    """Lines of one message: what to do with more says `long`."""
    long: str = field(default="clip", validator=in_(("clip", "all")))
    """`clip`: the first lines, and how many more there are; `all`: all of them, slowly."""
    notes: str = field(default="notice", validator=in_(("notice", "message")))
    """How the bridge's own lines are said."""
