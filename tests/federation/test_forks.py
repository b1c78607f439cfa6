"""Two that claim to follow one key of a relay's: whichever is met first stays, however it comes."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ofcd.client import ClientError, RelayKeyChanged
from ofcd.daemon.identity import Identity, replace_key
from ofcd.daemon.peers import federation as peers
from ofcd.protocol import frames
from ofcd.protocol.ids import RelayId
from ofcd.protocol.records import Descriptor
from ofcd.testing import World, open_net
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.lineage import Lineage, succeed
from tests.federation.double import Double, dialling, identity, quickly
from tests.federation.test_succession import key_file, known_by, replace, talk
from tests.world.scene import told


def peer_of(world: World, relay_id: RelayId) -> peers._Peer:
    assert world.daemon is not None
    assert world.daemon.federation is not None
    return world.daemon.federation._peers[relay_id]


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
        assert peer.following.identity == kept
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

        monkeypatch.setattr(peers, "find_relay", find)
        assert home.daemon is not None
        assert home.daemon.federation is not None
        with trio.move_on_after(60):
            await home.daemon.federation._search("elsewhere.example")
        peer = peer_of(home, right.relay_id)
        assert (peer.following.identity, peer.row.name) == (right, "")
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
