"""The admitter's half, when the room moves on or the relay says: not now."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from ofcd.client import Vault
from ofcd.client.admitting import AdmissionDesk, _Asked
from ofcd.client.keydesk import KeyDesk
from ofcd.client.link import RelayMachine
from ofcd.client.turn import Turn
from ofcd.e2e.keys import EpochKeys
from ofcd.protocol import frames, limits
from ofcd.protocol.ids import Hash32
from ofcd.protocol.records import JoinRequest, Policy
from ofcd.themis.signed import peek, sign_record
from tests.client.world import KEY, Town, settled, until


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[frames.JoinConfirmed]:
    """The first JOIN_CONFIRM shown to an admitter stays here."""
    kept: list[frames.JoinConfirmed] = []
    receive = RelayMachine.receive

    def receiving(machine: RelayMachine, turn: Turn, frame: frames.RelayFrame) -> None:
        if isinstance(frame, frames.JoinConfirmed) and not kept:
            kept.append(frame)
        else:
            receive(machine, turn, frame)

    monkeypatch.setattr(RelayMachine, "receive", receiving)
    return kept


async def test_a_key_renewed_amid_a_join_is_answered_anew_at_once(
    town: Town, autojump_clock: MockClock, held: list[frames.JoinConfirmed]
) -> None:
    """In a room where nothing else happens: nobody has to speak for the join to go on."""
    mine = await town.found()
    bo = await town.person("bo")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(join, bo.client, await mine.invite())
        await until(lambda: held)
        await mine.rotate()
        await trio.sleep(30)
        client = town.people["ana"].client
        connection = client._connection(mine.id)
        with client.turn(connection) as turn:
            connection.machine.receive(turn, held[0])
            connection.machine.pump(turn)
        with trio.fail_after(200):
            await until(lambda: len(mine.members()) == 2)


async def test_an_answer_given_anew_that_a_dying_link_took_with_it_is_given_once_more(
    town: Town,
    autojump_clock: MockClock,
    held: list[frames.JoinConfirmed],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The relay still has the confirmation of the answer before, and shows that."""
    mine = await town.found()
    bo = await town.person("bo")
    lost: list[object] = []
    ask = RelayMachine.ask

    def asking(machine: RelayMachine, turn: Turn, make: object, handler: object) -> None:
        if held and not lost and isinstance(make(1), frames.JoinAnswer):  # type: ignore[operator]
            lost.append(handler)
        else:
            ask(machine, turn, make, handler)  # type: ignore[arg-type]

    monkeypatch.setattr(RelayMachine, "ask", asking)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(join, bo.client, await mine.invite())
        await until(lambda: held)
        await mine.rotate()
        town.world.cut_links()
        await until(lambda: lost)
        town.world.cut_links()
        with trio.fail_after(300):
            await until(lambda: len(mine.members()) == 2)


async def join(client: object, code: object) -> None:
    await client.join(code, name="Bo")  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", ["rate_limited", "storage_failed", "internal"])
async def test_an_answer_that_the_relay_could_not_take_is_given_again(
    town: Town, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """On the same link, a while later."""
    mine = await town.found()
    told = AdmissionDesk._told
    refused: list[frames.RelayFrame] = []

    def telling(desk: AdmissionDesk, turn: Turn, *rest: object) -> None:
        *rest, frame = rest  # type: ignore[assignment]
        if not refused:
            refused.append(frame)  # type: ignore[arg-type]
            frame = frames.Failure(1, code, "not now")
        told(desk, turn, *rest, frame)  # type: ignore[arg-type, call-arg]

    monkeypatch.setattr(AdmissionDesk, "_told", telling)
    lost = frames.JoinAnswer
    ask = RelayMachine.ask

    def asking(machine: RelayMachine, turn: Turn, make: object, handler: object) -> None:
        if isinstance(make(1), lost) and not refused:  # type: ignore[operator]
            handler(turn, frames.Done(1))  # type: ignore[operator]
        else:
            ask(machine, turn, make, handler)  # type: ignore[arg-type]

    monkeypatch.setattr(RelayMachine, "ask", asking)
    bo = await town.person("bo")
    with trio.fail_after(200):
        await bo.client.join(await mine.invite(), name="Bo")
    assert refused


async def test_a_joiner_is_answered_once_the_key_is_here(
    town: Town, autojump_clock: MockClock
) -> None:
    """Asked while the admitter waits for the room key: not forgotten."""
    mine = await town.found()
    core = mine._client._core(mine.id)
    keys = core.keys
    core.view = core.view.__class__(
        core.view.mine, core.view.state, EpochKeys(keys.nonce), core.view.log, core.view.senders
    )
    code = await mine.invite()
    bo = await town.person("bo")
    with trio.fail_after(300):
        await bo.client.join(code, name="Bo")


async def test_who_lacks_a_key_asks_for_the_next_one_too(
    town: Town, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key was renewed before the first request was answered: the relay forgets that one."""
    mine, theirs = await town.pair()
    await settled(mine, theirs)
    answer = KeyDesk._answer
    unanswered: list[bytes] = []

    def answering(desk: KeyDesk, turn: Turn, envelope: bytes) -> None:
        if unanswered:
            answer(desk, turn, envelope)
        else:
            unanswered.append(envelope)

    monkeypatch.setattr(KeyDesk, "_answer", answering)
    core = theirs._client._core(theirs.id)
    core.view = evolve(core.view, keys=EpochKeys(core.keys.nonce))
    await mine.send("wakes bo")
    await until(lambda: unanswered, 30)
    before = core.state.epoch
    await mine.rotate()
    await until(lambda: core.state.epoch in core.keys, 30)
    assert core.state.epoch > before


async def test_one_rotation_is_enough_for_a_newcomer(town: Town, autojump_clock: MockClock) -> None:
    """`join_rekey` where others talk on: what they say after it does not ask for another."""
    mine = await town.found(Policy(join_rekey=True))
    desk, core = mine._client._machine(mine.id).admissions, mine._client._core(mine.id)
    code, later = await mine.invite(), 2**50
    genesis = peek(next(envelope for _, envelope in core.archive.chain(mine._client.vault)))
    desk._asked[b"someone"] = _Asked(genesis, code.invite_id, later, core.state.epoch)
    await mine.send("before")
    assert desk.wants_rekey(later)
    await mine.rotate()
    await mine.send("after")
    assert not desk.wants_rekey(later)


async def test_requests_pushed_without_end_are_bounded(
    town: Town, autojump_clock: MockClock
) -> None:
    """More than the open invites of a room allow are not kept."""
    mine = await town.found()
    machine = mine._client._machine(mine.id)
    keys = mine._client._core(mine.id).mine
    bo = await town.person("bo")
    asked: list[bytes] = []
    async with trio.open_nursery() as nursery:
        code = await mine.invite()
        await town.stop("ana")
        nursery.start_soon(join, bo.client, code)
        await until(lambda: bo.client.pending_joins and bo.client.pending_joins[0].stage == "asked")
        [connection] = bo.client._connections
        [pending] = connection.machine.joins.values()
        asked.append(pending.pending.request)
        nursery.cancel_scope.cancel()
    request = peek(asked[0]).record
    assert isinstance(request, JoinRequest)
    with Vault.open(town.folder / "ana.vault", KEY) as vault, vault.transaction() as tx:
        turn = Turn(0, tx, lambda: 0.0, RelayMachine(lambda: 0.0))
        for number in range(limits.OPEN_INVITES * limits.JOIN_TRIES + 50):
            changed = evolve(request, nonce=Hash32(number.to_bytes(32, "big")))
            machine.admissions.asked(turn, sign_record(keys.sign.private, changed).envelope)
    assert len(machine.admissions._asked) == limits.OPEN_INVITES * limits.JOIN_TRIES
