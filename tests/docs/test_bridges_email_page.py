"""The settings on the page are settings, and every setting and command is on the page."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from bridge.core.settings import load_settings
from bridge.email.network import EmailNetwork
from bridge.email.settings import EmailPlace, EmailSettings
from bridge.kinds import KINDS
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/bridges-email.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_settings_on_the_page_load(number: int, tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(BLOCKS[number], encoding="utf-8")
    settings = load_settings(path, {"email": EmailNetwork})
    [network] = settings.networks
    assert isinstance(network, EmailSettings)
    assert network.domain == "bridge.example"
    secret = network.smtp.password_file or network.imap.password_file
    wanted = str(tmp_path / "password") if "password" in BLOCKS[number] else ""
    assert secret == wanted, "paths start at the file's folder"
    assert settings.make_networks()["mail"].describe("books") == "books@bridge.example by mail"


def test_the_example_of_the_checkout_loads_with_its_mail(tmp_path: Path) -> None:
    """bridge.example.toml, what is commented out of it in force."""
    text = (ROOT / "bridge.example.toml").read_text(encoding="utf-8")
    mail = text[text.index("# [[email]]") : text.index("[log]")]
    path = tmp_path / "bridge.toml"
    path.write_text(text.replace(mail, re.sub(r"^# ?", "", mail, flags=re.M)), encoding="utf-8")
    settings = load_settings(path, KINDS)
    assert [one.name for one in settings.networks] == ["libera", "mail"]
    books = settings.make_networks()["mail"].places["books"]
    assert books.options == EmailPlace(
        ("bo@people.example",), ("*@library.example",), quiet="22:00-07:00", zone="Europe/Berlin"
    )


def test_there_are_two_of_them() -> None:
    assert len(BLOCKS) == 2
    assert sum("password_file" in one for one in BLOCKS) == 1


def test_what_a_person_has_to_decide_is_on_the_page() -> None:
    decided = {"authserv_id", "dkim", "per_hour", "give_up_hours", "max_mail_bytes", "domain"}
    decided |= {"subscribers", "allow", "hold", "delivery", "quiet", "attachment_bytes"}
    names = {one.name for cls in (EmailSettings, EmailPlace) for one in attrs.fields(cls)}
    assert decided <= names
    assert all(name in PAGE for name in decided)
    for command in ("status", "full on", "add ADDRESS", "token ADDRESS", "held", "let N", "drop N"):
        assert command in PAGE
