"""What a mail to an address of ours means, and bringing it into the room (trio).

The order: whose address, a report, somebody who wants no more, a program, who may speak (M3), too
much at once (M4), and only then its words. A reply is given once everything is on disk.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import trio
from attrs import evolve, field, frozen

from bridge.core.model import Verdict
from bridge.core.network import Host
from bridge.email import limits
from bridge.email.addressed import why_not_here
from bridge.email.addressing import Own, Purpose, own_address
from bridge.email.automatic import Origin, origin
from bridge.email.identity import (
    Proof,
    Txt,
    admits,
    proof_by_dkim,
    proof_by_server,
    servers_named,
)
from bridge.email.inbox import Inbox
from bridge.email.lmtp import NO_ADDRESS
from bridge.email.parsing import Mail, digest_of, parse
from bridge.email.reading import Deadly, Readers
from bridge.email.reports import bounces, worst
from bridge.email.saying import Sayer
from bridge.email.schedule import may_pass
from bridge.email.settings import EmailPlace, EmailSettings
from bridge.email.store import Held, Store, Subscriber
from bridge.email.submitting import Submitter, masked
from ofcd.client import VaultUnwritable
from ofcd.client.applog import traceback_of

if TYPE_CHECKING:
    from bridge.email.network import EmailNetwork

__all__ = ["Incoming", "Reply"]

Reply = tuple[int, str]
TAKEN: Final[Reply] = (250, "2.0.0 Taken")
LATER: Final[Reply] = (451, "4.3.0 Not now, try again")
NO_SPACE: Final[Reply] = (452, "4.3.1 No space here, try again")
BROKEN: Final[Reply] = (451, "4.3.5 Something is wrong here, try again")
TOO_LARGE: Final[Reply] = (250, "2.0.0 Counted, and not kept: too large to wait for a word")
TOO_MANY: Final[Reply] = (452, "4.3.1 Too much waits for an owner's word")
_DNS_SECONDS: Final = 20.0
_HELD_BYTES: Final = 5 * limits.MIB
_WITHOUT_RESULTS: Final = 3
"""Mails in a row: one alone may have come another way."""
_WINDOWS: Final = 10_000
_RESOLVERS: Final = 4
"""Signatures that are checked at once: a name server of the sender's may take its time."""


@frozen
class _Admission:
    allowed: bool
    proof: Proof
    why: str
    subscriber: Subscriber | None = field(default=None, repr=False)


class Incoming:
    """Takes mails for all places of one network."""

    def __init__(
        self,
        network: EmailNetwork,
        host: Host,
        store: Store,
        submitter: Submitter,
        txt: Txt | None = None,
    ) -> None:
        self._network = network
        self._host = host
        self._store = store
        self._submitter = submitter
        self._txt = txt
        self._settings: EmailSettings = network.settings
        self._readers = Readers(host, store)
        self._resolvers = {one: trio.CapacityLimiter(_RESOLVERS) for one in (True, False)}
        """For those who may write, and for strangers: who can make them slow."""
        self._latest: tuple[bytes, Mail] | None = None
        """What was read last: one mail for many of our addresses is read once."""
        self._windows: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self._sayer = Sayer(network, host, store, submitter, self._readers, self.count)
        say = partial(self._sayer.say, proven=True)
        self.inbox = Inbox(host, store, network.places, self.read, say, network.hourly)
        self.without_results = 0
        """Mails in a row in which the server that is to check senders has written nothing."""
        self.counts: dict[str, int] = {}
        """How many mails were what, for the status."""

    def own(self, address: str) -> Own | None:
        """What an address means; None where mail to it is not taken."""
        settings = self._settings
        own = own_address(address, domain=settings.domain, bounce=settings.bounce)
        if own is None or own.purpose is Purpose.BOUNCE:
            return own
        place = self._network.places.get(own.local)
        if place is None or (own.purpose is Purpose.ROOM and not place.takes):
            return None
        if own.purpose is Purpose.ROOM or self._store.by_token(self._host.vault, own.token):
            return own
        return None  # who wants to leave by an old address is to learn that nothing came of it

    def knows(self, address: str) -> bool:
        """Whether mail to an address is taken at all: asked for each that comes."""
        if self.own(address) is None:
            self.count("no such address")
            return False
        return True

    def _is_ours(self, address: str) -> bool:
        """Whether the bridge itself writes under an address."""
        settings = self._settings
        own = own_address(address, domain=settings.domain, bounce=settings.bounce)
        if own is None:
            return False
        return own.purpose is Purpose.BOUNCE or own.local in self._network.places

    async def take(self, raw: bytes, sender: str | None, recipient: str) -> Reply:
        """One mail for one recipient. `sender`: of the envelope, None where it is not known.

        A mistake of ours costs this mail, which comes again, and not the bridge.
        """
        try:
            return await self._take(raw, sender, recipient)
        except Deadly as error:
            return self._hold_unread(recipient, raw, str(error))
        except VaultUnwritable as error:
            self._network.hourly.disk(error)
            return NO_SPACE
        except Exception as error:  # whatever it is: one mail must not end what serves all others
            self._host.operator("a mail could not be handled", trace=traceback_of(error))
            self.count("not handled")
            return BROKEN

    def _hold_unread(self, recipient: str, raw: bytes, why: str) -> Reply:
        own = self.own(recipient)
        if own is None or own.local not in self._network.places:
            self.count("not handled")  # a report, and nobody is to decide on it
            self._host.operator("a report could not be read", why=why)
            return TAKEN
        held = Held(sender="somebody", why=why, ts=self._host.now(), mail_id=digest_of(raw))
        return self._hold(own.local, held, raw, told=False)

    async def _take(self, raw: bytes, sender: str | None, recipient: str) -> Reply:
        own = self.own(recipient)
        if own is None:
            return NO_ADDRESS
        if own.purpose is Purpose.ROOM and self.inbox.is_full(own.local):
            return LATER
        mail = await self.read(raw)
        if own.purpose is Purpose.BOUNCE:
            self._report(own.token, mail)
            return TAKEN
        if own.purpose is Purpose.OFF:
            self.unsubscribe(own.token)
            return TAKEN
        if own.purpose is not Purpose.ROOM:
            self._wish(own.token, "digest" if own.purpose is Purpose.DIGEST else "each")
            return TAKEN
        written_by = origin(mail, envelope_sender=sender, is_ours=self._is_ours)
        if written_by is not Origin.PERSON:
            self.count(written_by.value)
            self._host.log.info("a mail by a program was dropped", kind=written_by.value)
            return TAKEN
        admission = await self._admit(own, mail, raw)
        # A refusal is mailed to the sender of the envelope, and anybody can name any: it has to be
        # who is proven to have written the mail.
        proven = admission.proof is not Proof.NONE
        told = proven and (sender is None or sender.lower() == mail.senders[0].key)
        if not admission.allowed or not proven:
            return self._not_admitted(own.local, mail, raw, admission, told=told)
        return await self._admitted(own, mail, raw, told=told)

    async def _admitted(self, own: Own, mail: Mail, raw: bytes, *, told: bool) -> Reply:
        if not own.token and (why := self._why_not_here(own.local, mail)):
            self.count("not admitted")
            return self._hold_read(own.local, mail, raw, why, told=told)
        if full := self._full_window(own.local, mail):
            self._too_many(own.local, mail, full)
            return self._hold_read(own.local, mail, raw, "too many mails in an hour", told=told)
        verdict = await self.inbox.bring(own.local, mail, raw)
        if verdict is Verdict.TAKEN:  # a mailbox that is read again is no flood
            self._passed(own.local, mail)
        if verdict is Verdict.INVALID and not told:
            self._host.notice(own.local, "A mail can not be shown here.", key="invalid")
            return TAKEN
        return _reply(verdict)

    async def read(self, raw: bytes) -> Mail:
        """The mail that these bytes are. Raises `Deadly`."""
        latest = self._latest
        if latest is None or latest[0] is not raw:
            mail = await self._readers.read(raw, "parse", partial(parse, raw))
            latest = self._latest = raw, mail
        return latest[1]

    def count(self, what: str) -> None:
        """One more mail of which this became."""
        self.counts[what] = self.counts.get(what, 0) + 1

    # -- reports, leaving ------------------------------------------------------------------------

    def _report(self, token: str, mail: Mail) -> None:
        sent = self._store.sent(self._host.vault, token)
        # Which mail it is about the token says; the report's own word is its reason alone.
        bounce = worst(bounces(mail))
        if sent is None or bounce is None:
            self.count("unknown report" if sent is None else "no report")
            return
        self.count(f"report {bounce.failure.value}")
        why = f"its server reports {bounce.status}"
        self._submitter.failed(sent.place, sent.to, bounce.failure, why, sent.events)

    def unsubscribe(self, token: str) -> bool:
        """Whoever has this token gets no more mail; False: nobody has."""
        found = self._store.by_token(self._host.vault, token)
        if found is None:
            return False
        place, one = found
        if one.on or one.file == "out":
            # Who was taken out of the settings, and would come back with them, has left now too.
            file = "" if one.file == "out" else one.file
            with self._host.transaction() as tx:
                self._store.keep_subscriber(tx, place, evolve(one, on=False, file=file))
                for key, _ in self._store.items(tx, place, one.address):
                    self._store.replace_item(tx, key, None)
        if one.on:
            self._host.notice(place, f"{masked(one.address)} wants no more mail from this room.")
        return True

    def _wish(self, token: str, delivery: Literal["each", "digest"]) -> None:
        """Whoever has this token wants mail that way."""
        found = self._store.by_token(self._host.vault, token)
        if found is None:
            return
        place, one = found
        with self._host.transaction() as tx:
            wish = evolve(one.wish, delivery=delivery)
            self._store.keep_subscriber(tx, place, evolve(one, wish=wish))
        self._network.postman.stir()

    # -- who may speak ---------------------------------------------------------------------------

    async def _admit(self, own: Own, mail: Mail, raw: bytes) -> _Admission:
        if len(mail.senders) != 1:
            return _Admission(False, Proof.NONE, "it does not name one sender")
        sender = mail.senders[0].key
        found = self._store.by_token(self._host.vault, own.token)
        options: EmailPlace = self._network.places[own.local].options
        mine = found is not None and found[0] == own.local and found[1].address == sender
        if own.token and not mine:
            return _Admission(False, Proof.NONE, "the address it was sent to is not the sender's")
        outside = mail.senders[0].domain != self._settings.domain
        allowed = outside and (mine or admits(options.allow, sender))
        proof = proof_by_server(mail, self._settings.authserv_id)
        self._note_results(mail)
        if proof is Proof.NONE and self._settings.dkim:
            proof = await self._own_proof(raw, mail, self._resolvers[allowed])
        why = "nothing shows who sent it"
        if not allowed:
            why = f"its sender is {'not on the list' if outside else 'of this domain of rooms'}"
        return _Admission(allowed, proof, why, found[1] if mine and found else None)

    def _why_not_here(self, place: str, mail: Mail) -> str:
        options: EmailPlace = self._network.places[place].options
        return why_not_here(mail, place, self._settings, options.also_to, self._host.now())

    def _note_results(self, mail: Mail) -> None:
        """A server that writes nothing under the name it is believed by proves nobody."""
        expected, named = self._settings.authserv_id, servers_named(mail)
        if not expected or expected.lower() in named:
            self.without_results = 0
            return
        self.without_results += 1
        if self.without_results >= _WITHOUT_RESULTS:
            self._network.hourly.operator(
                "results",
                f"mail comes without Authentication-Results of {expected}: is that the name that "
                "your server writes, and does it look at this mail?",
                mails=self.without_results,
                found=", ".join(named) or "none",
            )

    async def _own_proof(self, raw: bytes, mail: Mail, limiter: trio.CapacityLimiter) -> Proof:
        if "dkim-signature" not in mail.headers:
            return Proof.NONE
        work = partial(proof_by_dkim, raw, mail, self._txt)
        with trio.move_on_after(_DNS_SECONDS):
            return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
        return Proof.NONE

    def _not_admitted(
        self, place: str, mail: Mail, raw: bytes, admission: _Admission, *, told: bool
    ) -> Reply:
        self.count("not admitted")
        domain = self._settings.domain
        if admission.proof is Proof.NONE and any(one.domain == domain for one in mail.senders):
            # Nobody of it may write, and much spam claims to be from its reader's own domain: held,
            # it would fill the place, and no honest mail could wait there.
            self.count("own domain")
            self._host.log.info("a mail that claims to be from the bridge's domain was dropped")
            return TAKEN
        if told and not admission.allowed:
            return (550, f"5.7.1 You may not write to this room: {admission.why}")
        return self._hold_read(place, mail, raw, admission.why, told=told)

    def _hold_read(self, place: str, mail: Mail, raw: bytes, why: str, *, told: bool) -> Reply:
        sender = mail.senders[0].key if len(mail.senders) == 1 else "somebody"
        held = Held(sender=sender, why=why, ts=self._host.now(), mail_id=mail.id)
        return self._hold(place, held, raw, told=told)

    def _hold(self, place: str, held: Held, raw: bytes, *, told: bool) -> Reply:
        """`told`: who wrote it learns of a refusal, and nobody else."""
        if len(raw) > _HELD_BYTES:
            self.count("too large to hold")
            if told:
                return (552, "5.3.4 Too large to wait for an owner's word")
            text = f"A mail of {len(raw)} bytes is too large to wait for an owner's word."
            self._network.hourly.notice(place, "large", text)
            return TOO_LARGE
        with self._host.transaction() as tx:
            number = self._store.hold(tx, place, held, raw)
        if number is None:
            return TOO_MANY
        self.count("held")
        self._network.hourly.notice(
            place,
            "held",
            f"A mail waits for an owner's word: {held.why}. See !bridge {self._settings.name} held",
        )
        return TAKEN

    # -- too much --------------------------------------------------------------------------------

    def _full_window(self, place: str, mail: Mail) -> str:
        """At most so many an hour from one correspondent, and in one thread (M4): which it is."""
        now, limit = self._host.now(), self._settings.per_hour
        full = (
            key
            for key in _limited(place, mail)
            if not may_pass(self._windows.get(key, ()), now, limit)[0]
        )
        return next(full, "")

    def _passed(self, place: str, mail: Mail) -> None:
        """Counted once it is in the room: a mail that has to be brought again is one."""
        now = self._host.now()
        for key in _limited(place, mail):
            times = self._windows.get(key, ())
            self._windows[key] = may_pass(times, now, self._settings.per_hour)[1]
            self._windows.move_to_end(key)
        while len(self._windows) > _WINDOWS:
            self._windows.popitem(last=False)

    def _too_many(self, place: str, mail: Mail, window: str) -> None:
        who, limit = masked(mail.senders[0].key), self._settings.per_hour
        self._network.hourly.notice(
            place,
            window,
            f"Over {limit} mails in an hour from {who}, or in one thread: the others wait for an "
            "owner's word.",
        )
        self._network.hourly.operator(
            window, "too many mails from one correspondent, or in one thread", count=limit
        )

    # -- into the room ---------------------------------------------------------------------------

    async def say(self, place: str, mail: Mail, raw: bytes, *, proven: bool) -> Verdict:
        """Bring a mail that an owner let in into the rooms of a place. Raises `Deadly`."""
        rooms = frozenset(self._host.rooms(place))
        return (await self._sayer.say(place, mail, raw, rooms, proven=proven)).verdict


def _limited(place: str, mail: Mail) -> tuple[str, str]:
    """What a mail counts for: its correspondent, and its thread."""
    thread = (*mail.references, *mail.in_reply_to, mail.id)[0]
    return f"from/{place}/{mail.senders[0].key}", f"thread/{place}/{thread}"


def _reply(verdict: Verdict) -> Reply:
    match verdict:
        case Verdict.FULL | Verdict.LIMITED | Verdict.CLOSED:
            return LATER
        case Verdict.INVALID:
            return (554, "5.6.0 This mail can not be shown in a room")
        case _:
            return TAKEN
