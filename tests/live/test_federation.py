"""Three relays, a room of each with members on all: bad roads, kill -9, wrong clocks; no word seen.

`make soak` makes it last (`OFCD_SOAK` seconds); `OFCD_SEED` repeats one.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import combinations, count
from pathlib import Path
from typing import cast

import pytest
import trio
from attrs import field, frozen

from ofcd.client import Client
from tests.live.chaos import Road, open_roads
from tests.live.happenings import Happenings
from tests.live.markers import MARKERS, holds, secrets_of, talk
from tests.live.places import Place, places
from tests.live.storm import WORD, Member, Storm, clocked, dial_by, storm_seconds
from tests.live.support import QUICK, ROOT, Relay, client, rows_of, seed, until
from tests.live.wiretap import Wiretap
from tests.prefork import run

SECONDS = storm_seconds(8)

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(400 + 3 * SECONDS)]

NAMES = ("ash", "elm", "oak")
CLOCKS = {"ash": "", "elm": "+2h", "oak": "-3h"}
"""The relays' clocks."""
SKEWS = {"ash": 0.0, "elm": -2 * 3600.0, "oak": 4 * 3600.0}
"""Seconds by which the clocks of who is at home there are ahead."""


@frozen(eq=False)
class Woods:
    """Three relays, each in its place, and a road from each to each."""

    relays: dict[str, Relay]
    storm: Storm
    tap: Wiretap
    ways: dict[tuple[str, str], Road]
    """From a relay to a relay."""
    clients: dict[str, Client]
    """Who is at home at each relay."""
    new_client: Callable[[], Awaitable[Client]]
    """Somebody else."""
    happenings: list[Happenings] = field(factory=list)
    """What happens in each room."""


@asynccontextmanager
async def open_woods(folder: Path, number: int) -> AsyncIterator[Woods]:
    """The relays run, and know each other by the roads between them."""
    tap = Wiretap()
    async with AsyncExitStack() as stack:
        there = stack.enter_context(places(3))
        by_name = dict(zip(NAMES, there, strict=True))
        ways = {
            (here, to): Road(f"{here} to {to}", number, by_name[here].gate, tap=tap)
            for here in NAMES
            for to in NAMES
            if here != to
        }
        doors = {name: Road(f"door of {name}", number, tap=tap) for name in NAMES}
        await stack.enter_async_context(open_roads(*ways.values(), *doors.values()))
        relays = make_relays(folder, by_name, ways)
        for name, relay in relays.items():
            await trio.to_thread.run_sync(relay.start)
            stack.callback(relay.kill)
            for road in (doors[name], *(ways[here, name] for here in NAMES if here != name)):
                road.leads_to(relay.host, relay.port)
        storm = Storm(number, list(relays.values()), [*ways.values(), *doors.values()], there)
        by_doors, guests = dial_by({relays[name].url: doors[name] for name in NAMES}), count()
        clients = {
            name: await stack.enter_async_context(
                client(
                    folder / f"{name}.vault",
                    dial=by_doors,
                    skew=SKEWS[name],
                )
            )
            for name in NAMES
        }

        async def live(task_status: trio.TaskStatus[Client]) -> None:
            async with client(folder / f"guest {next(guests)}.vault", dial=by_doors) as running:
                task_status.started(running)
                await trio.sleep_forever()

        async with trio.open_nursery() as nursery:

            async def new_client() -> Client:
                return cast(Client, await nursery.start(live))

            yield Woods(relays, storm, tap, ways, clients, new_client)
            nursery.cancel_scope.cancel()


def make_relays(
    folder: Path, there: dict[str, Place], ways: dict[tuple[str, str], Road]
) -> dict[str, Relay]:
    """Each lists the other two, by fingerprint and by the road to them."""
    made: dict[str, Relay] = {}
    ids: dict[str, str] = {}
    for name in NAMES:
        (folder / name).mkdir()
        relay = Relay(folder / name, host=there[name].host)
        relay.command()
        shown = run(
            [sys.executable, "-m", "ofcd", "--config", str(relay.config), "keys", "--json"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=30,
        )
        ids[name] = json.loads(shown.stdout)["relay_id"]
    for name in NAMES:
        peers = [f"{to}!{ids[to]} {ways[name, to].url}" for to in NAMES if to != name]
        federation = (
            f'[federation]\nmode = "allowlist"\npeers = {json.dumps(peers)}\n'
            'allow_private = ["127.0.0.0/8", "10.64.0.0/10"]\n'
        )
        made[name] = Relay(
            folder / name,
            limits=QUICK,
            log="debug",
            more=federation,
            host=there[name].host,
            wrap=clocked(there[name], CLOCKS[name]),
        )
    return made


async def settle_in(woods: Woods) -> None:
    """A room at each relay, with a member at home at each of the three; in the first a guest."""
    for number, hub in enumerate(NAMES):
        room = await woods.clients[hub].create_room(
            woods.relays[hub].url, MARKERS["room's name"] + hub, my_name=f"{WORD} {hub}"
        )
        members = [Member(f"{hub}@{hub}", woods.clients[hub], room)]
        for home in NAMES:
            if home == hub:
                continue
            joined = await woods.clients[home].join(
                await room.invite(), name=f"{WORD} {home}", via=woods.relays[home].url
            )
            members.append(Member(f"{home}@{hub}", woods.clients[home], joined))
        for member in members:
            member.pause = (0.3, 1.2)
            woods.storm.take_in(member)
        urls = [relay.url for relay in woods.relays.values()]
        chance = random.Random(f"{woods.storm.seed} people of {hub}")
        happenings = Happenings(
            hub, number, members, urls, woods.new_client, woods.storm.take_in, chance
        )
        woods.happenings.append(happenings)
        woods.storm.happenings.append(happenings.go_on)
    await woods.happenings[0].let_in()


async def test_a_storm_over_three_relays(tmp_path: Path) -> None:
    """In the end all members of each room have the same log, and no relay has seen a word of it."""
    async with open_woods(tmp_path, seed()) as woods:
        await settle_in(woods)
        ash, elm = (m.room for m in woods.storm.members[:2])
        await talk(tmp_path, ash, elm)
        await woods.storm.rage(SECONDS)
        await woods.storm.calm(max(120, SECONDS))
        woods.storm.check()
        await check_people(woods)
        relays = woods.relays.values()
        assert sum(relay.starts for relay in relays) > len(NAMES), "no relay was ever killed"
        for a, b in combinations(NAMES, 2):  # one link for two relays, dialled by either
            assert woods.ways[a, b].carried + woods.ways[b, a].carried > 10_000, (a, b)
        assert min(len(member.said) for member in woods.storm.members if not member.since) > 3
        secrets = {"what was said": WORD.encode()}
        secrets |= {name: text.encode() for name, text in MARKERS.items()}
        for member in woods.storm.members:
            secrets |= secrets_of(member.room, member.name)
        await until(lambda: all(relay.get("/healthz")[0] == 200 for relay in relays))
        held = dict(look(tmp_path, woods))
        found = [
            f"{name} in {where}"
            for where, whole in held.items()
            for name, secret in secrets.items()
            if holds(whole, secret)
        ]
        assert found == []
        rooms = {member.room.id for member in woods.storm.members}
        for name in NAMES:  # the control: the search finds what is no secret, at each of them
            database = held[f"{name}/data/ofcd.db"] + held.get(f"{name}/data/ofcd.db-wal", b"")
            assert all(holds(database, room) for room in rooms), f"{name} has no copy of a room"
        assert b"UEC2" in held["wire"]
        assert len(held["wire"]) > 1_000_000


async def check_people(woods: Woods) -> None:
    """All of it did happen; files came whole; whoever was put out has no later key; one log."""
    happened: Counter[str] = sum((each.happened for each in woods.happenings), Counter())
    print(dict(woods.storm.happened), dict(happened))
    assert happened.keys() >= {"move", "home", "file", "evict", "rotate", "join"}
    for each in woods.happenings:
        there = [member for member in each.members if not member.since]
        out = tuple(guest.name for guest in each.guests if guest.is_out)
        # What who was put out had still waiting came nowhere.
        came = {text: digest for text, digest in each.files.items() if not text.startswith(out)}
        for caption, digest in came.items():
            for member in there:
                [message] = [
                    m for m in member.room.messages(since=0, limit=1_000_000) if m.text == caption
                ]
                content = await member.room.read_file(message)
                assert hashlib.sha256(content).hexdigest() == digest, (member.name, caption)
        keys = there[0].room._client._core(there[0].room.id).keys.keys
        for guest in each.guests:
            core = guest.room._client._core(guest.room.id)
            if guest.is_out:
                assert max(core.keys.keys) < max(keys), f"{guest.name} has the key of now"
        logs = [rows_of(relay, there[0].room) for relay in woods.relays.values()]
        for one, other in combinations(logs, 2):
            both = one.keys() & other.keys()
            assert both
            assert {seq: one[seq] for seq in both} == {seq: other[seq] for seq in both}


def look(folder: Path, woods: Woods) -> Iterator[tuple[str, bytes]]:
    """Every place where a stranger could look: its name, and its bytes."""
    for name, relay in woods.relays.items():
        for path in sorted((folder / name).rglob("*")):
            if path.is_file() and path.name != "relay.key":
                yield str(path.relative_to(folder)), path.read_bytes()
        yield f"{name}: metrics", relay.get("/metrics")[1]
        yield f"{name}: front page", relay.get("/")[1]
    yield "wire", woods.tap.everything()
