"""The plain pages: what a person, a health check and Prometheus see."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from ofcd import config
from ofcd.config import Settings
from ofcd.daemon.identity import Identity
from ofcd.daemon.metrics import Metrics
from ofcd.daemon.pages import make_pages
from ofcd.themis import generate_keypair
from ofcd.wire import HttpRequest, HttpResponse

IDENTITY = Identity.of(generate_keypair())


def get(
    path: str, settings: Settings | None = None, *, trouble: str | None = None, url: str = "ws://r"
) -> HttpResponse:
    pages = make_pages(
        settings or Settings.default(), IDENTITY, Metrics(), lambda: url, lambda: trouble
    )
    return pages(HttpRequest("GET", path))


def test_the_first_page_says_what_this_is() -> None:
    """The relay's name, its address as the command to type, and its fingerprint."""
    page = get("/", url="wss://chat.example.org")
    text = page.body.decode()
    assert page.status == 200
    assert page.content_type.startswith("text/html")
    assert "localhost is a relay for encrypted rooms" in text
    assert 'ofc --relay wss://chat.example.org create "my room"' in text
    assert IDENTITY.fingerprint in text
    assert IDENTITY.keys.private.hex() not in text


def test_nothing_of_the_settings_becomes_markup() -> None:
    """A name or an address can not smuggle in a script; and the page allows none."""
    settings = Settings(relay=config.Relay(name="<script>&\"'"))
    page = get("/", settings, url="ws://<b>")
    assert b"<script" not in page.body
    assert b"<b>" not in page.body
    assert b"&lt;script&gt;&amp;&quot;" in page.body
    (policy,) = (v for k, v in page.headers if k == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_the_page_needs_nothing_from_elsewhere() -> None:
    """No address but the relay's own: nobody else learns who looks at it."""
    assert re.findall(rb"(?:src|href)=|https?://", get("/").body) == []


def test_health() -> None:
    """ok with 200; or 503 and the sentence."""
    assert (get("/healthz").status, get("/healthz").body) == (200, b"ok\n")
    page = get("/healthz", trouble="no space is left")
    assert (page.status, page.body) == (503, b"no space is left\n")


def test_metrics_are_served_where_the_settings_say() -> None:
    """At their path, in Prometheus' format; nowhere when they are off."""
    page = get("/metrics")
    assert page.content_type.startswith("text/plain; version=0.0.4")
    assert any(text_string_to_metric_families(page.body.decode()))
    moved = Settings(metrics=config.Metrics(path="/counts"))
    assert get("/counts", moved).body.startswith(b"# HELP")
    assert get("/metrics", moved).status == 404
    assert get("/metrics", Settings(metrics=config.Metrics(enabled=False))).status == 404


def test_any_other_path_is_404() -> None:
    """With a sentence that does not repeat it."""
    page = get("/<script>")
    assert page.status == 404
    assert b"script" not in page.body
