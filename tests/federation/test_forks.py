"""Two that claim to follow one key of a relay's: whichever is met first stays, however it comes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from attrs import evolve

from ofcd.client import Alarm, ClientError, LinkStateChanged, RelayKeyChanged
from ofcd.config import Settings
from ofcd.daemon.identity import Identity, replace_key
from ofcd.daemon.peers import roster, searching
from ofcd.daemon.peers.known import KnownRelay, Listed
from ofcd.protocol import frames
from ofcd.protocol.ids import PublicKey, RelayId
from ofcd.protocol.records import Descriptor
from ofcd.testing import World, open_net, open_world
from ofcd.themis import KeyPair, generate_keypair, lineage
from ofcd.themis.lineage import Lineage, succeed
from ofcd.themis.signed import SignedRecord, open_signed
from tests.federation.double import Double, dialling, federated, identity, quickly, say, shared
from tests.federation.test_succession import key_file, known_by, replace, talk
from tests.world.scene import quick, settle, stored, told, until

T = TypeVar("T")


def peer_of(world: World, relay_id: RelayId) -> KnownRelay:
    assert world.daemon is not None
    assert world.daemon.federation is not None
    return world.daemon.federation.roster.peers[relay_id]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is verified of statements from now on."""
    verified: list[bytes] = []

    def count(key: PublicKey, raw: bytes) -> SignedRecord:
        verified.append(raw)
        return open_signed(key, raw)

    monkeypatch.setattr(lineage, "open_signed", count)
    return verified


def forks() -> tuple[KeyPair, KeyPair, Lineage, KeyPair, Lineage]:
    """A relay's first key; its next one; and the longer line of somebody who has the first."""
    old, new, between, other = (generate_keypair() for _ in range(4))
    relay = Identity.of(old).relay
    stolen = succeed(succeed(relay, old, between, 2), between, other, 3)
    return old, new, succeed(relay, old, new, 1), other, stolen


@pytest.mark.parametrize("longer", [False, True])
async def test_of_two_that_come_at_once_one_is_let_in(
    longer: bool, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """While the one was verified the other was learnt: that is looked at again, and is proof."""
    async with open_net(tmp_path, "home", change=quickly) as (home,):
        old, new, right, thief, stolen = forks()
        if not longer:
            stolen = succeed(Identity.of(old).relay, old, thief, 2)
        answers: dict[str, frames.RelayFrame | None] = {}

        async def come(name: str, double: Double, relay: Lineage) -> None:
            answers[name] = await double.introduce(
                home.now(), succession=relay.statements, relay_id=relay.relay_id
            )

        async with (
            dialling(home, new, introduce=False) as one,
            dialling(home, thief, introduce=False) as other,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(come, "right", one, right)
            nursery.start_soon(come, "stolen", other, stolen)
        [let_in] = [name for name, told in answers.items() if isinstance(told, frames.Peered)]
        [refused] = [told for told in answers.values() if isinstance(told, frames.Failure)]
        assert "two different" in refused.text
        peer = peer_of(home, right.relay_id)
        kept, proof = (right, stolen) if let_in == "right" else (stolen, right)
        assert peer.following.line.identity == kept
        assert tuple(peer.row.branch) == proof.statements[:1]


async def test_a_page_does_not_replace_what_a_link_has_shown(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A domain of the settings is met for the first time; the relay that it leads to is not."""
    async with open_net(tmp_path, "home", change=quickly) as (home,):
        _, new, right, _, stolen = forks()
        async with dialling(home, new, introduce=False) as double:
            await double.introduce(home.now(), succession=right.statements, relay_id=right.relay_id)

        async def find(name: str, *_: object) -> tuple[Descriptor, Lineage]:
            own, url = right.relay_id, "wss://elsewhere.example"
            key = stolen.keys[-1]
            return Descriptor(1, own, key, name, (url,), home.now() + 1, 1), stolen

        monkeypatch.setattr(searching, "find_relay", find)
        assert home.daemon is not None
        assert home.daemon.federation is not None
        with trio.move_on_after(60):
            await home.daemon.federation.searching._search(Listed("elsewhere.example"))
        peer = peer_of(home, right.relay_id)
        assert (peer.following.line.identity, peer.row.name) == (right, "")
        assert tuple(peer.row.branch) == stolen.statements[:1]


async def test_an_address_met_for_the_first_time_is_no_way_round(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A client pins the first key it sees there: not one of a relay that it knows better."""
    async with open_net(tmp_path, "hub", "thief", change=quickly) as (hub, thief):
        ana = await (await hub.client("ana")).create_room(hub.url, "tea", my_name="ana")
        old = key_file(hub).read_bytes()
        right = await replace(hub)
        await talk(ana, words="before")
        heard = ana._client.events()
        for forked in (0, 2):
            await thief.stop_relay()
            key_file(thief).write_bytes(old)
            for number in range(forked):
                replace_key(Path(thief.settings.data_dir), thief.now() + number)
            await thief.start_relay()
            with pytest.raises(ClientError):
                await ana._client.create_room(thief.url, "two", my_name="ana")
            assert known_by(ana, hub) == right.relay
        assert identity(thief).relay.count > right.relay.count
        await trio.sleep(700)
        changes = [one for one in told(heard) if isinstance(one, RelayKeyChanged)]
        assert [(one.disputed, thief.url in one.text) for one in changes] == [(True, True)]
        await talk(ana, words="after")


async def test_a_link_by_a_replaced_key_ends_where_the_new_one_is_shown(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Whichever of the two dialled, and whatever relay it is that has the lower id."""
    async with open_net(tmp_path, "home", change=quickly) as (home,):
        for dialled in (False, True):
            old, new, right, *_ = forks()
            async with dialling(home, old) as before:
                await trio.sleep(1)
                peer = peer_of(home, right.relay_id)
                link = peer.link
                assert link is not None
                link.dialled = dialled
                async with dialling(home, new, introduce=False) as after:
                    await after.introduce(
                        home.now(), succession=right.statements, relay_id=right.relay_id
                    )
                    kept = stored(home).peers()
                    assert right.statements in [tuple(row.statements) for row in kept], "at once"
                    ended = await before.ended()
                    assert ended is not None
                    assert ended.code == "wrong_relay"
                    await trio.sleep(1)
                    assert peer.link is not None
                    assert peer.link.session.peer == new.public


async def test_a_client_leaves_a_relay_that_another_shows_to_have_a_new_key(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The link that is open is by somebody who has the old one."""
    async with open_world(tmp_path, quick) as world:
        ana = await (await world.client("ana")).create_room(world.url, "tea", my_name="ana")
        own = identity(world)
        relay = succeed(own.relay, own.keys, generate_keypair(), 1)
        connection = ana._client._connection(ana.id)
        heard = ana._client.events()
        with ana._client.turn(connection) as turn:
            shown = frames.Successions(relay.relay_id, relay.statements)
            connection.machine.receive(turn, shown)
        await trio.sleep(60)
        details = [one.detail for one in told(heard) if isinstance(one, LinkStateChanged)]
        assert "the relay has replaced its key since" in details
        assert not connection.machine.is_up
        assert "a key that it has replaced" in connection.detail


async def test_who_is_not_talked_to_costs_no_verification_of_statements(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line can be long: it is looked at once its relay is one that is let in."""

    def listed_only(name: str, settings: Settings) -> Settings:
        own = evolve(settings.federation, mode="allowlist")
        return evolve(quickly(name, settings), federation=own)

    async with open_net(tmp_path, "home", change=listed_only) as (home,):
        _, new, right, *_ = forks()
        verified = counted(monkeypatch)
        async with dialling(home, new, introduce=False) as double:
            answer = await double.introduce(
                home.now(), succession=right.statements, relay_id=right.relay_id
            )
        assert isinstance(answer, frames.Failure)
        assert (answer.code, verified) == ("not_federated", [])


async def test_a_welcome_that_was_dialled_for_is_verified_beside_the_loop(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen verifications would hold everybody else up."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        await replace(hub)
        verified = counted(monkeypatch)
        assert home.daemon is not None
        federation = home.daemon.federation
        assert federation is not None
        run, beside = federation._workers.run, []

        async def working(work: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
            before = len(verified)
            result = await run(work, limiter)
            beside.extend(verified[before:])
            return result

        monkeypatch.setattr(federation._workers, "run", working)
        federation.linking.keep(
            federation.roster.configure(identity(hub).relay_id, Listed("hub", url=hub.url))
        )
        await until(lambda: federation.key_of(identity(hub).relay_id) is not None)
        assert verified == beside != []


async def test_a_line_of_keys_is_forgotten_last(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers who fill the table do not bring a replaced key back."""
    monkeypatch.setattr(roster, "_PEERS", 3)
    async with open_net(tmp_path, "home", change=quickly) as (home,):
        old, new, right, *_ = forks()
        async with dialling(home, new, introduce=False) as double:
            await double.introduce(home.now(), succession=right.statements, relay_id=right.relay_id)
        for _ in range(4):
            await trio.sleep(1)
            async with dialling(home):
                await trio.sleep(1)
        async with dialling(home, old, introduce=False) as double:
            answer = await double.introduce(home.now())
        assert isinstance(answer, frames.Failure)
        assert "a key that it has replaced" in answer.text


async def test_a_room_that_went_to_a_relay_with_a_new_key_while_one_was_away(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """One's own relay shows how the new hub came to its key before one reads of the move."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        cai = await federated(old, third, "cai", ana)
        after = await replace(new)
        await settle([ana, bo, cai])
        await third.stop_client("cai")
        await ana.move_hub(new.url)
        await say(ana, "after the move")
        await settle([ana, bo])
        await trio.sleep(60)
        client = await third.client("cai")
        heard = client.events()
        [cai] = client.rooms
        await talk(ana, bo, cai, words="back")
        seen = told(heard)
        assert not [one.detail for one in seen if isinstance(one, LinkStateChanged) and one.detail]
        assert not [one for one in seen if isinstance(one, Alarm)]
        assert known_by(cai, new) == after.relay
