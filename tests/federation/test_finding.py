"""Where a relay is: by the settings, its own page, invites, and what it says itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import define, evolve, field

from ofcd.client.errors import JoinFailed
from ofcd.config import Federation, Networks, Relay, Settings
from ofcd.config.fields import Words
from ofcd.daemon.identity import Identity
from ofcd.daemon.peers import searching
from ofcd.daemon.peers.discovery import read_descriptor, write_descriptor
from ofcd.daemon.peers.known import KnownRelay
from ofcd.daemon.run import bound_port, open_daemon
from ofcd.protocol import frames
from ofcd.protocol.ids import RelayId
from ofcd.protocol.records import Descriptor
from ofcd.testing import World, open_net
from ofcd.themis.lineage import Lineage
from ofcd.wire import Forbidden, NoPage
from tests.federation.double import dialling, given, identity, say, shared
from tests.world.scene import settle, texts, until


@define
class Pages:
    """The pages of relays, by name. One that is not there can not be read."""

    urls: dict[str, str] = field(factory=dict)
    identities: dict[str, Identity] = field(factory=dict)
    names: dict[str, str] = field(factory=dict)
    """What a page calls its relay, where that is not its own name."""
    asked: list[str] = field(factory=list)

    def publish(self, world: World, url: str = "") -> str:
        """The relay has a page; returns its name."""
        name = world.url.removeprefix("ws://").partition(":")[0]
        self.identities[name] = identity(world)
        self.urls[name] = url or world.url
        return name

    async def find(
        self, name: str, networks: Networks, now: int, known: Lineage | None, counter: int = 0
    ) -> tuple[Descriptor, Lineage]:
        """As the real one, but for DNS and TLS."""
        self.asked.append(name)
        await trio.lowlevel.checkpoint()
        if name not in self.urls:
            raise NoPage(f"https://{name}: no connection")
        page = write_descriptor(
            self.identities[name], self.names.get(name, name), self.urls[name], now
        )
        return read_descriptor(page, now, known, counter)


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Pages:
    """What is found instead of real pages."""
    found = Pages()
    monkeypatch.setattr(searching, "find_relay", found.find)
    return found


async def restarted(world: World, **changes: object) -> None:
    """The relay starts anew, with these settings of `[federation]`."""
    await world.stop_relay()
    settings = world.settings
    world.settings = evolve(settings, federation=evolve(settings.federation, **changes))  # type: ignore[arg-type]
    await world.start_relay()


def known(world: World, other: Identity) -> KnownRelay | None:
    """What the relay knows of another."""
    assert world.daemon is not None
    assert world.daemon.federation is not None
    return world.daemon.federation.roster.peers.get(other.relay_id)


async def has_link(world: World, other: Identity, seconds: float = 3_600) -> bool:
    """Whether there is a link to it within this time."""
    with trio.move_on_after(seconds):
        while True:
            peer = known(world, other)
            if peer is not None and peer.link is not None:
                return True
            await trio.sleep(1)
    return False


async def move_away(hub: World, home: World, url: str) -> None:
    """The relay is at another address from now on; the other reaches it no more at the old one."""
    hub.net[url] = hub
    home.to_relays[hub.url].up = False
    home.to_relays[hub.url].cut()
    relay = evolve(hub.settings.relay, public_url=url)
    hub.settings = evolve(hub.settings, relay=relay)
    await hub.restart_relay()


async def test_a_peer_with_a_fingerprint_and_no_address_is_found_by_its_page(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, pages: Pages
) -> None:
    """As an allowlist is written by hand; who answers there must have that fingerprint."""
    async with open_net(tmp_path, "hub", "home", change=given(mode="allowlist")) as [hub, home]:
        names = {world: pages.publish(world) for world in (hub, home)}
        ids = {world: identity(world) for world in (hub, home)}
        await restarted(hub, peers=(f"{names[home]}!{ids[home].relay_id.hex()}",))
        assert not await has_link(hub, ids[home], 60)  # the other has yet to list it
        await restarted(home, peers=(f"{names[hub]}!{ids[hub].relay_id.hex()}",))
        assert await has_link(home, ids[hub])
        await shared(hub, home)


async def test_a_page_of_another_relay_is_not_believed_where_a_fingerprint_stands(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, pages: Pages
) -> None:
    """Whoever has the name now."""
    async with open_net(tmp_path, "hub", "home", "other") as [hub, home, other]:
        theirs = identity(hub)
        pages.publish(hub)
        pages.identities["hub.test"] = identity(other)
        await restarted(home, peers=(f"hub.test!{theirs.relay_id.hex()}",))
        assert not await has_link(home, theirs, 120)
        assert not await has_link(home, identity(other), 1)
        peer = known(home, theirs)
        assert peer is not None
        assert "the page is of another relay" in peer.row.detail


async def test_a_listed_peer_whose_page_is_away_is_reached_by_an_invite(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, pages: Pages
) -> None:
    """The invite says where; the fingerprint in the settings says who. The row says why not."""
    async with open_net(tmp_path, "hub", "home") as [hub, home]:
        theirs = identity(hub)
        await restarted(home, mode="allowlist", peers=(f"hub.test!{theirs.relay_id.hex()}",))
        await trio.sleep(60)
        assert pages.asked
        peer = known(home, theirs)
        assert peer is not None
        assert "its page could not be read" in peer.row.detail
        await shared(hub, home)
        assert await has_link(home, theirs, 1)


async def test_a_peer_that_was_believed_once_is_talked_to_though_its_page_is_away(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, pages: Pages
) -> None:
    """DNS and TLS only find it: after a restart the pin is enough."""
    async with open_net(tmp_path, "hub", "home") as [hub, home]:
        theirs = identity(hub)
        await restarted(home, mode="allowlist", peers=(pages.publish(hub),))
        assert await has_link(home, theirs)
        ana, bo = await shared(hub, home)
        pages.urls.clear()
        await restarted(home)
        assert await has_link(home, theirs, 60)
        await say(bo, "still here")
        await settle([ana, bo])
        assert "still here" in texts(ana)


async def test_who_is_denied_by_name_is_not_talked_to(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, pages: Pages
) -> None:
    """Neither linked, nor joined, nor let in; known by its page, and by the address alone."""
    async with open_net(tmp_path, "hub", "home") as [hub, home]:
        theirs, ours = identity(hub), identity(home)
        ana, _ = await shared(hub, home)
        await restarted(home, deny=(pages.publish(hub),))
        assert not await has_link(home, theirs, 120)
        await restarted(hub)
        assert not await has_link(hub, ours, 120)
        cai = await home.client("cai")
        with pytest.raises(JoinFailed, match="do not talk across relays"):
            await cai.join(await ana.invite(), name="cai", via=home.url)

        # What was found stays so, though the page is away and the name in the address another.
        pages.urls.clear()
        relay = evolve(hub.settings.relay, public_url="ws://elsewhere.test:5103")
        hub.settings = evolve(hub.settings, relay=relay)
        await restarted(home)
        await restarted(hub)
        assert not await has_link(hub, ours, 120)


async def test_a_copied_page_denies_nobody(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, pages: Pages
) -> None:
    """Everybody may have one of another relay's: the name in it is that relay's own."""
    async with open_net(tmp_path, "hub", "home") as [hub, home]:
        theirs = identity(hub)
        await shared(hub, home)
        pages.publish(hub)
        pages.names["bad.example"] = "hub.test"
        pages.identities["bad.example"], pages.urls["bad.example"] = theirs, hub.url
        await restarted(home, deny=("bad.example",))
        assert await has_link(home, theirs)
        await trio.sleep(120)
        assert "bad.example" in pages.asked
        assert await has_link(home, theirs, 1)

        # Nor its own name one that is listed by its fingerprint.
        pages.names.clear()
        listed = f"hub.test!{theirs.relay_id.hex()} {hub.url}"
        await restarted(home, peers=(listed,), deny=("bad.example",))
        await trio.sleep(120)
        assert await has_link(home, theirs, 1)


async def test_a_denied_name_holds_for_whoever_is_there_next(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, pages: Pages
) -> None:
    """A new key is made in a second; and nobody is forgotten for that others come."""
    async with open_net(tmp_path, "hub", "home", "other") as [hub, home, other]:
        pages.publish(hub)
        await restarted(home, deny=("HUB.test.",))
        await trio.sleep(30)
        peer = known(home, identity(hub))
        assert peer is not None
        assert not peer.is_spare(home.now())
        pages.identities["hub.test"] = identity(other)
        await trio.sleep(25 * 3600)
        assert not is_listed(home, identity(other))
        pages.urls.clear()
        await restarted(home)
        await trio.sleep(1)
        assert not is_listed(home, identity(other))
        assert not is_listed(home, identity(hub))


def is_listed(world: World, other: Identity) -> bool:
    """Whether the relay may talk to the other one."""
    assert world.daemon is not None
    assert world.daemon.federation is not None
    return world.daemon.federation.roster.is_listed(other.relay_id)


async def test_a_link_to_who_turns_out_to_be_denied_ends(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, pages: Pages
) -> None:
    """Its page could not be read before."""
    async with open_net(tmp_path, "hub", "home") as [hub, home]:
        theirs = identity(hub)
        await shared(hub, home)
        await restarted(home, deny=("bad.example",))
        assert await has_link(home, theirs)
        pages.identities["bad.example"] = theirs
        pages.urls["bad.example"] = hub.url
        await trio.sleep(600)
        peer = known(home, theirs)
        assert peer is not None
        assert peer.link is None
        assert not await has_link(home, theirs, 120)


@pytest.mark.parametrize("by", ["page", "itself"])
async def test_a_relay_at_a_new_address_is_found_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, pages: Pages, by: str
) -> None:
    """By its page where it is listed so, or by what it said when it dialled."""
    url = "ws://moved.test:5103"
    async with open_net(tmp_path, "hub", "home") as [hub, home]:
        theirs, ours = identity(hub), identity(home)
        if by == "page":
            await restarted(home, peers=(pages.publish(hub),))
        ana, bo = await shared(hub, home)
        assert await has_link(home, theirs)
        await move_away(hub, home, url)
        assert not await has_link(home, theirs, 120)
        if by == "page":
            pages.publish(hub, url)
        else:
            await restarted(hub, peers=(f"home.test!{ours.relay_id.hex()} {home.url}",))
            assert await has_link(home, theirs, 60)
            await restarted(hub, peers=())
        assert await has_link(home, theirs)
        await say(bo, "found you")
        await until(lambda: "found you" in texts(ana), 3_600)
        peer = known(home, theirs)
        assert peer is not None
        assert peer.row.url == url


async def test_a_known_relay_that_is_lost_is_dialled_where_an_invite_says_but_not_kept_there(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """What answers there may only pass things on: what held stays first, or what it says itself."""
    proxy = "ws://proxy.test:5103"
    async with open_net(tmp_path, "hub", "home") as [hub, home]:
        theirs = identity(hub)
        _, bo = await shared(hub, home)
        assert await has_link(home, theirs)
        peer = known(home, theirs)
        assert peer is not None
        home.net[proxy] = hub
        peer.invited_to(proxy)
        assert {peer.next_address() for _ in range(4)} == {hub.url}
        home.to_relays[hub.url].up = False
        home.to_relays[hub.url].cut()
        await trio.sleep(60)
        assert await has_link(home, theirs)
        assert peer.row.url == hub.url
        home.to_relays[hub.url].up = True
        home.to_relays[proxy].cut()
        carried = home.to_relays[proxy].carried
        assert await has_link(home, theirs)
        await say(bo, "by the old way")
        await settle([bo])
        assert home.to_relays[proxy].carried == carried


async def test_who_refuses_is_not_lost(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """It was reached: nobody else's word for where it is counts. Nor is who is in quarantine."""
    async with open_net(tmp_path, "hub", "home") as [hub, home]:
        theirs = identity(hub)
        await shared(hub, home)
        await restarted(hub, mode="allowlist")
        await trio.sleep(900)
        peer = known(home, theirs)
        assert peer is not None
        assert "refuses this relay" in peer.row.detail
        assert not peer.is_lost
        assert home.daemon is not None
        assert home.daemon.federation is not None
        home.daemon.federation.roster.quarantine(theirs.relay_id, "it passes on false signatures")
        await trio.sleep(300)
        assert not peer.is_lost


async def test_who_is_no_longer_listed_with_an_address_may_move(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """What the settings said stays the first to be tried."""
    async with open_net(tmp_path, "hub", "home") as [hub, home]:
        theirs = identity(hub)
        await shared(hub, home)
        await restarted(home, peers=(f"hub.test!{theirs.relay_id.hex()} {hub.url}",))
        assert await has_link(home, theirs)
        peer = known(home, theirs)
        assert peer is not None
        assert peer.row.pinned == "config"
        await trio.sleep(30)
        await restarted(home, peers=())
        home.to_relays[hub.url].up = False
        home.to_relays[hub.url].cut()
        await trio.sleep(60)
        peer = known(home, theirs)
        assert peer is not None
        assert peer.is_lost


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example", ".example"])
async def test_a_name_that_is_none_ends_nothing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, name: str
) -> None:
    """In the settings, listed or denied: it is told as any page that can not be read."""
    changed = given(peers=(f"{name}!{bytes(32).hex()}",), deny=(name, "z" * 64))
    async with open_net(tmp_path, "hub", "home", change=changed) as [hub, home]:
        await shared(hub, home)
        assert home.daemon is not None
        assert home.daemon.federation is not None
        peer = home.daemon.federation.roster.peer(RelayId(bytes(32)))
        await until(lambda: "could not be read" in peer.row.detail, 60)


async def test_29_the_running_relay_dials_no_address_of_its_own_network(tmp_path: Path) -> None:
    """For a link that somebody who asks names, nor for the page of a peer: nothing is connected."""
    connected: list[int] = []

    async def count(stream: trio.SocketStream) -> None:
        connected.append(1)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, count, listeners)
        here = f"127.0.0.1:{bound_port(listeners[0])}"
        someone = RelayId(bytes(32))
        settings = Settings(
            relay=Relay(data_dir=str(tmp_path)),
            federation=Federation(mode="open", peers=Words((f"{here}!{someone.hex()}",))),
        )
        async with open_daemon(settings) as daemon:
            assert daemon.federation is not None
            peer = daemon.federation.roster.peer(someone)
            with trio.fail_after(30):
                while "could not be read" not in peer.row.detail:  # noqa: ASYNC110 - a thread's
                    await trio.sleep(0.01)
            peer.invited_to(f"ws://{here}")
            with pytest.raises(Forbidden, match="an address that this relay does not dial"):
                await daemon.federation.linking._dial_once(peer)
        assert not connected
        nursery.cancel_scope.cancel()


async def test_who_is_denied_by_a_fingerprint_denies_nobody_without_a_name(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Nor a listed relay for standing beside it."""
    async with open_net(tmp_path, "hub", "home", change=given(deny=("3" * 64,))) as [hub, home]:
        await shared(hub, home)
        theirs = identity(hub)
        peer = known(home, theirs)
        assert peer is not None
        assert peer.row.name == ""
        await restarted(home)
        assert await has_link(home, theirs, 60)
        assert is_listed(home, theirs)
        assert not home.daemon.federation.roster.is_listed(RelayId(bytes.fromhex("3" * 64)))  # type: ignore[union-attr]
        home.daemon.federation.roster.require_allowed("")  # type: ignore[union-attr]


async def test_who_dials_and_says_that_it_is_at_a_denied_name_is_sent_away(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """No page has told yet that it is the one that is meant."""
    async with open_net(tmp_path, "home", change=given(deny=("bad.example",))) as [home]:
        async with dialling(home, introduce=False) as double:
            answer = await double.introduce(home.now(), url="wss://BAD.example./ofc")
        assert isinstance(answer, frames.Failure)
        assert answer.code == "not_federated"
        async with dialling(home, introduce=False) as double:
            answer = await double.introduce(home.now(), url="wss://good.example/ofc")
        assert isinstance(answer, frames.Peered)
