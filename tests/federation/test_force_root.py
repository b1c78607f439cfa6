"""Root's side of a move by force: terms that never fall, answers that never come, refusals."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from ofcd.client import (
    Alarm,
    AlarmKind,
    ClientError,
    NotAllowed,
    Offline,
    RelayRefused,
    Room,
    RoomStatus,
)
from ofcd.client.model import Head, Tables, load
from ofcd.client.room import RoomMachine
from ofcd.client.turn import Ticket, Turn
from ofcd.client.voiding import take_moves
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.frames import Control
from ofcd.protocol.ids import Hash32, RelayId
from ofcd.protocol.records import HubMove, Role, Seen
from ofcd.testing import open_net
from ofcd.themis.signed import SignedRecord
from tests.federation.double import federated, local, part, quickly, shared
from tests.federation.test_force import acquainted, force, vault_of
from tests.federation.test_force_again import opened
from tests.federation.test_force_hostile import moving, signed
from tests.federation.test_home import relay_of
from tests.federation.test_move import hub_of
from tests.sweeps import fewer, stride
from tests.world.scene import agree, settle, texts, told, until

Made = list[HubMove]


def refusing(monkeypatch: pytest.MonkeyPatch, *codes: Code) -> Made:
    """The relay answers these to moves by force, one after the other; then it takes them."""
    made, left, take = Made(), list(codes), RoomMachine.force

    def force_(self: RoomMachine, turn: Turn, signed: SignedRecord, ticket: Ticket) -> None:
        assert isinstance(signed.record, HubMove)
        made.append(signed.record)
        if left:
            self.core.note_term(turn, signed.record)
            turn.settle(ticket, RelayRefused(left.pop(0).value, "as the relay puts it"))
        else:
            take(self, turn, signed, ticket)

    monkeypatch.setattr(RoomMachine, "force", force_)
    return made


def head(room: Room) -> tuple[int, int]:
    kept = room._client._core(room.id).head
    return kept.signed_term, kept.forced_term


async def test_no_later_move_has_a_term_that_was_signed_before(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor after a restart; and one with the old hub's consent is not made beside one by force."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await settle([ana, bo, await local(old, ana, "dan")])
        made = refusing(monkeypatch, Code.FORBIDDEN, Code.FORBIDDEN)
        found = await ana.survey_hub(new.url)
        for _ in range(2):
            with pytest.raises(RelayRefused):
                await ana.force_hub(found)
            await old.stop_client("ana")
            [ana] = (await old.client("ana")).rooms
        assert head(ana) == (2, 2)
        await ana.wait_live()
        with pytest.raises(NotAllowed, match="by force") as refused:
            await ana.move_hub(new.url)
        assert refused.value.code == "term_signed"
        await force(ana, new)
        assert [move.term for move in made] == [1, 2, 3]
        await settle([ana, bo])
        assert hub_of(bo) == (relay_of(new), 3)
        await ana.move_hub(old.url)
        await settle([ana, bo])
        assert hub_of(bo) == (relay_of(old), 4)
        assert head(ana) == (4, 3)


async def test_the_term_is_in_the_vault_before_the_record_is_sent(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both kinds of moves: when the frame is written, another reader of the vault has it."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        posted: list[tuple[int, int]] = []
        connection = type(ana._client._connection(ana.id))
        post = connection.post

        def watched(self: object, frames: list[object]) -> None:
            if any(isinstance(frame, Control) for frame in frames):
                raw = ana._client.vault.get(Tables(ana.id).state, b"head")
                kept = load(Head, raw or b"")
                posted.append((kept.signed_term, kept.forced_term))
            post(self, frames)  # type: ignore[arg-type]

        monkeypatch.setattr(connection, "post", watched)
        await ana.move_hub(new.url)
        await settle([ana, bo])
        assert posted
        assert posted[-1][1] == 0
        assert (1, 0) in posted
        posted.clear()
        await ana.move_home(old.url)
        await settle([ana, bo])
        posted.clear()
        await force(ana, old)
        assert (2, 2) in posted


async def test_a_vault_put_back_learns_of_the_terms_it_signed(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """From the moves that its own relay tells, though another one counts."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        cai = await federated(old, third, "cai", ana)
        await acquainted(new, third)
        await settle([ana, bo, cai])
        await old.stop_client("ana")
        kept = vault_of(old, "ana").read_bytes()
        [ana] = (await old.client("ana")).rooms
        await old.stop_relay()
        await force(ana, new)
        await settle([ana, bo, cai])
        await old.stop_client("ana")
        vault_of(old, "ana").write_bytes(kept)
        [ana] = (await old.client("ana")).rooms
        assert head(ana) == (0, 0)
        with pytest.raises(NotAllowed, match="goes there now") as refused:
            await force(ana, third)
        assert refused.value.code == "moved_before"
        assert (ana.relay_url, head(ana)) == (new.url, (1, 1))
        await force(ana, third)
        await settle([ana, bo, cai])
        assert hub_of(bo) == (relay_of(third), 2)
        assert head(ana) == (2, 2)


async def test_asked_twice_it_is_done_once(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await old.stop_relay()
        for _ in range(2):
            found = await ana.survey_hub(new.url)
            await ana.force_hub(found)
        assert found.done
        await settle([ana, bo])
        assert hub_of(bo) == (relay_of(new), 1)
        assert ana._client._core(ana.id).state.member(ana.me).home == relay_of(new)


async def test_who_dies_at_any_step_of_it_finishes_it_later(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Between signing and the answer, and the answer and what follows: it is done once."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.rooms
        await scene.is_cut_off()
        await ana.send("ana's")
        await cai.send("cai's")
        await settle([ana, cai])
        await scene.old.stop_client("ana")
        await scene.old.stop_relay()
        deaths = 0
        for step in range(5, 200, stride(9)):
            [ana] = (await scene.old.client("ana", die_after=step)).rooms
            with trio.move_on_after(200):
                with suppress(ClientError):
                    await force(ana, scene.new)
            deaths += await scene.old.client_dies("ana", 200)
            if not scene.old._clients["ana"].stopped.is_set():
                await scene.old.stop_client("ana")
        assert deaths >= fewer(11)
        [ana] = (await scene.old.client("ana")).rooms
        await force(ana, scene.new)
        await settle([ana, bo, cai])
        agree([ana, bo, cai], ["ana's", "cai's"])
        assert len(ana._client._core(ana.id).state.moved) == 1
        assert ana.relay_url == scene.new.url
        assert ana._client._core(ana.id).head.back_to is None


@pytest.mark.parametrize(
    ("code", "kind", "becomes", "words"),
    [
        (Code.SEEN_STALE, NotAllowed, "copy_changed", "look again"),
        (Code.HUB_BEHIND, NotAllowed, "copy_changed", "look again"),
        (Code.CONFLICT, NotAllowed, "copy_changed", "look again"),
        (Code.FORK, RelayRefused, "fork", "another log than yours"),
        (Code.WRONG_RELAY, RelayRefused, "wrong_relay", "check the address"),
        (Code.FORBIDDEN, RelayRefused, "forbidden", "another relay"),
        (Code.QUOTA, RelayRefused, "quota", "ofc rotate"),
        (Code.TRY_AGAIN, RelayRefused, "try_again", "in a minute"),
    ],
)
async def test_each_refusal_says_what_to_do_and_leaves_all_as_it_was(
    tmp_path: Path,
    autojump_clock: trio.abc.Clock,
    monkeypatch: pytest.MonkeyPatch,
    code: Code,
    kind: type[ClientError],
    becomes: str,
    words: str,
) -> None:
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        found = await ana.survey_hub(new.url)
        made = refusing(monkeypatch, *[code] * 5)
        with pytest.raises(kind, match=words) as refused:
            await ana.force_hub(found)
        assert refused.value.code == becomes
        assert "othing was done" in str(refused.value)
        assert len(made) == (5 if code is Code.TRY_AGAIN else 1)
        assert len({move.term for move in made}) == len(made)
        assert (ana.relay_url, ana.status) == (old.url, RoomStatus.ACTIVE)
        await ana.send("as before")
        await settle([ana, bo])
        assert hub_of(bo) == (relay_of(old), 0)


async def test_a_relay_that_still_catches_up_is_asked_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        refusing(monkeypatch, Code.TRY_AGAIN, Code.TRY_AGAIN)
        await force(ana, new)
        await settle([ana, bo])
        assert hub_of(bo) == (relay_of(new), 3)


async def test_an_answer_that_never_comes_is_said_to_be_asked_for_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay has taken it; root, back where it was, says the same again, and it is finished."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.rooms
        await scene.is_cut_off()
        await ana.send("ana's")
        await settle([ana, cai])
        await scene.old.stop_relay()
        found = await ana.survey_hub(scene.new.url)
        take = RoomMachine.force

        def unanswered(self: RoomMachine, turn: Turn, made: SignedRecord, ticket: Ticket) -> None:
            take(self, turn, made, ticket)
            scene.old.lines["ana"].hold()

        with monkeypatch.context() as patched:
            patched.setattr(RoomMachine, "force", unanswered)
            with pytest.raises(Offline, match="say it again"):
                await ana.force_hub(found)
        scene.old.lines["ana"].cut()
        scene.old.lines["ana"].release()
        assert ana.relay_url == scene.old.url
        await force(ana, scene.new)
        await settle([ana, bo, cai])
        agree([ana, bo, cai], ["ana's"])
        assert hub_of(bo) == (relay_of(scene.new), 1)


async def test_who_was_admitted_in_what_is_void_comes_back_by_a_new_invite(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """On the same vault; what it has read stays, and what it said is said by the new member."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        await ana.grant(dan.me, Role.CO_OWNER)
        await settle([ana, bo, dan])
        await old.stop_client("ana")
        part(old, new)
        eve = await local(old, dan, "eve")
        await dan.send("void, by dan")
        await eve.send("void, by eve")
        await settle([dan, eve])
        await old.stop_relay()
        [ana] = (await old.client("ana")).rooms
        await force(ana, new)
        old.to_relays[new.url].up = new.to_relays[old.url].up = True
        live = eve.events()
        await old.start_relay()
        await settle([ana, bo, dan])
        await until(lambda: eve.status is RoomStatus.HIDDEN)
        kinds = [event.kind for event in told(live) if isinstance(event, Alarm)]
        assert kinds == [AlarmKind.ADMISSION_VOID]
        assert {message.text for message in eve.voided()} == {"void, by dan", "void, by eve"}
        await old.stop_client("eve")
        [eve] = (await old.client("eve")).rooms
        eve = await eve._client.join(await ana.invite(), name="eve", via=old.url)
        await settle([ana, bo, dan, eve])
        agree([ana, bo, dan, eve])
        assert texts(ana) == ["void, by dan", "void, by eve"]
        assert "void, by eve" in texts(eve)


async def test_nothing_is_taken_back_for_a_move_that_does_not_hold_there(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Root's own signature, down to the very beginning, or to where nobody is at home."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await ana.send("something")
        await settle([ana, bo])
        core, head = bo._client._core(bo.id), bo.head
        begin = Seen(0, Hash32(bo.id))
        cases: tuple[tuple[RelayId, dict[str, Any]], ...] = (
            (relay_of(new), {"seen": begin}),
            (RelayId(bytes(32)), {"seen": Seen(head - 1, core.log.hash_at(head - 1) or begin.log)}),
        )
        for hub, changes in cases:
            told_of = signed(ana, moving(ana, hub, new.now(), **changes)).envelope
            connection = bo._client._connection(bo.id)
            with bo._client._turn(connection) as turn, pytest.raises(Refused):
                take_moves(turn, core, (told_of,))
            assert (bo.head, bo.cuts) == (head, 0)
        await bo.send("nobody minds")
        await settle([ana, bo])
        agree([ana, bo], ["something", "nobody minds"])
