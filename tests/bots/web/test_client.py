"""Requests of bots: bounded, followed with care, and never turned inwards."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from bots.web import BadUrl, Forbidden, Guard, TooBig, Unanswered, Web, WebError, checked_url
from bots.web import retry_after as wait_of
from tests.bots.shelf.internet import PRIVATE, PUBLIC, Internet, Reply

URL = "http://a.example/x"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "::", "::1",
        "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::", "2001:db8::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe", "no address", "",
        "fec0::1", "168.63.129.16", "::ffff:168.63.129.16", "64:ff9b::a83f:8110", "192.88.99.1",
        "2002:c058:6301::", "2606:2800:220:1:0:5efe:10.0.0.1", "2606:2800:220:1:200:5efe:7f00:1",
        "::93.184.216.34", "64:ff9b:1::a00:1", "3fff::1", "5f00::1", "100::1", "4000::1",
    ],
)  # fmt: skip
def test_what_is_not_public_is_refused(address: str) -> None:
    """Private, loopback, link-local, reserved; and IPv6 forms that hold such an IPv4 address."""
    assert not Guard().permits(address)


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:220:1::1", "64:ff9b::5db8:d822", "2606:2800:220:1:0:5efe:5db8:d822"])
def test_what_is_public_is_permitted(address: str) -> None:
    """Ordinary addresses, and IPv4 ones behind NAT64."""
    assert Guard().permits(address)


def test_an_operator_may_make_exceptions() -> None:
    """An allowed network is open, and its neighbours are not."""
    guard = Guard(["10.1.0.0/16", "127.0.0.1", "fec0::/10"])
    allowed = ("10.1.9.9", "127.0.0.1", "::ffff:10.1.0.1", "fec0::7")
    assert all(map(guard.permits, allowed))
    assert not any(guard.permits(one) for one in ("10.2.0.1", "127.0.0.2"))


@pytest.mark.parametrize(
    "text",
    ["", "x", "ftp://a/", "file:///etc/passwd", "javascript:1", "http://", "http://u:p@a.example/",
     "http://[::1", "http://a.example:99999/", "http://a.example/" + "x" * 2_000],
)  # fmt: skip
def test_what_is_no_url_of_the_web(text: str) -> None:
    """Other schemes, passwords, nonsense: refused with a sentence."""
    with pytest.raises(BadUrl):
        checked_url(text)


async def test_the_address_that_was_checked_is_the_one_connected_to(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A name that answers with a private address the second time is asked once (DNS rebinding)."""
    net = Internet(nursery)
    net.site("a.example", lambda _: Reply(body=b"hello"), [PUBLIC], [PRIVATE])
    web = Web(network=net)
    answer = await web.fetch(URL)
    assert (answer.body, net.connected) == (b"hello", [PUBLIC])
    assert net.asked[0].headers["host"] == "a.example"
    with pytest.raises(Forbidden):
        await web.fetch(URL)
    assert net.connected == [PUBLIC]


async def test_of_several_addresses_only_public_ones_are_used(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A name with a private and a public address leads to the public one."""
    net = Internet(nursery)
    net.site("a.example", lambda _: Reply(), [PRIVATE, PUBLIC])
    await Web(network=net).fetch(URL)
    assert net.connected == [PUBLIC]


@pytest.mark.parametrize("target", ["http://10.0.0.7/", "http://[::1]/", "http://inner.example/"])
async def test_no_redirect_leads_inwards(
    target: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A public site that redirects to a private address gets nowhere."""
    net = Internet(nursery)
    net.site("a.example", lambda _: Reply(302, headers={"location": target}))
    net.site("inner.example", lambda _: Reply(), ["127.0.0.1"])
    with pytest.raises(Forbidden):
        await Web(network=net).fetch(URL)
    assert net.connected == [PUBLIC]


@pytest.mark.parametrize(
    ("status", "moved"), [(301, True), (308, True), (302, False), (307, False)]
)
async def test_what_has_moved_for_good_is_told(
    status: int, moved: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A permanent redirect is reported, up to the first temporary one behind it."""
    net = Internet(nursery)
    net.site("a.example", lambda _: Reply(status, headers={"location": "//b.example/y"}))
    net.site("b.example", lambda asked: _further(asked.url))
    answer = await Web(network=net).fetch(URL)
    assert answer.url == "http://b.example/z"
    assert answer.moved_to == ("http://b.example/y" if moved else None)


def _further(path: str) -> Reply:
    return Reply(302, headers={"location": "/z"}) if path == "/y" else Reply(body=b"here")


async def test_limits_of_size_time_and_redirects(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Too much, too slow, in circles, cut off, compressed unasked, unknown: each is a WebError."""
    net = Internet(nursery)
    web = Web(network=net, limit=1_000, timeout=20)
    cases: list[tuple[Reply, type[WebError]]] = [
        (Reply(body=[b"x" * 400] * 3), TooBig),
        (Reply(body=[b"x"] * 50, pause=1), Unanswered),
        (Reply(302, headers={"location": URL}), Unanswered),
        (Reply(body=b"x", cut=True), Unanswered),
        (Reply(body=b"x", headers={"content-encoding": "gzip"}), Unanswered),
        (Reply(302, headers={"location": "ftp://a.example/"}), BadUrl),
    ]
    for reply, error in cases:
        net.site("a.example", lambda _, reply=reply: reply)  # type: ignore[misc]
        started = trio.current_time()
        with pytest.raises(error):
            await web.fetch(URL)
        assert trio.current_time() - started <= 20
    with pytest.raises(Unanswered):
        await web.fetch("http://unknown.example/")


@pytest.mark.parametrize(
    "host",
    ["a" * 70 + ".example", "a..b", ".", "x" * 300, "xn--0", "①②⑦.0.0.1", "a\0b", "127.1",
     "0x7f.1", "2130706433", "1", "[::1%25lo]"],
)  # fmt: skip
async def test_odd_names_are_refused_by_the_real_resolver(host: str) -> None:
    """Names that there can not be, and odd ways of writing addresses: a WebError, no connection."""
    with pytest.raises(WebError):
        await Web(timeout=2).fetch(f"http://{host}:1/")


def test_when_to_come_again() -> None:
    """Retry-After in seconds or as a date, bounded by a day; nonsense asks for nothing."""
    now = 1_800_000_000_000
    cases = {"120": 120_000, "Fri, 15 Jan 2027 08:01:00 GMT": 60_000, "99999999999": 86_400_000,
             "soon": 0, "-5": 0, "": 0, "Fri, 15 Jan 2010 08:01:00 GMT": 0}  # fmt: skip
    assert {text: wait_of({"retry-after": text}, now) for text in cases} == cases


async def test_a_real_site_on_this_machine_is_reached_only_where_allowed(
    nursery: trio.Nursery,
) -> None:
    """Over real sockets: loopback is refused by default, and open to an operator's exception."""
    from bots.log import get_log
    from bots.web import HttpAnswer, HttpRequest, listen

    async def app(request: HttpRequest) -> HttpAnswer:
        return HttpAnswer(200, f"{request.method} {request.path} {len(request.body)}")

    async def run(task_status: trio.TaskStatus[int]) -> None:
        await listen(app, get_log("t"), address="127.0.0.1", port=0, task_status=task_status)

    port = await nursery.start(run)
    url = f"http://localhost:{port}/hi?x=1"
    with pytest.raises(Forbidden):
        await Web().fetch(url)
    answer = await Web(Guard(["127.0.0.1"])).fetch(url, method="POST", content=b"abc")
    assert (answer.status, answer.body) == (200, b"POST /hi 3\n")
    nursery.cancel_scope.cancel()
