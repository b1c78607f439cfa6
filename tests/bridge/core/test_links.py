"""What links open (G8): sealed on the disk, handed out to who has the link and to nobody else."""

from __future__ import annotations

import io
import random
import re
import ssl
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trustme
from attrs import define, evolve
from PIL import Image
from trio.testing import MockClock, memory_stream_pair

from bridge.core.links import LinksSettings
from bridge.core.links.checking import check_links
from bridge.core.links.pages import Pages
from bridge.core.links.pictures import Unclean, as_it_may_leave
from bridge.core.links.shelf import Shelf
from bridge.core.settings import load_settings
from bridge.kinds import KINDS
from ofcd.client.applog import get_log
from ofcd.client.boxes import Box, WrongKey, new_box_key
from ofcd.errors import ConfigError
from tests.bridge.core import pictures
from tests.docs.pages import ROOT

ENDS = 2_000_000_000_000
CONTENT = random.Random(1).randbytes(600_000)


@define
class Stand:
    """A shelf and its pages, in memory as far as the network goes."""

    shelf: Shelf
    pages: Pages
    good: dict[bytes, int]

    async def put(
        self, content: bytes, *, name: str = "x.bin", kind: str = "", passphrase: str = ""
    ) -> bytes:
        """The key of something that is kept now."""
        key = new_box_key()
        box = Box(key, ENDS)
        await self.shelf.keep(box, name, kind or "application/pdf", content, passphrase)
        self.good[box.id] = ENDS
        return key

    async def say(self, raw: bytes) -> bytes:
        """What a peer gets who says this and then waits."""
        here, there = memory_stream_pair()
        got = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.pages.serve, there)
            await here.send_all(raw)
            while part := await here.receive_some(100_000):
                got += part
        return got

    async def get(
        self, path: str, method: str = "GET", body: bytes = b""
    ) -> tuple[int, str, bytes]:
        """Status, headers in small letters, body."""
        size = f"content-length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\n{size}\r\n"
        raw = await self.say(head.encode("latin-1") + body)
        top, _, rest = raw.partition(b"\r\n\r\n")
        first, _, headers = top.decode("latin-1").partition("\r\n")
        return int(first.split()[1]), headers.lower(), rest


def _files(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file()]


def token(key: bytes) -> str:
    return urlsafe_b64encode(key).decode().rstrip("=")


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    good: dict[bytes, int] = {}
    shelf = Shelf(tmp_path / "links")
    return Stand(shelf, Pages(LinksSettings(), shelf, good.get, get_log("test")), good)


async def test_who_has_the_link_gets_the_file_and_nothing_can_be_done_with_it(stand: Stand) -> None:
    key = await stand.put(CONTENT, name='a "b"/../é\r\nx: y.html', kind="text/html")
    status, headers, body = await stand.get(f"/{token(key)}")
    assert (status, body) == (200, CONTENT)
    assert "content-type: application/octet-stream" in headers
    assert 'content-disposition: attachment; filename="a__b__.._' in headers
    assert "\r\nx: y" not in headers
    for safe in (
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "content-security-policy: default-src 'none'; sandbox;",
    ):
        assert safe in headers
    status, headers, body = await stand.get(f"/{token(key)}", "HEAD")
    assert (status, body) == (200, b"")
    assert f"content-length: {len(CONTENT)}" in headers
    status, _, body = await stand.get(f"/some/prefix/{token(key)}?x=1")
    assert (status, body) == (200, CONTENT), "a proxy may leave its prefix"


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("text/plain", True),
        ("image/png", True),
        ("image/svg+xml", False),
        ("text/html", False),
        ("application/pdf", False),
        ("text/javascript", False),
    ],
)
async def test_only_what_runs_nothing_is_shown(stand: Stand, kind: str, shown: bool) -> None:
    key = await stand.put(b"<script>alert(1)</script>", kind=kind)
    _, headers, _ = await stand.get(f"/{token(key)}")
    assert ("disposition: inline" in headers) is shown
    assert (f"content-type: {kind}" in headers) is shown


async def test_the_disk_alone_shows_nothing(stand: Stand, tmp_path: Path) -> None:
    words = b"The marker words of this test. " * 20
    key = await stand.put(words, name="Marker-Name.pdf")
    files = _files(tmp_path)
    assert len(files) == 1
    seen = str(files[0]).encode() + files[0].read_bytes()
    for secret in (b"marker", b"Marker-Name", b"pdf", key, token(key).encode(), key.hex().encode()):
        assert secret not in seen
    assert files[0].stat().st_mode & 0o077 == 0
    assert files[0].parent.stat().st_mode & 0o077 == 0


async def test_all_that_does_not_open_looks_the_same(stand: Stand) -> None:
    """Never was, ended, revoked, changed: nobody learns which."""
    key, other = await stand.put(b"one"), await stand.put(b"other")
    known = Box(key, 0).id
    right = await stand.get(f"/{token(new_box_key())}")
    assert right[0] == 404
    for path in ("/", "/x", f"/{token(key)}x", f"/{known.hex()}", f"/links/{known.hex()}"):
        assert await stand.get(path) == right
    del stand.good[known]
    assert await stand.get(f"/{token(key)}") == right, "revoked"
    stand.good[known] = ENDS + 1
    assert await stand.get(f"/{token(key)}") == right, "another end of life does not open it"
    stand.good[known] = ENDS
    assert (await stand.get(f"/{token(key)}"))[0] == 200
    stand.shelf.path(known).write_bytes(stand.shelf.path(Box(other, 0).id).read_bytes())
    assert await stand.get(f"/{token(key)}") == right, "another box in its place"
    stand.shelf.drop(known)
    assert await stand.get(f"/{token(key)}") == right


async def test_nothing_that_was_changed_on_the_disk_is_handed_out(stand: Stand) -> None:
    key = await stand.put(CONTENT)
    path = stand.shelf.path(Box(key, 0).id)
    whole = path.read_bytes()
    chance = random.Random(2)
    spoilt: list[Callable[[bytes], bytes]] = [
        lambda raw: raw[:-1],
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:40],
        lambda raw: b"",
    ]
    for _ in range(30):
        at = chance.randrange(len(whole))
        spoilt.append(lambda raw, at=at: raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])  # type: ignore[misc]
    for spoil in spoilt:
        path.write_bytes(spoil(whole))
        raw = await stand.say(f"GET /{token(key)} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        top, _, body = raw.partition(b"\r\n\r\n")
        assert top.startswith(b"HTTP/1.1 404") or (CONTENT.startswith(body) and body != CONTENT)
    path.write_bytes(whole)
    assert (await stand.get(f"/{token(key)}"))[2] == CONTENT


async def test_no_path_from_outside_reaches_a_file(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of another")
    for path in (
        "/../secret",
        "/..%2fsecret",
        "//secret",
        "/%2e%2e/secret",
        "/links/../../secret",
        "/\\..\\secret",
        f"/{'.' * 43}",
        f"/{'/' * 43}",
        f"/{'A' * 42}%00",
        "/?/../secret",
        "*",
    ):
        status, _, body = await stand.get(path)
        assert status == 404
        assert b"of another" not in body


async def test_hostile_peers_end_themselves_alone(stand: Stand, autojump_clock: MockClock) -> None:
    """What is no request, too large, or never ends."""
    for raw in (
        b"\r\n\r\n\0\xff" * 50,
        b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 100_000,
        b"GET / HTTP/1.1\r\nhost: x\r\n",
        b"",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999\r\n\r\n" + b"p" * 9999,
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffff\r\n"
        + b"p" * 9999,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        with trio.fail_after(60):
            assert not (await stand.say(raw)).startswith(b"HTTP/1.1 200")
    status, _, _ = await stand.get("/", "DELETE")
    assert status == 405
    key = await stand.put(b"fine")
    assert (await stand.get(f"/{token(key)}"))[2] == b"fine"


async def test_who_does_not_read_on_is_let_go(stand: Stand, autojump_clock: MockClock) -> None:
    key = await stand.put(CONTENT)
    here, there = memory_stream_pair()
    there.send_stream.send_all_hook = trio.sleep_forever
    await here.send_all(f"GET /{token(key)} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    with trio.fail_after(200):
        await stand.pages.serve(there)


async def test_a_passphrase_is_asked_for_and_can_not_be_tried_for_long(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the real clock: it is stretched, in a thread."""
    key = await stand.put(CONTENT, passphrase="correct horse")
    path = f"/{token(key)}"
    status, headers, body = await stand.get(path)
    assert (status, "text/html" in headers) == (200, True)
    assert b"type=password" in body
    assert "default-src 'none'; form-action 'self'" in headers
    assert (await stand.get(path, "POST", b"p=wrong"))[0] == 403
    status, headers, body = await stand.get(path, "POST", b"p=correct+horse")
    assert (status, body) == (200, CONTENT)
    assert "attachment" in headers
    stretched = 0

    def wrong(*_: object) -> None:
        nonlocal stretched
        stretched += 1
        raise WrongKey("as before, and sooner")

    monkeypatch.setattr(stand.shelf, "open", wrong)
    tried = [(await stand.get(path, "POST", b"p=%ff"))[0] for _ in range(5)]
    assert tried == [403, 403, 403, 429, 429]
    assert stretched == 3, "what is too much costs nothing"


async def test_what_no_link_opens_any_more_is_removed(stand: Stand, tmp_path: Path) -> None:
    kept, left = Box(await stand.put(b"kept"), 0).id, Box(await stand.put(b"left"), 0).id
    (tmp_path / "links" / f"{left.hex()}.part").write_bytes(b"half")
    (tmp_path / "links" / "README").write_text("of the operator")
    stand.shelf.tidy(frozenset({kept}))
    names = {one.name for one in (tmp_path / "links").iterdir()}
    assert names == {kept.hex(), "README"}


# -- pictures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [pictures.jpeg, pictures.png, pictures.webp])
async def test_pictures_leave_as_pixels_alone(make: Callable[[], bytes]) -> None:
    taken = make()
    assert taken.count(pictures.MARK) >= 2, "the test has something to find"
    made, kind = await as_it_may_leave(taken, "application/octet-stream")
    assert kind == f"image/{make.__name__}"
    assert pictures.MARK not in made
    with Image.open(io.BytesIO(made)) as picture:
        assert picture.size == pictures.WIDE
        assert not picture.getexif()
        assert "icc_profile" not in picture.info
        shown = picture.convert("RGB")
        left, right = shown.getpixel((10, 20)), shown.getpixel((50, 20))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert left[0] > 200 > 60 > left[2]
    assert right[2] > 200 > 60 > right[0]


async def test_a_picture_that_the_camera_held_sideways_is_turned() -> None:
    made, _ = await as_it_may_leave(pictures.jpeg(orientation=6), "image/jpeg")
    with Image.open(io.BytesIO(made)) as picture:
        assert picture.size == (pictures.WIDE[1], pictures.WIDE[0])
        assert not picture.getexif()


def _moving() -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), (at, 0, 0)) for at in (0, 200)]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    return out.getvalue()


def _bomb() -> bytes:
    out = io.BytesIO()
    Image.new("1", (9000, 9000)).save(out, "PNG")
    return out.getvalue()


def _gif() -> bytes:
    out = io.BytesIO()
    Image.new("P", (8, 8)).save(out, "GIF", comment=pictures.MARK)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (pictures.jpeg()[:300], "image/jpeg"),
        (b"\xff\xd8\xff" + pictures.MARK, "text/plain"),
        (b"no picture", "image/jpeg"),
        (b"no picture", "IMAGE/heic; x=y"),
        (_gif(), "application/pdf"),
        (b"\0\0\0\x18ftypheic" + pictures.MARK, "video/mp4"),
        (b"<svg/>", "image/svg+xml"),
        (_moving(), "image/webp"),
        (_bomb(), "image/png"),
    ],
    ids=["cut", "broken", "none", "claimed", "gif", "heic", "svg", "moving", "bomb"],
)
async def test_what_can_not_be_cleaned_does_not_leave(content: bytes, media_type: str) -> None:
    with pytest.raises(Unclean):
        await as_it_may_leave(content, media_type)


async def test_what_is_no_picture_leaves_as_it_is() -> None:
    assert await as_it_may_leave(b"words", "text/plain; charset=x") == (b"words", "text/plain")


# -- settings --------------------------------------------------------------------------------------

_FILE = """
[links]
public_url = "{url}"
[[irc]]
name = "x"
server = "y"
[[portal]]
room = "r"
network = "x"
place = "#z"
"""


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example/b",
        "ftp://files.example",
        "https://files.example/?b",
        "https://u:p@files.example/",
        "files.example",
        "https://files.example/a b",
    ],
)
def test_a_public_url_that_people_can_not_use_is_refused(tmp_path: Path, url: str) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(_FILE.format(url=url))
    with pytest.raises(ConfigError, match="public_url"):
        load_settings(path, KINDS)


def test_paths_start_at_the_folder_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(_FILE.format(url="https://files.example/b"))
    settings = load_settings(path, KINDS)
    assert settings.links.files_dir == str(tmp_path / "bridge.links")


def test_the_example_of_the_checkout_loads_with_its_links(tmp_path: Path) -> None:
    """What is commented out of it in force."""
    text = (ROOT / "bridge.example.toml").read_text(encoding="utf-8")
    linked = text[text.index("# [links]") : text.index("# A room by mail")]
    path = tmp_path / "bridge.toml"
    path.write_text(text.replace(linked, re.sub(r"^# ?", "", linked, flags=re.M)))
    settings = load_settings(path, KINDS)
    assert settings.links.public_url == "https://files.example.org/b"
    assert settings.links.passphrase_file == str(tmp_path / "links.passphrase")


async def _findings(settings: LinksSettings, authority: trustme.CA) -> list[tuple[bool, str]]:
    found: list[tuple[bool, str]] = []
    context = ssl.create_default_context()
    authority.configure_trust(context)
    await check_links(settings, lambda good, text: found.append((good, text)), context)
    return found


async def test_check_follows_the_public_url_through_a_tls_proxy(tmp_path: Path) -> None:
    """A real proxy of bytes, TLS in front, plain behind; and a URL that leads elsewhere."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    [free] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = free.socket.getsockname()[1]
    await free.aclose()

    async def to_bridge(outside: trio.abc.Stream) -> None:
        inside = await trio.open_tcp_stream("127.0.0.1", port)
        async with outside, inside:
            await inside.send_all(await outside.receive_some(65536))
            while part := await inside.receive_some(65536):
                await outside.send_all(part)

    async def elsewhere(outside: trio.abc.Stream) -> None:
        async with outside:
            await outside.receive_some(65536)
            await outside.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")

    async with trio.open_nursery() as nursery:
        ports = []
        for handler in (to_bridge, elsewhere):
            listeners = await trio.open_ssl_over_tcp_listeners(0, server, host="127.0.0.1")
            transport = listeners[0].transport_listener
            assert isinstance(transport, trio.SocketListener)
            ports.append(transport.socket.getsockname()[1])
            nursery.start_soon(trio.serve_listeners, handler, listeners)
        made = LinksSettings(port=port, files_dir=str(tmp_path / "links"))
        right = evolve(made, public_url=f"https://localhost:{ports[0]}/b")
        wrong = evolve(made, public_url=f"https://localhost:{ports[1]}/b")
        nowhere = evolve(made, public_url="https://localhost:1/b", passphrase_file="/nowhere/at")
        [(good, text)] = await _findings(right, authority)
        assert good
        assert "leads to this bridge" in text
        [(good, text)] = await _findings(wrong, authority)
        assert not good
        assert "leads to something else" in text
        found = await _findings(nowhere, authority)
        assert [good for good, _ in found] == [False, False]
        assert "passphrase" in found[0][1]
        assert await _findings(made, authority) == [], "no links, nothing to say"
        nursery.cancel_scope.cancel()
