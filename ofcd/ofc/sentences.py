"""Every entry of a room that is not somebody's words, as a sentence for people.

`fields` are those of an event's JSON object (records.py). Names in them are already safe to show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ofcd.ofc.console import Fields
from ofcd.ofc.markup import words
from ofcd.ofc.names import short
from ofcd.ofc.text import moment, one_line

__all__ = [
    "ALARM",
    "DIM",
    "PLAIN",
    "WARNING",
    "bot_of",
    "delivery_sentence",
    "label",
    "sentence",
    "style_of",
]

ALARM: Final = "bold red"
WARNING: Final = "yellow"
DIM: Final = "dim"
PLAIN: Final = ""

_WHAT_TO_DO: Final = {
    "fork": "The relay shows members different logs. Send nothing more here: compare `ofc verify` "
    "codes with the others outside this room, and keep the vault, which holds the evidence.",
    "hub_behind": "Perhaps it was put back from an old backup: tell its operator. If that does not "
    "help, the room's root owner moves the room to another relay: `ofc move --force`.",
    "copy_behind": "Your relay does not catch up with the room's own: tell its operator, or leave "
    "it by `ofc home`.",
    "hub_misbehaves": "The relay's word contradicts itself. The evidence is kept; move elsewhere.",
    "sender_fork": "One member's messages contradict each other: two devices share its keys, or "
    "somebody has them. Ask, and evict that member if nobody can explain it.",
    "key_mismatch": "The new room key is not the one announced. It was not taken; ask the owner.",
    "invite_contested": "Two people used one invite: it leaked. Check who joined.",
    "join_abandoned": "Someone took the key and never came in. Run `ofc rotate` in this room.",
    "eviction_void": "Who was removed is back until an owner removes them anew: `ofc evict`.",
    "removal_void": "You are in this room again, until an owner removes you anew: ask one.",
    "admission_void": "Ask the one who let you in for a new invite, and join again: `ofc join`.",
    "two_moves": "Ask the room's root owner, over another channel, which relay is meant.",
    "unproven": "Nobody has signed what would prove it: your relay is mistaken, was put back from "
    "a backup, or lies. Others can tell you whether the room goes on, and where: then `ofc home`. "
    "If it is the room's own relay, its root owner can move the room: `ofc move --force`.",
    "key_replaced": "If you have put back an older copy of the vault, or root has just "
    "moved the room by force, that is why: nothing "
    "is to be done. If not, somebody has your keys: have an owner evict you, and join anew.",
    "key_old": "The room key is overdue. An owner's client has to be online: `ofc serve`.",
}


_STATES: Final = {
    "active": "the room can be reached again",
    "waiting": "what the relay says of this room does not fit what is here, and nothing proves it: "
    "it is asked again, and what you write waits",
    "hidden": "the relay says there is no such room for you; keys and history stay here",
    "frozen": "FROZEN: somebody has signed another log than is here, so nothing more is sent here "
    "unless root moves the room by force",
    "left": "you have left this room",
    "evicted": "you have been removed from this room",
    "closed": "this room is closed",
}
_OUTCOMES: Final = {
    "same": "matched: their keys are genuine",
    "different": "did NOT match: another phrase was typed, or somebody stands between you",
    "expired": "ended without a result: they did not finish it in time",
    "gone": "ended without a result: they are no longer in the room",
    "given_up": "ended without a result: it was given up",
    "restarted": "ended without a result: this program was restarted",
    "broken": "ended without a result: they did not keep to its steps",
}
_OWN_REASON: Final = frozenset({"active", "left", "evicted"})


_NAMED: Final = 3
"""Members named one by one."""


def label(name: str | None, member: str | None) -> str:
    """How a member is called: the name, else the beginning of the id."""
    return name or (short(member) if member else "someone")


def bot_of(sponsor: Fields) -> str:
    """How a bot is marked: whose it is, and whether that member is gone."""
    gone = f" ({sponsor['gone']})" if sponsor.get("gone") else ""
    return f"bot of {one_line(label(sponsor['name'], sponsor['member']))}{gone}"


def delivery_sentence(seq: int, reached: Sequence[str], awaited: Sequence[str]) -> str:
    """How far message `seq` has come, given the names of whose devices are proven to have it."""
    if not reached:
        return f"#{seq} is in the room's log; nobody else is known to have it yet"
    if not awaited:
        return f"#{seq} delivered to {'everybody' if len(reached) > 1 else reached[0]}"
    return f"#{seq} delivered to {_some(reached)}, not known to have come to {_some(awaited)}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def sentence(fields: Fields) -> str:
    """The sentence for an entry that is not a message; its kind alone, if it is of a new kind."""
    made = _SENTENCES.get(fields["kind"])
    told = f"({fields['kind']})" if made is None else made(fields)
    return f"{fields['in']}: {told}" if fields.get("in") else told


def style_of(fields: Fields) -> str:
    """The style a terminal shows the sentence in."""
    return _STYLES.get(fields["kind"], DIM)


def _actor(fields: Fields) -> str:
    return label(fields.get("name"), fields.get("member"))


def _subjects(fields: Fields) -> str:
    return ", ".join(label(s.get("name"), s["member"]) for s in fields.get("subjects", ()))


def _role(fields: Fields) -> str:
    caps = fields.get("caps") or ()
    return f"{fields['role']} [{', '.join(caps)}]" if caps else f"{fields['role']}"


def _because(fields: Fields) -> str:
    reason = one_line(fields.get("reason") or "")
    return f" ({reason})" if reason else ""


def _message_number(fields: Fields) -> str:
    return f"#{fields['target_seq']}"


def _joined(fields: Fields) -> str:
    return f"{_subjects(fields)} joined as {_role(fields)}, admitted by {_actor(fields)}"


def _evicted(fields: Fields) -> str:
    return f"{_actor(fields)} removed {_subjects(fields)}{_because(fields)}; the key was renewed"


def _rotated(fields: Fields) -> str:
    how = ", handed to each member anew" if fields.get("boxed") else ""
    return f"{_actor(fields)} renewed the room key (epoch {fields['epoch']}{how})"


def _reaction(fields: Fields) -> str:
    did = "took back" if fields.get("withdrawn") else "put"
    return f"{_actor(fields)} {did} {one_line(fields['reaction'])} on {_message_number(fields)}"


def _renamed(fields: Fields) -> str:
    before = label(fields.get("before"), fields.get("member"))
    return f"{before} is now called {_actor(fields)}"


def _room_named(fields: Fields) -> str:
    topic = one_line(fields.get("topic") or "")
    named = f"{_actor(fields)} named the room {fields['room_name']!r}"
    return named + (f", topic: {topic}" if topic else "")


def _edit(fields: Fields) -> str:
    text = one_line(words(fields))
    return f"{_actor(fields)} changed {_message_number(fields)} to: {text}"


def _alarm(fields: Fields) -> str:
    advice = _WHAT_TO_DO.get(fields["alarm"], "")
    return f"ALARM ({fields['alarm']}): {one_line(fields['text'])} {advice}".rstrip()


def _unreadable(fields: Fields) -> str:
    reason = fields.get("reason") or "its key never came"
    return f"[a message of {_actor(fields)} that can not be read: {reason}]"


def _invalid(fields: Fields) -> str:
    return (
        f"[an entry under the name of {_actor(fields)} failed a check ({fields['reason']}): "
        "its words are not shown]"
    )


def _key_missing(fields: Fields) -> str:
    return (
        f"the room key (epoch {fields['epoch']}) has not come yet; it was asked for, and messages "
        "from here on are shown when an owner answers"
    )


def _key_found(fields: Fields) -> str:
    lost = f", {fields['lost']} are lost" if fields.get("lost") else ""
    return f"the key came: {fields['recovered']} messages can be read now{lost}"


def _relay_key(fields: Fields) -> str:
    return ("ALARM: " if fields["disputed"] else "") + one_line(fields["text"])


def _void(fields: Fields) -> str:
    entries = f"entries {fields['start']} to {fields['end'] - 1} came to nothing"
    told = f"root moved the room without what its old relay had ordered last: {entries}"
    lost = f"{fields['messages']} messages and {fields['changes']} changes of the room among them"
    return f"{told}, {lost}; {fields['own']} of your own are sent again"


def _link(fields: Fields) -> str:
    detail = one_line(fields.get("text") or "")
    again = f"; next try {moment(fields['retry_at'])}" if fields.get("retry_at") else ""
    return f"the relay is {fields['state']}" + (f" ({detail})" if detail else "") + again


def _compare_asked(fields: Fields) -> str:
    until = moment(fields["until"])
    return (
        f"{_actor(fields)} wants to compare a secret phrase with you: type it into `ofc verify "
        f"--phrase`, with the name of the room and theirs, until {until}"
    )


def _compare_ended(fields: Fields) -> str:
    told = _OUTCOMES.get(fields["outcome"], f"is over ({fields['outcome']})")
    return f"the comparison with {_actor(fields)} {told}"


def _alias(fields: Fields) -> str:
    if fields["same"]:
        return f"{_subjects(fields)}: one person's devices, as both of them say"
    return f"{_subjects(fields)} no longer say that they are one person's devices"


def _status(fields: Fields) -> str:
    told = _STATES.get(fields["state"], f"the room is {fields['state']} now")
    return told + ("" if fields["state"] in _OWN_REASON else _because(fields))


_SENTENCES: Final[dict[str, Callable[[Fields], str]]] = {
    "founded": lambda f: f"{_actor(f)} made this room",
    "joined": _joined,
    "left": lambda f: f"{_subjects(f)} left",
    "evicted": _evicted,
    "role": lambda f: f"{_actor(f)} made {_subjects(f)} {_role(f)}",
    "handover_offer": lambda f: f"{_actor(f)} asks {_subjects(f)} to become the room's root owner",
    "handover": lambda f: f"{_subjects(f)} is the room's root owner now",
    "home": lambda f: f"{_actor(f)} is at home at another relay now ({short(f['relay'])})",
    "move": lambda f: f"{_actor(f)} moved the room to another relay ({short(f['relay'])})",
    "rotated": _rotated,
    "invite_opened": lambda f: f"{_actor(f)} made an invite for {_role(f)}",
    "invite_closed": lambda f: f"{_actor(f)} closed an invite",
    "name": _renamed,
    "room": _room_named,
    "edit": _edit,
    "redaction": lambda f: f"{_actor(f)} removed message {_message_number(f)}",
    "reaction": _reaction,
    "unreadable": _unreadable,
    "invalid": _invalid,
    "alarm": _alarm,
    "key_missing": _key_missing,
    "key_found": _key_found,
    "gap": lambda f: f"the relay no longer keeps entries {f['start']} to {f['end'] - 1}",
    "void": _void,
    "link": _link,
    "relay_key": _relay_key,
    "status": _status,
    "compare_asked": _compare_asked,
    "compare_ended": _compare_ended,
    "alias": _alias,
    "join_asked": lambda f: "someone with an invite asks in",
    "failed": lambda f: f"a message was refused ({f['code']}): {one_line(f['text'])}",
    "notice": lambda f: one_line(f["text"]),
}
_STYLES: Final[dict[str, str]] = {
    "alarm": ALARM,
    "invalid": ALARM,
    "unreadable": WARNING,
    "key_missing": WARNING,
    "status": WARNING,
    "compare_asked": WARNING,
    "failed": WARNING,
    "gap": WARNING,
    "relay_key": WARNING,
    "void": WARNING,
    "notice": PLAIN,
}
