"""`keeper`, a co-owner that needs no sleep: lets guests in, renews keys, greets, and puts out.

Give it the role co-owner (`ofc invite ROOM --bot --role co-owner`; only root can). Everything that
it does is announced in the room. Its settings are `Rules` (keeper_rules.py), as [bot.options].
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from bots import (
    Bot,
    Context,
    HandoverOffer,
    Join,
    JoinRequest,
    Key,
    Member,
    Named,
    NoRight,
    Reaction,
    Rest,
    RoleChange,
    Room,
    Tick,
    owners,
)
from bots.durations import show_duration
from bots.shelf.keeper_rules import AllRules, Rules, read_rules
from bots.shelf.patience import key_of, waits
from ofcd.client import MemberInfo
from ofcd.client import Message as LogMessage
from ofcd.protocol.ids import EventId, MemberId, Sid
from ofcd.protocol.records import Cap, Role

__all__ = ["Vote", "bot"]

YES: Final = "👍"
NO: Final = "👎"
NAME_COMES: Final = 5_000
"""Milliseconds until a newcomer's client has said what its owner is called."""
HOUR: Final = 3_600_000
CONFIRM: Final = HOUR // 6
WAIT: Final = 7 * 24 * HOUR
"""How long a relay keeps a guest's request."""
KEPT: Final = 200
"""Admissions remembered, for `per_day`."""


@frozen
class Vote:
    """A question of the bot's that is answered by reactions; kept under its message's sid."""

    about: str
    """`admit`, `evict` or `handover`."""
    subject: str
    """Whom it is about: a request's id, or a member's."""
    name: str = ""
    asked_by: str = ""


VOTES: Final = Key("vote", Vote, Vote("", ""))
ADMITTED: Final = Key("admitted", list[int], [])
RENEWED: Final = Key("renewed", int, -1)
"""The epoch whose end was asked for last."""

bot = Bot("keeper")


@bot.resource
def all_rules(bot: Bot) -> AllRules:
    """Read once, when the bot starts."""
    return read_rules(bot.options)


def rules_of(rules: AllRules, room: Room) -> Rules:
    """The rules of a room."""
    return rules.of(room.id.hex(), room.name)


def called(member: Member | MemberInfo) -> str:
    """How somebody is called: the name, else the beginning of the id."""
    return member.name or member.mid.hex()[:8]


# -- who comes in ----------------------------------------------------------------------------------


@bot.on_join_request
async def decide(ctx: Context, request: JoinRequest, rules: AllRules) -> None:
    """Let a guest in, where the rules allow it; else ask the owners."""
    name = request.sender.name or "somebody who gives no name"
    guest = f"{name}, invited by {called(request.inviter)}"
    admitted = ctx.memory.room[ADMITTED]
    objection = rules_of(rules, ctx.room).objection(name, request.inviter, admitted, ctx.now)
    if objection:
        asked = await ctx.send(
            f"{guest} as {request.role.value}, asks in, but {objection}. Owners: {YES} lets them "
            f"in, {NO} does not.",
            markdown=False,
            mentions=[one.mid for one in people(ctx.room) if is_owner(one)],
        )
        ctx.memory.room[VOTES.sub(asked.hex())] = Vote("admit", request.id.hex(), name)
        ctx.once(vote_over, ctx.now + WAIT, asked.hex())
        return
    ctx.admit()
    ctx.memory.room[ADMITTED] = [*admitted, ctx.now][-KEPT:]
    await ctx.send(f"I let in {guest}.", markdown=False)


async def decided_by_owner(ctx: Context, vote: Vote, yes: bool) -> None:
    """An owner has answered whether a guest is let in."""
    request = EventId(bytes.fromhex(vote.subject))
    done = ctx.admit(request) if yes else ctx.refuse(request)
    word = f"{'I let in' if yes else 'I do not let in'} {vote.name}, as {called(ctx.sender)} says."
    await ctx.send(word if done else f"{vote.name} does not ask in any more.", markdown=False)


@bot.on(Join)
async def joined(ctx: Context, join: Join, rules: AllRules) -> None:
    """Greet people, once their name is here."""
    if not join.member.is_automatic and rules_of(rules, ctx.room).greeting:
        ctx.once(greet, ctx.now + NAME_COMES, join.member.mid.hex())


@bot.timer(name="greet")
async def greet(ctx: Context, tick: Tick, rules: AllRules) -> None:
    """Say welcome to who is still here."""
    found = [one for one in ctx.room.members() if one.mid.hex() == tick.payload]
    for one in found:
        text = rules_of(rules, ctx.room).welcome(called(one), ctx.room.name)
        await ctx.send(text, markdown=False, mentions=[one.mid])  # a name is anybody's words


# -- who has to go ---------------------------------------------------------------------------------


@bot.command("keeper evict")
async def evict(ctx: Context, rules: AllRules, who: Named, reason: Rest = "") -> None:
    """Remove a member; who is no owner starts a vote about it."""
    if ctx.sender.is_owner:
        # As root the keeper could put out any of them; who asks it could not.
        if who.is_owner:
            await ctx.reply("I remove no owner: only root does that.", markdown=False)
        else:
            await evict_now(ctx, who, str(reason or ""), f"as {called(ctx.sender)} says")
        return
    kept = rules_of(rules, ctx.room)
    refusal = why_no_vote(ctx, kept, who)
    if refusal:
        await ctx.reply(refusal, markdown=False)
        return
    voters = [one for one in people(ctx.room) if one.mid != who.mid]
    because = f" ({reason})" if reason else ""
    asked = await ctx.send(
        f"{called(ctx.sender)} wants {called(who)} removed{because}. {YES} agrees: "
        f"{kept.votes_needed(len(voters))} of {len(voters)} members are needed, "
        f"{called(ctx.sender)} among them, within {kept.vote_time}.",
        markdown=False,
    )
    vote = Vote("evict", who.mid.hex(), called(who), ctx.sender.mid.hex())
    ctx.memory.room[VOTES.sub(asked.hex())] = vote
    ctx.once(vote_over, ctx.now + kept.vote_time.ms, asked.hex())


def why_no_vote(ctx: Context, rules: Rules, who: Member) -> str:
    """Why there is no vote about a member; "" where there may be one."""
    voters = [one for one in people(ctx.room) if one.mid != who.mid]
    if not rules.vote:
        return "Only owners remove anyone here."
    if who.is_owner or who.is_automatic:
        return "Owners and bots are not voted out."
    if len(voters) < rules.votes_needed(len(voters)):
        return f"There are too few members for a vote: it takes {rules.votes_needed(len(voters))}."
    if any(one.subject == who.mid.hex() for _, one in ctx.memory.room.under(VOTES)):
        return f"There is a vote about {called(who)} already."
    return ""


async def evict_now(ctx: Context, who: Member, reason: str, because: str) -> None:
    """Remove them, and say so; or say what stands against it."""
    try:
        ctx.evict(who, reason=reason[:100])
    except NoRight as lacking:
        await ctx.send(f"I can not remove {called(who)}: {lacking}.", markdown=False)
    else:
        await ctx.send(f"I remove {called(who)}, {because}.", markdown=False)


async def count(ctx: Context, key: Key[Vote], message: LogMessage, rules: Rules) -> int | None:
    """Count a vote, and act on it once it is passed: None then, else how many still lack."""
    vote = ctx.memory.room[key]
    there = {one.mid.hex(): one for one in ctx.room.members()}
    target = there.get(vote.subject)
    if target is None or is_owner(target):
        del ctx.memory.room[key]
        return None
    # Who joined after the question was asked has no say in it.
    may = {
        one.mid
        for one in people(ctx.room)
        if one.joined_seq < message.seq and one.mid != target.mid
    }
    agree = {MemberId(bytes.fromhex(vote.asked_by))}
    for emoji, mids in message.reactions:
        agree |= set(mids) if emoji.startswith(YES) else set()
    needed = rules.votes_needed(len(may))
    if len(agree & may) < needed:
        return needed - len(agree & may)
    del ctx.memory.room[key]
    who = Member(target.mid, target.name, target.role, target.caps)
    await evict_now(ctx, who, "by vote", f"by {len(agree & may)} votes of {len(may)}")
    return None


@bot.timer(name="vote-over")
async def vote_over(ctx: Context, tick: Tick, rules: AllRules) -> None:
    """A question has had its time, and all that was answered within it is counted."""
    key = VOTES.sub(key_of(tick))
    if key not in ctx.memory.room or waits(ctx, vote_over, tick):
        return
    vote = ctx.memory.room[key]
    if vote.about == "evict":
        sent = ctx.room.sent(Sid(bytes.fromhex(key_of(tick))))
        message = ctx.room.message(sent.event_id) if sent else None
        if message and await count(ctx, key, message, rules_of(rules, ctx.room)) is None:
            return
        await ctx.send(f"The vote is over: {vote.name} stays.", markdown=False)
    elif vote.about == "admit":
        ctx.refuse(EventId(bytes.fromhex(vote.subject)))
        await ctx.send(f"No owner has answered: {vote.name} is not let in.", markdown=False)
    else:
        await ctx.send(f"Nobody has confirmed: {vote.name} does not become root.", markdown=False)
    del ctx.memory.room[key]


@bot.on(Reaction, to_own=True, where=lambda one: one.emoji[:1] in (YES, NO) and not one.withdrawn)
async def answered(ctx: Context, reaction: Reaction, who: Member, rules: AllRules) -> None:
    """A reaction to one of the bot's questions."""
    message = ctx.room.message(reaction.target)
    if message is None:
        return
    key = VOTES.sub(message.sid.hex())
    vote, yes = ctx.memory.room[key], reaction.emoji.startswith(YES)
    if vote.about == "evict":
        await count(ctx, key, message, rules_of(rules, ctx.room))
    elif vote.about == "admit" and who.is_owner:
        del ctx.memory.room[key]
        await decided_by_owner(ctx, vote, yes)
    elif vote.about == "handover":
        await confirmed(ctx, key, message, yes)


# -- keys ------------------------------------------------------------------------------------------


@bot.command("keeper rotate", allow=owners)
async def rotate(ctx: Context, *, boxed: bool = False) -> None:
    """Renew the room's key; with --boxed, hand it to each member anew."""
    try:
        ctx.rotate(boxed=boxed)
    except NoRight as lacking:
        await ctx.reply(f"I can not: {lacking}.", markdown=False)
    else:
        await ctx.reply("I renew the key.", markdown=False)


@bot.every("15m")
async def look_at_key(ctx: Context, rules: AllRules) -> None:
    """Renew a key that is old, if anybody has spoken under it."""
    room, kept = ctx.room, rules_of(rules, ctx.room)
    age = ctx.now - room.epoch_since
    asked = ctx.memory.room[RENEWED] == room.epoch
    if asked or not kept.rotate or age < kept.rotate_every.ms:
        return
    if not room.is_owner or not was_used(room):
        return
    ctx.memory.room[RENEWED] = room.epoch
    ctx.rotate()
    await ctx.send(f"The key is {show_duration(age - age % HOUR)} old: I renew it.", markdown=False)


def was_used(room: Room) -> bool:
    """Whether anybody else has spoken under the current key."""
    return any(one.seq > room.epoch_seq and not one.mine for one in room.messages())


# -- who owns it -----------------------------------------------------------------------------------


@bot.command("keeper handover", allow=owners)
async def handover(ctx: Context, to: Named) -> None:
    """Hand the room over to a member, who becomes root in my place: whose bot I am has that say."""
    if not ctx.room.is_root:
        await ctx.reply("I am not root here: only root can hand the room over.", markdown=False)
        return
    if to.is_automatic:
        await ctx.reply("I hand over to people only.", markdown=False)
        return
    heirs = who_hands_over(ctx)
    if ctx.sender.mid not in {one.mid for one in heirs}:
        names = " and ".join(map(called, heirs))
        await ctx.reply(f"That is for {names or 'nobody who is here'} to say.", markdown=False)
        return
    names, all_of = ", ".join(map(called, heirs)), " all of you" if len(heirs) > 1 else ""
    asked = await ctx.send(
        f"{called(to)} ({to.mid.hex()[:8]}) would be root here, above all owners. "
        f"{names}, confirm{all_of} with {YES} within 10 minutes.",
        markdown=False,
        mentions=[one.mid for one in heirs],
    )
    vote = Vote("handover", to.mid.hex(), called(to), ctx.sender.mid.hex())
    ctx.memory.room[VOTES.sub(asked.hex())] = vote
    ctx.once(vote_over, ctx.now + CONFIRM, asked.hex())


def who_hands_over(ctx: Context) -> list[MemberInfo]:
    """Who has to agree that the keeper gives root away: whose bot it is, who made it root.

    If that one is no owner here any more: all owners, lest the room is without a person for ever.
    """
    owners_here = [one for one in people(ctx.room) if is_owner(one)]
    return [one for one in owners_here if one.mid == ctx.owner] or owners_here


async def confirmed(ctx: Context, key: Key[Vote], message: LogMessage, yes: bool) -> None:
    """One of those whom a handover was asked of has answered: one no ends it, all have to agree."""
    vote = ctx.memory.room[key]
    heirs = {one.mid for one in who_hands_over(ctx)}
    if ctx.sender.mid not in heirs:
        return
    agree = {mid for emoji, mids in message.reactions if emoji.startswith(YES) for mid in mids}
    if not yes:
        del ctx.memory.room[key]
        await ctx.send("Then I stay root.", markdown=False)
    elif heirs <= agree:
        del ctx.memory.room[key]
        await hand_over(ctx, vote)


async def hand_over(ctx: Context, vote: Vote) -> None:
    """It is agreed that a member becomes root."""
    try:
        ctx.hand_over(MemberId(bytes.fromhex(vote.subject)))
    except NoRight as lacking:
        await ctx.send(f"I can not: {lacking}.", markdown=False)
    else:
        await ctx.send(f"I ask {vote.name} to become root: they accept, or not.", markdown=False)


@bot.on(HandoverOffer)
async def offered(ctx: Context, offer: HandoverOffer, rules: AllRules) -> None:
    """Root wants to hand the room over to the bot."""
    if not offer.to_me:
        return
    if rules_of(rules, ctx.room).accept_root:
        ctx.accept_handover()
        await ctx.send(f"I take the room over from {called(offer.sender)}.", markdown=False)
    else:
        await ctx.send("I am not set up to become root (accept_root).", markdown=False)


@bot.on(RoleChange)
async def changed(ctx: Context, change: RoleChange) -> None:
    """Say what can be done as what the bot is now."""
    if change.member.is_me and change.member.role is Role.MEMBER:
        await ctx.send("I am no owner here any more: I renew no keys, and remove nobody.")


# -- members ---------------------------------------------------------------------------------------


def is_owner(member: MemberInfo) -> bool:
    """Root or co-owner."""
    return member.role in (Role.ROOT, Role.CO_OWNER)


def people(room: Room) -> list[MemberInfo]:
    """The members who are neither bots nor bridges, and may speak."""
    automatic = {Cap.BOT, Cap.BRIDGE}
    return [
        one for one in room.members() if not automatic & one.caps and one.role is not Role.READONLY
    ]
