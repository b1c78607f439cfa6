"""[bot.options] of `assistant`, checked when the bot starts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from attrs import field, frozen
from attrs.validators import ge

from bots import SetupError
from bots.options import Duration
from bots.web import BadUrl, check_private, place_of

__all__ = ["ANY", "AssistantSettings", "api_key"]

ANY: Final = "*"


@frozen
class AssistantSettings:
    """[bot.options]. Nothing is asked of anyone until `url`, `model` and `rooms` are set."""

    url: str = ""
    """Of the chat completions: "https://api.example.org/v1/chat/completions"."""
    model: str = ""
    key_file: str = ""
    """Holds the key that the endpoint wants; "" where it wants none."""
    rooms: list[str] = field(factory=list)
    """Ids of the rooms where an owner may turn it on; "*": any."""
    members: list[str] = field(factory=lambda: [ANY])
    """Ids of the members who may ask, where it is on; "*": all."""
    system: str = "You are a helpful assistant in a group chat. Answer briefly and plainly."
    """The first instruction."""
    per_day: int = field(default=20, validator=ge(1))
    """Questions of one member in one day (UTC)."""
    messages: int = field(default=20, validator=ge(1))
    """Of the thread that go along, the last ones."""
    characters: int = field(default=16_000, validator=ge(100))
    """Of those messages, all together."""
    max_tokens: int = field(default=1_000, validator=ge(1))
    timeout: Duration = field(factory=lambda: Duration("2m"))
    """For a whole answer."""
    silence: Duration = field(factory=lambda: Duration("30s"))
    """For the next piece of it."""
    allow_networks: list[str] = field(factory=list)
    """Where the endpoint is, if that is not public: ["127.0.0.1"]."""
    allow_http: bool = False
    """Whether `url` may be http://, as on this machine."""

    def __attrs_post_init__(self) -> None:
        try:
            if self.url:
                check_private(self.url, allow_http=self.allow_http)
        except BadUrl as error:
            raise ValueError(f"url: {error}") from None

    @property
    def host(self) -> str:
        """Who will read what is asked."""
        return place_of(self.url) if self.url else ""

    def permits_room(self, room: bytes) -> bool:
        """Whether it may be turned on there."""
        return bool(self.url and self.model) and _listed(self.rooms, room)

    def permits_member(self, member: bytes) -> bool:
        """Whether this member may ask."""
        return _listed(self.members, member)


def _listed(ids: list[str], one: bytes) -> bool:
    return ANY in ids or one.hex() in {listed.lower() for listed in ids}


def api_key(file: str) -> str:
    """The key in a file; "" for no file. Raises `SetupError`."""
    if not file:
        return ""
    try:
        key = Path(file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise SetupError(f"the key file {file} can not be read") from None
    if not key.isprintable() or " " in key:
        raise SetupError(f"the key file {file} holds more than a key")
    return key
