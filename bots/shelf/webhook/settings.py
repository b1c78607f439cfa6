"""[bot.options] of `webhook`, checked when the bot starts."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template
from typing import Final, Literal

from attrs import field, frozen

from bots import SetupError
from bots.limits import Rate
from bots.options import Duration
from bots.shelf.webhook.signing import read_secret
from bots.web import BadUrl, check_private, place_of
from ofcd.errors import OfcError

__all__ = ["Hook", "Rule", "WebhookSettings", "secret_of"]

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@frozen
class Hook:
    """[bot.options.hooks.NAME]: what is posted to /hook/NAME."""

    secret_file: str
    scheme: Literal["standard", "github"] = "standard"
    """How requests are signed; `github` signs no time and no id."""
    template: str = "$text"
    """What is said: $names of the JSON's fields, nested ones joined by _: $repository_full_name."""
    rate: str = "30/1m"


@frozen
class Rule:
    """[bot.options.out.NAME]: what is posted elsewhere."""

    url: str
    secret_file: str
    pattern: str = ""
    """Messages in which this regular expression is found go out; "": only those of `!send`."""
    allow_http: bool = False
    """Whether `url` may be http://, as on this machine."""

    @property
    def host(self) -> str:
        """Who will read what goes out."""
        return place_of(self.url)

    @property
    def terms(self) -> str:
        """What a room agrees to: what goes out, and where to."""
        return f"{self.host} {self.pattern}"


@frozen
class WebhookSettings:
    """[bot.options]."""

    address: str = "127.0.0.1"
    port: int = 0
    """For /hook/NAME; 0: nothing is taken in."""
    tolerance: Duration = field(factory=lambda: Duration("5m"))
    """How far the clock of a sender may be off."""
    hooks: dict[str, Hook] = field(factory=dict)
    out: dict[str, Rule] = field(factory=dict)
    allow_networks: list[str] = field(factory=list)
    """Networks that are not public and yet may be posted to: ["10.1.0.0/16"]."""

    def __attrs_post_init__(self) -> None:
        for name in [*self.hooks, *self.out]:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r}: a name is lower-case letters, digits, - and _")
        for name, hook in self.hooks.items():
            if not Template(hook.template).is_valid():
                raise ValueError(f"hooks.{name}.template: write $$ for a dollar sign")
            _check_rate(name, hook.rate)
        for name, rule in self.out.items():
            _check_pattern(name, rule.pattern)
            _check_url(name, rule)


def _check_rate(name: str, rate: str) -> None:
    try:
        Rate.parse(rate)
    except OfcError as error:
        raise ValueError(f"hooks.{name}.rate: {error}") from None


def _check_pattern(name: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"out.{name}.pattern: {error}") from None


def _check_url(name: str, rule: Rule) -> None:
    try:
        check_private(rule.url, allow_http=rule.allow_http)
    except BadUrl as error:
        raise ValueError(f"out.{name}.url: {error}") from None


def secret_of(file: str) -> bytes:
    """The secret in a file. Raises `SetupError`."""
    try:
        return read_secret(Path(file).read_text(encoding="ascii").strip())
    except OSError as error:
        raise SetupError(f"the secret file {file} can not be read: {error.strerror}") from None
    except ValueError as error:
        raise SetupError(f"the secret file {file}: {error}") from None
