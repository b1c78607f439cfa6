"""An operator takes nothing from another relay, while this one runs, until it is released."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
import trio
from attrs import evolve
from structlog.testing import capture_logs

from ofcd.daemon.orders import FOREVER, Order, leave, left_in
from ofcd.daemon.peers.known import KnownRelay
from ofcd.daemon.peers.link import PeerLink
from ofcd.daemon.peers.linking import Linking
from ofcd.daemon.peers.roster import NOTHING_TAKEN
from ofcd.protocol.ids import RelayId
from ofcd.store import PeerRow, StoreError
from ofcd.testing import World, open_net
from tests.federation.double import identity, quickly, say, shared
from tests.federation.test_finding import has_link, known, restarted
from tests.world.scene import agree, settle, stored

NOBODY = RelayId(b"\x01" * 32)
WHY = "by hand: their abuse desk does not answer"


def ordered(world: World, other: World, until: int) -> Path:
    """The operator's word, where `ofcd peers` leaves it."""
    return leave(world.settings.data_dir, Order(identity(other).relay_id, until, WHY))


async def test_a_relay_in_quarantine_by_hand_is_left_until_it_is_released(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Its link ends within seconds, over restarts; what was said meanwhile arrives then."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        theirs = identity(hub)
        with capture_logs() as logs:
            path = ordered(home, hub, FOREVER)
            await trio.sleep(11)
        assert not path.exists()
        assert ("a relay is in quarantine", WHY) in [(e["event"], e.get("why")) for e in logs]
        assert not await has_link(home, theirs, 1_200)
        here, there = known(home, theirs), known(hub, identity(home))
        assert here is not None
        assert there is not None
        assert (here.row.state, here.row.detail, here.row.quarantined) == (
            *("quarantined", WHY),
            FOREVER,
        )
        assert "abuse desk" not in there.row.detail, "what he thinks of them is not for them"
        assert home.daemon is not None
        assert "ofcd_peer_quarantined 1.0" in home.daemon.metrics.render().decode()
        await restarted(home)
        assert not await has_link(home, theirs, 1_200)
        await say(ana, "meanwhile")
        await say(bo, "waits")
        ordered(home, hub, 0)
        assert await has_link(home, theirs)
        await settle([ana, bo])
        agree([ana, bo], ["meanwhile", "waits"])
        [row] = stored(home).peers()
        assert row.quarantined == 0


async def test_what_a_relay_is_caught_at_shortens_no_quarantine_by_hand(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Ten minutes for a forgery are not the end of it, nor the reason that is shown."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        await shared(hub, home)
        ordered(home, hub, home.now() + 1_800_000)
        await trio.sleep(11)
        assert home.daemon is not None
        assert home.daemon.federation is not None
        home.daemon.federation.roster.quarantine(identity(hub).relay_id, "it forges")
        peer = known(home, identity(hub))
        assert peer is not None
        assert peer.row.detail == WHY
        assert not await has_link(home, identity(hub), 1_500)
        assert await has_link(home, identity(hub), 2_000), "then it ends by itself"


async def test_an_order_stands_before_the_first_link_of_a_start(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It was left as the relay went down; of a relay that is not known yet, too."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        await shared(hub, home)
        await home.stop_relay()
        path = ordered(home, hub, FOREVER)
        await home.start_relay()
        assert not path.exists()
        peer = known(home, identity(hub))
        assert peer is not None
        assert (peer.row.state, peer.link) == ("quarantined", None)


async def test_a_link_that_was_let_in_before_the_order_does_not_undo_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was being verified meanwhile."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        theirs = identity(hub)
        assert home.daemon is not None
        federation = home.daemon.federation
        assert federation is not None
        monkeypatch.setattr(federation.roster, "require_welcome", lambda *_: None)
        told, take_over = set[str](), Linking._take_over

        def taking_over(linking: Linking, peer: KnownRelay, link: PeerLink) -> str:
            why = take_over(linking, peer, link)
            if linking is federation.linking:
                told.add(why)
            return why

        monkeypatch.setattr(Linking, "_take_over", taking_over)
        ordered(home, hub, FOREVER)
        await trio.sleep(11)
        ana = await (await hub.client("ana")).create_room(hub.url, "tea", my_name="ana")
        bo = await home.client("bo")
        with trio.move_on_after(120):
            await bo.join(await ana.invite(), name="bo", via=home.url)
        peer = known(home, theirs)
        assert peer is not None
        assert (peer.link, peer.row.quarantined, peer.row.links) == (None, FOREVER, 0)
        assert told == {NOTHING_TAKEN}, "what the other one reads"


async def test_an_order_is_kept_until_it_is_stored(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a file that is none is told of once, and put aside."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        await shared(hub, home)

        def full(*_: object) -> None:
            raise StoreError("no space is left")

        with monkeypatch.context() as patch:
            patch.setattr(stored(home), "put_peer", full)
            path = ordered(home, hub, FOREVER)
            await trio.sleep(11)
            assert path.exists()
            assert not await has_link(home, identity(hub), 60), "but in force"
        broken = evolve(Order(identity(hub).relay_id, 5), until=-1)
        wrong = leave(home.settings.data_dir, broken)
        with capture_logs() as logs:
            await trio.sleep(25)
        assert not list(left_in(home.settings.data_dir))
        told = [e for e in logs if e["event"].startswith("a file is no order")]
        assert [e["file"] for e in told] == [wrong.name]
        [row] = [row for row in stored(home).peers() if row.relay_id == identity(hub).relay_id]
        assert row.quarantined == FOREVER


async def test_the_last_word_holds_where_one_before_it_could_not_be_stored(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarantine meets a full disk, and the release behind it does not: that waits for it."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        await shared(hub, home)
        put, failed = stored(home).put_peer, list[PeerRow]()

        def once(row: PeerRow) -> None:
            if row.quarantined and not failed:
                failed.append(row)
                raise StoreError("no space is left")
            put(row)

        monkeypatch.setattr(stored(home), "put_peer", once)
        ordered(home, hub, FOREVER)
        ordered(home, hub, 0)
        await trio.sleep(60)
        assert failed
        peer = known(home, identity(hub))
        assert peer is not None
        assert peer.row.quarantined == 0
        assert not list(left_in(home.settings.data_dir))


@pytest.mark.parametrize("is_lost", [False, True])
async def test_what_is_no_order_holds_up_none(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    """Whatever has the name of one, also where it can not be put aside."""
    async with open_net(tmp_path, "home", change=quickly) as (home,):
        folder = home.settings.data_dir
        names = [folder / f"order-{number}.json" for number in range(6)]
        names[0].mkdir()
        if is_lost:
            (folder / "order-0.bad" / "full").mkdir(parents=True)
        names[1].write_text("[" * 4096)
        os.mkfifo(names[2])
        names[3].symlink_to(names[3])
        names[4].write_text(json.dumps([]))
        with socket.socket(socket.AF_UNIX) as place:  # whose path may be short only
            monkeypatch.chdir(folder)
            place.bind(names[5].name)
        path = leave(folder, Order(NOBODY, FOREVER, WHY))
        with capture_logs() as logs:
            await trio.sleep(11)
        assert not path.exists()
        assert [row.quarantined for row in stored(home).peers()] == [FOREVER]
        told = {e["file"] for e in logs if e["event"].startswith("a file is no order")}
        assert told == {name.name for name in names}
        left = [path for path, _ in left_in(folder)]
        assert left == (names[:1] if is_lost else [])


async def test_an_order_that_can_not_be_read_waits_with_all_behind_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told of, and done in their order as soon as it can be read."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        await shared(hub, home)
        path, opens = ordered(home, hub, FOREVER), os.open
        last = ordered(home, hub, 0)

        def refusing(name: Path, *how: int) -> int:
            if name == path:
                raise PermissionError(13, "no")
            return opens(name, *how)

        with capture_logs() as logs, monkeypatch.context() as patch:
            patch.setattr("ofcd.daemon.orders.os.open", refusing)
            await trio.sleep(11)
        assert path.exists()
        assert last.exists()
        assert "an order waits, with all behind it" in [entry["event"] for entry in logs]
        await trio.sleep(11)
        assert not list(left_in(home.settings.data_dir))
        peer = known(home, identity(hub))
        assert peer is not None
        assert peer.row.quarantined == 0


@pytest.mark.parametrize("why", ["flood " * 900, "\N{WATER WAVE}" * 900, "\udcff"])
def test_whatever_the_reason_an_order_is_one(tmp_path: Path, why: str) -> None:
    """As much of it as is kept, and no bytes that were no text."""
    leave(tmp_path, Order(NOBODY, FOREVER, why))
    [(_, order)] = left_in(tmp_path)
    assert order is not None
    assert order.reason == why[:300].replace("\udcff", "?")


@pytest.mark.parametrize("is_lent", [False, True])
def test_an_order_can_be_read_by_the_relay_whoever_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_lent: bool
) -> None:
    """As root, under a umask that lets nobody else read: the relay is given it.

    That is who owns the database, in a folder that may be root's; or else the folder's owner.
    """
    database, stat = tmp_path / "ofcd.db", Path.stat
    theirs = list(tmp_path.stat())
    theirs[4:6] = 4711, 4712

    def owned(path: Path) -> os.stat_result:
        return os.stat_result(theirs) if is_lent and path == database else stat(path)

    given: list[tuple[int, int]] = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", owned)
        patch.setattr("os.geteuid", lambda: 0)
        patch.setattr("os.fchown", lambda _, *owner: given.append(owner))
        before = os.umask(0o777)
        try:
            path = leave(tmp_path, Order(NOBODY, FOREVER), database)
        finally:
            os.umask(before)
    folder = tmp_path.stat()
    assert given == [(4711, 4712) if is_lent else (folder.st_uid, folder.st_gid)]
    # It was given to nobody here: as where another than root leaves it for the relay.
    assert path.stat().st_mode & 0o777 == (0o644 if is_lent else 0o600)


def test_the_last_word_is_the_last_one_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was put back between two of them; or it stands still."""
    (tmp_path / "order-9.json").touch()
    for now, until in ((2_000, 1), (1_000, 2), (1_000, 3), (3_000, 4)):
        monkeypatch.setattr("ofcd.daemon.orders.time.time_ns", lambda now=now: now)
        leave(tmp_path, Order(NOBODY, until))
    said = [order.until for _, order in left_in(tmp_path) if order is not None]
    assert said == [1, 2, 3, 4]
