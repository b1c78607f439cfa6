"""The browser client on the relay's port: served as it was built, under strict headers."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from ofcd.config import Settings
from ofcd.daemon import web
from ofcd.daemon.identity import Identity
from ofcd.daemon.metrics import Metrics
from ofcd.daemon.pages import make_pages
from ofcd.daemon.web import load_web
from ofcd.errors import ConfigError
from ofcd.themis import generate_keypair
from ofcd.wire import HttpRequest, HttpResponse

SCRIPT = b"export const one = 1;\n" * 40


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A built client, and beside it a file that is none of its own."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_bytes(b"<!doctype html>")
    (folder / "assets" / "main-1a2b.js").write_bytes(SCRIPT)
    (folder / "assets" / "main-1a2b.js.gz").write_bytes(gzip.compress(SCRIPT))
    (folder / "assets" / "core-3c4d.wasm").write_bytes(b"\0asm")
    (folder / "notes.key").write_bytes(b"secret")
    (tmp_path / "relay.txt").write_bytes(b"secret")
    return folder


def get(folder: Path, path: str, *headers: tuple[str, str]) -> HttpResponse:
    pages = make_pages(
        Settings.default(),
        Identity.of(generate_keypair()),
        Metrics(),
        lambda: "ws://r",
        lambda: None,
        load_web(folder),
    )
    return pages(HttpRequest("GET", path, headers=headers))


def header(page: HttpResponse, name: str) -> str:
    return dict(page.headers).get(name, "")


def test_the_client_is_the_first_page_and_what_this_is_stands_beside_it(built: Path) -> None:
    """`/` is index.html, asked for anew each time; /about and /healthz are still there."""
    page = get(built, "/")
    assert (page.status, page.body) == (200, b"<!doctype html>")
    assert page.content_type.startswith("text/html")
    assert header(page, "Cache-Control") == "no-cache"
    assert b"is a relay for encrypted rooms" in get(built, "/about").body
    assert get(built, "/healthz").body == b"ok\n"


def test_assets_have_their_type_and_stay(built: Path) -> None:
    """A hashed name is cached for good; a browser compiles only what is application/wasm."""
    script, core = get(built, "/assets/main-1a2b.js"), get(built, "/assets/core-3c4d.wasm")
    assert script.content_type.startswith("text/javascript")
    assert core.content_type == "application/wasm"
    assert "immutable" in header(script, "Cache-Control")


def test_the_packed_form_goes_to_whoever_takes_it(built: Path) -> None:
    """Both forms say that the answer depends on Accept-Encoding."""
    path = "/assets/main-1a2b.js"
    packed = get(built, path, ("accept-encoding", "br, gzip"))
    assert header(packed, "Content-Encoding") == "gzip"
    assert gzip.decompress(packed.body) == SCRIPT
    plain = get(built, path)
    assert plain.body == SCRIPT
    assert header(plain, "Content-Encoding") == ""
    assert header(plain, "Vary") == header(packed, "Vary") == "Accept-Encoding"


def test_the_policy_allows_no_inline_code_and_no_markup_from_strings(built: Path) -> None:
    """Scripts of this origin alone, Trusted Types, and links to any relay."""
    policy = header(get(built, "/"), "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert rules["style-src"] == "'self'"
    assert rules["connect-src"] == "'self' ws: wss:"
    assert rules["require-trusted-types-for"] == "'script'"
    assert rules["trusted-types"] == "ofc-worker"
    assert header(get(built, "/"), "Cross-Origin-Opener-Policy") == "same-origin"


@pytest.mark.parametrize(
    "path",
    [
        "/index.html",
        "/notes.key",
        "/../relay.txt",
        "/assets/../notes.key",
        "//relay.txt",
        "/assets",
    ],
)
def test_no_other_file_has_a_path(built: Path, path: str) -> None:
    """A path is looked up in a table, never on the disk."""
    assert get(built, path).status == 404


def test_without_a_build_the_first_page_says_what_this_is(tmp_path: Path) -> None:
    """As it does in an installed package, or where npm is missing."""
    assert load_web(tmp_path) is None
    assert b"is a relay for encrypted rooms" in get(tmp_path, "/").body


def test_a_folder_too_large_is_refused(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a sentence: it would all stay in memory."""
    monkeypatch.setattr(web, "_TOTAL_BYTES", 10)
    with pytest.raises(ConfigError, match="make web-build"):
        load_web(built)
