"""Another relay to be at home at: where this client reaches a room, and how that changes.

The member says so in the control log (HOME), through the relay it had, or straight at the room's
own where that one is gone. Once the record stands in the log, and not before, the vault names the
new relay, in the same transaction; the client's shell then takes the room to that relay's link.
"""

from __future__ import annotations

from attrs import evolve

from ofcd.client.core import Core, load_core
from ofcd.client.model import ROOMS, Head, Tables, load, save
from ofcd.client.turn import Turn
from ofcd.client.vault import Records
from ofcd.protocol.addresses import first_reachable
from ofcd.protocol.ids import RelayId, RoomId
from ofcd.protocol.records import Control, Home, HubMove

__all__ = [
    "begin_trial",
    "end_trial",
    "finish_move",
    "follow_hub",
    "is_elsewhere",
    "relocate",
    "return_from_trial",
]


def relocate(turn: Turn, core: Core, url: str, relay_id: RelayId) -> None:
    """This client reaches the room there from now on."""
    _reach(turn.records, core, url, relay_id)
    turn.moved.append(core.room)


def _reach(records: Records, core: Core, url: str, relay_id: RelayId) -> None:
    hub_url = "" if relay_id == core.state.hub else core.identity.invite_url
    core.identity = evolve(core.identity, relay_url=url, relay_id=relay_id, hub_url=hub_url)
    records.put(ROOMS, core.room, save(core.identity))


def begin_trial(turn: Turn, core: Core, url: str, relay_id: RelayId) -> None:
    """Reach the room there, until `end_trial`: which a process that dies leaves to the next."""
    core.save_head(turn, back_to=(core.identity.relay_url, core.identity.relay_id))
    relocate(turn, core, url, relay_id)


def end_trial(turn: Turn, core: Core, *, stay: bool) -> None:
    """Back to the relay of before; or `stay`, as one does where the room was moved there."""
    if core.head.back_to is None:
        return
    url, relay_id = core.head.back_to
    core.save_head(turn, back_to=None)
    if not stay and core.identity.relay_id not in (relay_id, core.state.hub):
        relocate(turn, core, url, relay_id)


def return_from_trial(records: Records, room: RoomId) -> None:
    """The same for what a process did not live to end."""
    raw = records.get(Tables(room).state, b"head")
    if raw is None or load(Head, raw).back_to is None:
        return
    core = load_core(records, room)
    if core.head.back_to is not None and core.identity.relay_id != core.state.hub:
        _reach(records, core, *core.head.back_to)
    records.put(core.tables.state, b"head", save(evolve(core.head, back_to=None)))


def finish_move(turn: Turn, core: Core, record: Control) -> bool:
    """A control record was applied: go to where it says that this client is at home, if it does."""
    moving = core.head.moving
    if not isinstance(record, Home) or record.mid != core.me or moving is None:
        return False
    url, relay_id = moving
    core.save_head(turn, moving=None)
    if relay_id != record.home:
        return False
    relocate(turn, core, url, relay_id)
    return True


def follow_hub(turn: Turn, core: Core, record: HubMove) -> bool:
    """The room was moved: this client stays at its relay, which follows there.

    Who was at the hub of before only because it was the hub, is so at the new one: then True. Not
    where that is in a private network which it did not reach before: who wants that moves home.
    Where a later move was told, the hub that this one names may be gone: it is passed over.
    """
    reached = core.identity.relay_id
    url = first_reachable(record.urls, core.identity.relay_url)
    last = core.ahead(turn.records) or record
    there = first_reachable(last.urls, core.identity.relay_url)
    me = core.state.members.get(core.me)
    if me is not None and reached not in (me.home, last.hub) and there is not None:
        relocate(turn, core, there, last.hub)
        return True
    hub_url = "" if reached == record.hub else url or record.urls[0]
    identity = evolve(core.identity, hub_url=hub_url)
    turn.records.put(ROOMS, core.room, save(identity))
    core.identity = identity
    return False


def is_elsewhere(turn: Turn, core: Core) -> bool:
    """A relay where this member is not at home tells of a move: go to the new hub, if so True.

    That takes everybody in. Here nobody lets it in any more, or yet: its HOME is void, or it tries
    whether it may be at home here.
    """
    state, reached, told = core.state, core.identity.relay_id, core.ahead(turn.records)
    me = state.members.get(core.me)
    if told is None or me is None or me.mid == state.root:
        return False
    if reached in (me.home, told.hub, *(hub.relay_id for hub in state.hubs)):
        return False
    url = first_reachable(told.urls, core.identity.relay_url)
    if url is not None:
        relocate(turn, core, url, told.hub)
    return url is not None
