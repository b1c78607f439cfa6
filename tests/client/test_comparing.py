"""Comparing phrases between clients: people begin it, machines never do, and it ends clearly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from ofcd.client import ClientError, ComparisonEnded, NotAllowed, Offline, Room
from ofcd.client.events import CompareAsked
from ofcd.e2e.bodies import Compare, CompareEnd
from ofcd.e2e.comparing import RUN_TIME, Comparison, compared_secret
from ofcd.e2e.errors import PhraseTooShort
from ofcd.e2e.keys import new_sid
from ofcd.protocol.ids import MemberId, Sid
from ofcd.protocol.records import Role
from tests.client.world import Town, settled, until

PHRASE = "purple elephant"
DAY = 24 * 3600


class Trial:
    """One person's call of `Room.compare`, in the background."""

    def __init__(self) -> None:
        self.result: bool | None = None
        self.failed = ""
        self.scope = trio.CancelScope()
        self.done = trio.Event()

    async def run(self, room: Room, other: MemberId, phrase: str) -> None:
        with self.scope:
            try:
                self.result = await room.compare(other, phrase)
            except ClientError as failed:
                self.failed = failed.code
        self.done.set()


Start = Callable[..., Trial]


@pytest.fixture
async def start(nursery: trio.Nursery) -> Start:
    """Begins a comparison of one room's member with another's."""

    def begin(room: Room, other: Room, phrase: str = PHRASE) -> Trial:
        trial = Trial()
        nursery.start_soon(trial.run, room, other.me, phrase)
        return trial

    return begin


async def over(*trials: Trial) -> list[bool | str | None]:
    """What came of them."""
    with trio.fail_after(2 * RUN_TIME / 1000):
        for trial in trials:
            await trial.done.wait()
    return [trial.failed or trial.result for trial in trials]


def said(room: Room) -> list[Compare | CompareEnd]:
    """The steps in the room's log, as this client has it."""
    core = room._client._core(room.id)
    contents = map(core.archive.content, core.archive.entries(room._client.vault))
    return [content for content in contents if isinstance(content, Compare | CompareEnd)]


async def until_said(room: Room, count: int) -> None:
    await until(lambda: len(said(room)) >= count)


async def away(town: Town, room: Room, name: str) -> None:
    """This person has no network."""
    line = town.world.lines[name]
    line.up = False
    line.cut()
    await until(lambda: not room.is_live)


def back(town: Town, room: Room, name: str) -> None:
    """And has it again."""
    town.world.lines[name].up = True
    room._client.retry_now()


def verified(room: Room, other: Room) -> int | None:
    return room.member(other.me).verified


# -- what it is for --------------------------------------------------------------------------------


async def test_the_same_phrase_is_verified_on_both_sides(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Bo is told that Ana asks, and answers; both keep the result, over a restart too."""
    ana, bo = await town.pair()
    asked: list[CompareAsked] = []
    with bo.events() as events:
        first = start(ana, bo)
        await until_said(bo, 1)
        async for event in events:
            if isinstance(event, CompareAsked):
                asked.append(event)
                break
        assert [(e.room, e.mid) for e in asked] == [(bo.id, ana.me)]
        assert 0 < asked[0].until - bo._client.now() <= RUN_TIME
        assert not first.done.is_set()
        assert await over(first, start(bo, ana, " Purple ELEPHANT")) == [True, True]
    assert verified(ana, bo) is not None
    assert verified(bo, ana) is not None
    assert verified(ana, ana) is None
    known = verified(bo, ana)
    assert verified((await town.again("bo")).room, ana) == known


async def test_it_is_no_chat(town: Town, start: Start, autojump_clock: MockClock) -> None:
    """Nothing is shown, counted as unread, or told to an application that reads the log."""
    ana, bo = await town.pair()
    head = bo.head
    assert await over(start(ana, bo), start(bo, ana)) == [True, True]
    await settled(ana, bo)
    assert bo.head > head
    assert bo.messages() == ana.messages() == []
    assert (ana.unread, bo.unread) == (0, 0)
    assert [event async for event in bo.events_since(head, follow=False)] == []


async def test_different_phrases_verify_nothing(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Both sides learn that, and no more."""
    ana, bo = await town.pair()
    first = start(ana, bo, "purple elephant")
    await until_said(bo, 1)
    assert await over(first, start(bo, ana, "yellow elephant")) == [False, False]
    assert verified(ana, bo) is verified(bo, ana) is None


async def test_others_in_the_room_have_no_part_in_it(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Cy sees sealed steps go by; his client does nothing, and learns of no offer."""
    ana, bo = await town.pair()
    cy = await town.join(ana, "cy")
    await settled(ana, bo, cy)
    with cy.events() as events:
        assert await over(start(ana, bo), start(bo, ana)) == [True, True]
        await settled(ana, bo, cy)
        told = []
        with trio.move_on_after(1):
            async for event in events:
                told.append(event)
    assert [e for e in told if isinstance(e, CompareAsked | ComparisonEnded)] == []
    assert verified(cy, ana) is verified(ana, cy) is None


# -- people begin it -------------------------------------------------------------------------------


async def test_nobody_answers_by_itself(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Without Bo's phrase there is no second step; after ten minutes it is over, unverified."""
    ana, bo = await town.pair()
    began = trio.current_time()
    assert await over(start(ana, bo)) == ["expired"]
    assert trio.current_time() - began == pytest.approx(RUN_TIME / 1000, abs=5)
    assert [step.step for step in said(bo) if isinstance(step, Compare)] == [1]
    assert verified(ana, bo) is None


async def test_an_offer_that_is_over_is_not_answered(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Bo's phrase after that begins a run of his own, which Ana's may answer."""
    ana, bo = await town.pair()
    await over(start(ana, bo))
    late = start(bo, ana)
    await until_said(ana, 2)
    assert [step.step for step in said(ana) if isinstance(step, Compare)] == [1, 1]
    assert await over(late, start(ana, bo)) == [True, True]


async def test_an_offer_waits_over_a_restart(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Bo's client was asked, ended and started anew before he typed the phrase."""
    ana, bo = await town.pair()
    first = start(ana, bo)
    await until_said(bo, 1)
    bo = (await town.again("bo")).room
    assert await over(first, start(bo, ana)) == [True, True]


async def test_both_begin_at_once(town: Town, start: Start, autojump_clock: MockClock) -> None:
    """Two first steps cross: the one that is first in the log goes on, and both learn of it."""
    ana, bo = await town.pair()
    assert await over(start(ana, bo), start(bo, ana)) == [True, True]
    await settled(ana, bo)
    runs = {step.run for step in said(ana) if step.to in (ana.me, bo.me) and is_step(step, 4)}
    assert len(runs) == 1
    for _ in range(2):
        assert await over(start(ana, bo, "one phrase"), start(bo, ana, "another one")) == [
            False, False,
        ]  # fmt: skip


def is_step(content: Compare | CompareEnd, number: int) -> bool:
    return isinstance(content, Compare) and content.step == number


async def test_first_steps_that_cross_offline(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Both begin without having seen the other's step: one run, one result."""
    ana, bo = await town.pair()
    for name in ("ana", "bo"):
        town.world.lines[name].delay = lambda: 2.0
    trials = start(ana, bo), start(bo, ana)
    assert await over(*trials) == [True, True]


async def test_a_first_step_withdrawn_is_not_sent(town: Town, autojump_clock: MockClock) -> None:
    """Theirs comes in the very turn that would send ours: sent, it would be taken for a new run."""
    ana, bo = await town.pair()
    outbox, sid = ana._client._machine(ana.id).outbox, new_sid()
    with ana._client.transaction() as tx:
        outbox.queue(tx, Compare(new_sid(), bo.me, 1, b"ours"), sid, ana._client.now())
    with ana._change() as turn:
        assert outbox.withdraw(turn, sid)
        ana._client._machine(ana.id).pump(turn)
        assert turn.frames == []
    await settled(ana, bo)
    assert said(bo) == said(ana) == []


async def test_three_runs_a_day(town: Town, start: Start, autojump_clock: MockClock) -> None:
    """Each is a guess, whoever begins it; the count outlives a restart, and a day ends it."""
    ana, bo = await town.pair()
    for _ in range(3):
        first = start(ana, bo)
        await until_said(bo, 1)
        assert await over(first, start(bo, ana, "a wrong guess")) == [False, False]
    assert await over(start(ana, bo)) == ["compare_limit"]
    bo = (await town.again("bo")).room
    assert await over(start(bo, ana)) == ["compare_limit"]
    await trio.sleep(DAY)
    assert await over(start(ana, bo), start(bo, ana)) == [True, True]


async def test_coming_back_as_a_new_member_gives_no_new_guesses(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Evicted and back on the same vault: what was guessed counts; a first step that was never sent
    is no word of the new member's."""
    ana, bo = await town.pair()
    for _ in range(3):
        first = start(bo, ana)
        await until_said(ana, 1)
        assert await over(first, start(ana, bo, "a wrong guess")) == [False, False]
    await away(town, bo, "bo")
    with bo._client.transaction() as tx:
        step = Compare(new_sid(), ana.me, 1, b"unsent")
        bo._client._machine(bo.id).outbox.queue(tx, step, new_sid(), bo._client.now())
    before = len(said(ana))
    await ana.evict(bo.me)
    town.world.lines["bo"].up = True
    bo = await bo._client.join(await ana.invite(), name="Bo")
    await settled(ana, bo)
    assert len(said(ana)) == before
    assert bo.outbox() == []
    assert await over(start(bo, ana)) == ["compare_limit"]


async def test_the_limit_is_for_each_member(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Who has spent Ana's patience has not spent another's."""
    ana, bo = await town.pair()
    cy = await town.join(ana, "cy")
    for _ in range(3):
        trial = start(ana, bo)
        await until(lambda: ana._client._machine(ana.id).comparing._open)
        trial.scope.cancel()
        await over(trial)
    assert await over(start(ana, bo)) == ["compare_limit"]
    assert await over(start(ana, cy), start(cy, ana)) == [True, True]


async def test_what_is_refused_at_once(town: Town, start: Start, autojump_clock: MockClock) -> None:
    """Oneself, a run more with somebody, a phrase anyone guesses, and without the right to post."""
    ana, bo = await town.pair()
    with pytest.raises(PhraseTooShort):
        await ana.compare(bo.me, "tea")
    with pytest.raises(NotAllowed) as refused:
        await ana.compare(ana.me, PHRASE)
    assert refused.value.code == "forbidden"
    first = start(ana, bo)
    await until_said(bo, 1)
    assert await over(start(ana, bo)) == ["compare_running"]
    assert await over(first, start(bo, ana)) == [True, True]
    await ana.grant(bo.me, Role.READONLY)
    await settled(ana, bo)
    assert await over(start(bo, ana)) == ["forbidden"]
    assert ana._client.relays[0].online, "no turn failed on the way"


async def test_without_a_link_nothing_begins(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """And no run is counted."""
    ana, bo = await town.pair()
    await town.world.stop_relay()
    for _ in range(4):
        with pytest.raises(Offline):
            await ana.compare(bo.me, PHRASE)
    await town.world.start_relay()
    for room in (ana, bo):
        room._client.retry_now()
    assert await over(start(ana, bo), start(bo, ana)) == [True, True]


# -- how it ends -----------------------------------------------------------------------------------


async def test_giving_up_is_told(town: Town, start: Start, autojump_clock: MockClock) -> None:
    """Ana stops waiting: Bo's phrase after that answers nothing."""
    ana, bo = await town.pair()
    first = start(ana, bo)
    await until_said(bo, 1)
    first.scope.cancel()
    await over(first)
    await until_said(bo, 2)
    assert isinstance(said(bo)[-1], CompareEnd)
    assert bo._client._machine(bo.id).comparing._offers == {}
    assert verified(ana, bo) is None


async def test_a_restart_ends_the_run(town: Town, start: Start, autojump_clock: MockClock) -> None:
    """Both ends are told: who was restarted, and who waits for it."""
    ana, bo = await town.pair()
    await away(town, bo, "bo")
    first = start(ana, bo)
    await until_said(ana, 1)
    await town.stop("ana")
    first.scope.cancel()
    again = await town.person("ana")
    ended: list[str] = []
    with again.room.events() as events:
        async for event in events:
            if isinstance(event, ComparisonEnded):
                ended.append(event.outcome)
                break
    assert ended == ["restarted"]
    back(town, bo, "bo")
    await settled(again.room, bo)
    assert bo._client._machine(bo.id).comparing._offers == {}


async def test_an_answer_after_a_restart_is_in_vain(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Bo answered, his program ended, Ana's third step comes: her run is over too."""
    ana, bo = await town.pair()
    first = start(ana, bo)
    await until_said(bo, 1)
    await away(town, ana, "ana")
    second = start(bo, ana)
    await until_said(bo, 2)
    await town.again("bo")
    back(town, ana, "ana")
    assert await over(first) == ["given_up"]
    second.scope.cancel()
    assert [member.verified for member in ana.members()] == [None, None]


async def test_a_member_who_is_evicted_is_not_waited_for(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Neither at the one end nor at the other, and nothing can be begun from either."""
    ana, bo = await town.pair()
    cy = await town.join(ana, "cy")
    first, theirs = start(ana, bo), start(bo, cy)
    await until_said(ana, 2)
    began = trio.current_time()
    await ana.evict(bo.me)
    assert await over(first, theirs) == ["gone", "evicted"]
    for room, other in ((ana, bo), (bo, ana)):
        with pytest.raises(NotAllowed):
            await room.compare(other.me, PHRASE)
    with pytest.raises(NotAllowed):
        await bo.set_alias(ana.me)
    assert trio.current_time() - began < 5


# -- hostile ---------------------------------------------------------------------------------------


class ByHand:
    """Bo's end of a comparison, made by hand: to do what no client of ours does."""

    def __init__(self, room: Room, ana: Room) -> None:
        self.room = room
        core = room._client._core(room.id)
        self._state = core.state
        self._us, self._them = core.state.member(room.me), core.state.member(ana.me)

    async def answer(self, first: Compare, phrase: str = PHRASE) -> Comparison:
        """Take Ana's first step and send the second."""
        made = self._comparison(first.run, phrase, begins=False)
        await self.room.send_body(taken(made, first))
        return made

    async def begin(self) -> Comparison:
        """Send a first step."""
        made = self._comparison(new_sid(), PHRASE, begins=True)
        await self.room.send_body(made.begin())
        return made

    def _comparison(self, run: Sid, phrase: str, *, begins: bool) -> Comparison:
        room, relay = self._state.room, self._state.relay_id
        pair = (self._us, self._them) if begins else (self._them, self._us)
        secret = compared_secret(room, relay, run, *pair, phrase)
        return Comparison(run, self._them.mid, secret, begins=begins)


def taken(comparison: Comparison, step: Compare) -> Compare:
    answer = comparison.take(step)
    assert answer is not None
    return answer


def step_of(room: Room, number: int) -> Compare:
    [found] = [c for c in said(room) if isinstance(c, Compare) and c.step == number]
    return found


async def test_a_replayed_step_ends_the_run(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Bo's second step once more, where the fourth is due: over, and nobody is verified."""
    ana, bo = await town.pair()
    first = start(ana, bo)
    await until_said(bo, 1)
    await ByHand(bo, ana).answer(step_of(bo, 1))
    await until_said(bo, 3)
    await bo.send_body(step_of(bo, 2))
    assert await over(first) == ["broken"]
    await until_said(bo, 5)
    assert isinstance(said(bo)[-1], CompareEnd)
    assert verified(ana, bo) is None


async def test_a_last_step_withheld_verifies_nothing(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Bo learns that the phrase is right and keeps it to himself: Ana's end runs out of time."""
    ana, bo = await town.pair()
    first = start(ana, bo)
    await until_said(bo, 1)
    made = await ByHand(bo, ana).answer(step_of(bo, 1))
    await until_said(bo, 3)
    made.take(step_of(bo, 3))
    assert made.result is True
    assert await over(first) == ["expired"]
    assert verified(ana, bo) is None


async def test_a_guess_costs_a_run(town: Town, start: Start, autojump_clock: MockClock) -> None:
    """A wrong phrase made by hand is one guess, and the right one after it comes too late."""
    ana, bo = await town.pair()
    first = start(ana, bo)
    await until_said(bo, 1)
    made = await ByHand(bo, ana).answer(step_of(bo, 1), "a wrong guess")
    await until_said(bo, 3)
    await bo.send_body(taken(made, step_of(bo, 3)))
    assert await over(first) == [False]
    await ByHand(bo, ana).answer(step_of(bo, 1))
    await settled(ana, bo)
    assert len(said(ana)) == 5, "no step was answered after the end"
    assert verified(ana, bo) is None


async def test_steps_of_others_and_of_other_runs_change_nothing(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Cy's step in Bo's name of run, Bo's of a run that is none, one addressed to somebody else."""
    ana, bo = await town.pair()
    cy = await town.join(ana, "cy")
    await settled(ana, bo, cy)
    first = start(ana, bo)
    await until_said(cy, 1)
    run = step_of(cy, 1).run
    for number in range(2, 5):
        await cy.send_body(Compare(run, ana.me, number, b"noise"))
        await bo.send_body(Compare(new_sid(), ana.me, number, b"noise"))
        await bo.send_body(Compare(run, cy.me, number, b"noise"))
    await cy.send_body(CompareEnd(run, ana.me, "given_up"))
    await bo.send_body(CompareEnd(new_sid(), ana.me, "given_up"))
    await settled(ana, bo, cy)
    assert not first.done.is_set()
    assert await over(first, start(bo, ana)) == [True, True]
    assert verified(ana, cy) is None


async def test_steps_nobody_asked_for_are_not_answered(
    town: Town, autojump_clock: MockClock
) -> None:
    """A flood of offers and steps at a client whose person typed nothing: one offer, no answer."""
    ana, bo = await town.pair()
    with ana.events() as events:
        for number in (1, 2, 3, 4, 1, 1):
            await bo.send_body(Compare(new_sid(), ana.me, number, b"noise"))
        await settled(ana, bo)
        asked = []
        with trio.move_on_after(1):
            async for event in events:
                asked += [event] if isinstance(event, CompareAsked) else []
    assert len(asked) == 1
    assert len(ana._client._machine(ana.id).comparing._offers) == 1
    assert {content.to for content in said(bo)} == {ana.me}


async def test_an_offer_of_noise_ends_clearly(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """A first step that is none: Ana's phrase meets it, and she is told."""
    ana, bo = await town.pair()
    await bo.send_body(Compare(new_sid(), ana.me, 1, b"noise"))
    await settled(ana, bo)
    assert await over(start(ana, bo)) == ["broken"]
    assert verified(ana, bo) is None
    assert await over(start(ana, bo), start(bo, ana)) == [True, True]


async def test_a_run_begun_anew_ends_the_one_before(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Bo's end forgot a run that was past its first steps: Ana's is given up, his new one waits."""
    ana, bo = await town.pair()
    first = start(ana, bo)
    await until_said(bo, 1)
    await ByHand(bo, ana).answer(step_of(bo, 1))
    await until_said(bo, 3)
    await bo.send_body(Compare(new_sid(), ana.me, 1, b"noise"))
    assert await over(first) == ["given_up"]
    assert len(ana._client._machine(ana.id).comparing._offers) == 1


async def test_a_first_step_for_a_first_step(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Bo's end begins anew though it had seen Ana's first step: she answers, once, with it."""
    ana, bo = await town.pair()
    first = start(ana, bo)
    await until_said(bo, 1)
    made = await ByHand(bo, ana).begin()
    await until_said(bo, 3)
    await bo.send_body(taken(made, step_of(bo, 2)))
    assert await over(first) == [True]
    await until_said(bo, 5)
    made.take(step_of(bo, 4))
    assert made.result is True


async def test_old_offers_are_passed_over(
    town: Town, start: Start, autojump_clock: MockClock
) -> None:
    """Bo's client was away for longer than a run takes."""
    ana, bo = await town.pair()
    first = start(ana, bo)
    await town.stop("bo")
    assert await over(first) == ["expired"]
    bo = (await town.person("bo")).room
    await settled(ana, bo)
    assert bo._client._machine(bo.id).comparing._offers == {}
