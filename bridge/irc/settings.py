"""What `[[irc]]` and `[portal.irc]` say."""

from __future__ import annotations

from codecs import lookup
from typing import Final, Literal

from attrs import field, frozen
from attrs.validators import ge, in_, le

__all__ = ["IrcPlace", "IrcSettings"]

_ASCII: Final = bytes(range(0x20, 0x7F))
_MORE: Final = bytes(range(0x80, 0x100))
_NO_NICK: Final = " ,:!@*?#&+%~.\r\n\0"


def _is_charset(_settings: object, _name: object, value: str) -> None:
    """A charset in which ASCII is what it is, as all of IRC's own words are."""
    try:
        good = _ASCII.decode(value) == _ASCII.decode()
    except (LookupError, UnicodeError):
        good = False
    if not good:
        raise ValueError(f"charset = {value!r} is not known, or no ASCII with more letters")
    if not _MORE.decode(value, "ignore") and lookup(value).name != "utf-8":
        raise ValueError(
            f"charset = {value!r} writes all letters in ASCII's bytes, which are UTF-8, too: no "
            "line would ever be read in it"
        )


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
    regain: Literal["", "RECOVER", "REGAIN", "GHOST"] = ""
    """What NickServ is asked, for an account, while somebody else has the nick: RECOVER (Anope),
    GHOST (Atheme), or REGAIN (Atheme since 7.3)."""
    burst: int = field(default=5, validator=[ge(1), le(100)])
    """Lines at once."""
    line_seconds: float = field(default=2.0, validator=ge(0.01))
    """And one more every so many seconds."""
    ping_seconds: float = field(default=60.0, validator=ge(5))
    """A server silent for so long is asked; silent for twice that, it is gone."""
    charset: str = field(default="cp1252", validator=_is_charset)
    """Of lines that are no UTF-8, as old programs say them: "koi8-r", "iso-8859-2", "gbk". What the
    bridge says is UTF-8."""
    puppet_suffix: str = "[o]"
    """What marks the nick of a member as bridged, where a portal has `mode = "puppets"`."""
    max_puppets: int = field(default=20, validator=[ge(1), le(1000)])
    """Connections for members at once; who spoke longest ago makes room for others. Networks allow
    few from one address: ask them for more."""
    puppet_idle: float = field(default=3600.0, validator=ge(1))
    """Seconds after which a member who says nothing is disconnected, until they speak again."""
    puppet_seconds: float = field(default=3.0, validator=ge(0))
    """Between two connections of members."""
    webirc_password_file: str = ""
    """Holds the password with which the network lets the bridge say whom a connection is for
    (WEBIRC): each member gets an address of their own there, and can be banned alone."""
    webirc_gateway: str = "ofcd"
    webirc_host: str = "ofcd.invalid"
    """The end of members' host names."""

    def __attrs_post_init__(self) -> None:
        """The settings fit each other."""
        if self.account and not self.account_password_file:
            raise ValueError("account is given, and no account_password_file")
        if self.account_password_file and not self.account:
            raise ValueError("account_password_file is given, and no account")
        if not self.puppet_suffix or any(one in _NO_NICK for one in self.puppet_suffix):
            raise ValueError("puppet_suffix can not be part of a nick, or is empty")
        if self.regain and not (self.account or self.client_cert_file):
            raise ValueError("regain is for an account")
        if self.client_cert_file and not self.tls:
            raise ValueError("client_cert_file is for tls = true")


@frozen
class IrcPlace:
    """A portal's [portal.irc]."""

    key: str = field(default="", repr=False)
    """The channel's key (+k)."""
    key_file: str = ""
    """Or a file that holds it, read anew for each JOIN."""
    farewell: bool = True
    """When the bridge is put out of the room, or the room ends: say so in the channel before it is
    left. Without it, the bridge leaves it silently."""
    mode: str = field(default="relay", validator=in_(("relay", "relaymsg", "puppets")))
    """Who speaks for members. `relay`: the bridge's nick, and each line says who; `relaymsg`: it
    too, in their names, where the server offers RELAYMSG; `puppets`: a nick for each, as far as
    connections go round, else the bridge's."""
    max_lines: int = field(default=5, validator=ge(1))
    """Lines of one message: what to do with more says `long`."""
    long: str = field(default="link", validator=in_(("link", "clip", "more", "all")))
    """`link`: the first lines, and a link to all of it, where [links] is set up; `clip`: the first
    lines, and how many more there are; `more`: and the next whenever somebody there says !more,
    within ten minutes; `all`: all of them, slowly."""
    redactions: str = field(default="off", validator=in_(("off", "notice")))
    """Where the server has no REDACT: say that somebody took back a message, or nothing."""
    notes: str = field(default="notice", validator=in_(("notice", "message")))
    """How the bridge's own lines are said."""

    def __attrs_post_init__(self) -> None:
        """The settings fit each other."""
        if self.key and self.key_file:
            raise ValueError("key and key_file are both given: one is enough")
