"""[links] of bridge.toml."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen
from attrs.validators import ge, le

__all__ = ["LinksSettings"]

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


@frozen
class LinksSettings:
    """[links]: files and long messages as links that this process serves."""

    public_url: str = ""
    """How the world reaches `address` and `port`, by a proxy that speaks TLS:
    "https://files.example.org/b". Empty: no links, files are told by name and size."""
    address: str = "127.0.0.1"
    port: int = field(default=8470, validator=[ge(0), le(65535)])
    files_dir: str = "bridge.links"
    """Holds what links open, sealed; the key to each stands in its link."""
    expire_hours: float = field(default=168.0, validator=[ge(0.01), le(8760)])
    """How long a link opens."""
    total_bytes: int = field(default=1024**3, validator=ge(1))
    """On the disk, all together; when it is full, files are told by name and size."""
    passphrase_file: str = ""
    """Holds a passphrase that each link asks for besides; tell it to people another way."""

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return Path(self.files_dir)

    def __attrs_post_init__(self) -> None:
        """The URL is one that may be told to people."""
        if not self.public_url:
            return
        url = urlsplit(self.public_url)
        if url.scheme == "http" and url.hostname not in _THIS_MACHINE:
            raise ValueError("public_url has to begin with https://")
        plain = self.public_url.isascii() and self.public_url.isprintable()
        if url.scheme not in ("http", "https") or not url.hostname or not plain:
            raise ValueError("public_url has to be like https://files.example.org/b")
        if url.query or url.fragment or " " in self.public_url or "@" in url.netloc:
            raise ValueError("public_url has no ?, no # and no @")
