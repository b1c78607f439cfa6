"""Relays that break one promise each: what is done to the relay, and which checks must see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
import trio
from attrs import evolve, frozen

from ofcd.channel import Channel, ChannelError
from ofcd.daemon import connection, heads, hub, run
from ofcd.daemon import limits as daemon_limits
from ofcd.protocol import codec, frames, ids, limits, records, room
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.relay import attach, blobs, commands, control, joining, posting, sync
from ofcd.relay import relay as core
from ofcd.relay.effects import (
    Decision,
    ReadBlob,
    ReadChain,
    Redacted,
    Subscribe,
)
from ofcd.relay.rates import Rates
from ofcd.relay.refusal import Refusal
from ofcd.relay.request import Examined
from ofcd.relay.room_log import RoomLog
from ofcd.session import RelaySession, SessionState
from ofcd.session import session as sessions
from ofcd.themis import SecureSession, SessionError, generate_keypair
from ofcd.themis.signed import sign_record
from ofcd.wire import link as wire_link
from ofcd.wire import upgrade

Break = Callable[[pytest.MonkeyPatch], None]


@frozen
class Broken:
    """One relay that is wrong."""

    name: str
    make: Break
    seen_by: tuple[str, ...]


RELAYS: Final[list[Broken]] = []


def broken(*seen_by: str) -> Callable[[Break], Break]:
    """Register a way to break a relay, and the checks that must go red by it."""

    def register(make: Break) -> Break:
        RELAYS.append(Broken(make.__name__, make, seen_by))
        return make

    return register


def nothing(*_: Any, **__: Any) -> None:
    """What a check does that was taken out."""


def only_signed(request: Any) -> Any:
    """A check of the relay's that looks at the sender's signature only."""
    return request.signed_by(request.member.sign_key)


def swap(patch: pytest.MonkeyPatch, frame: type[Any], **changes: Any) -> None:
    """Change one line of the relay's command table."""
    patch.setitem(commands.COMMANDS, frame, evolve(commands.COMMANDS[frame], **changes))


# -- strangers -----------------------------------------------------------------------------------


@broken("handshake.opens", "handshake.pinned")
def a_new_key_for_each_link(patch: pytest.MonkeyPatch) -> None:
    real = RelaySession.__init__

    def other(self: Any, keys: Any, *args: Any, **more: Any) -> None:
        real(self, generate_keypair(), *args, **more)

    patch.setattr(RelaySession, "__init__", other)


@broken("handshake.opens")
def one_challenge_for_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(run, "generate_key", lambda: bytes(32))


@broken("handshake.ids", "handshake.lengths", "handshake.proof", "handshake.relay_only")
def goes_on_with_every_handshake(patch: pytest.MonkeyPatch) -> None:
    real = SecureSession.handshake

    def handshake(self: Any, message: bytes) -> bytes | None:
        try:
            return real(self, message)
        except Exception:
            return b"welcome, whoever you are"

    patch.setattr(SecureSession, "handshake", handshake)
    patch.setattr(limits, "PREAUTH_BYTES", 1 << 20)


@broken("handshake.size")
def large_first_messages(patch: pytest.MonkeyPatch) -> None:
    def serve_limits(settings: Any) -> Any:
        made = daemon_limits.serve_limits(settings)
        return evolve(made, link=evolve(made.link, opening_message_bytes=1 << 20))

    patch.setattr(run, "serve_limits", serve_limits)


@broken("handshake.time")
def endless_handshakes(patch: pytest.MonkeyPatch) -> None:
    real = daemon_limits.connection_limits
    patch.setattr(run, "connection_limits", lambda s: evolve(real(s), handshake_seconds=1e6))


@broken("handshake.slow", "handshake.http")
def endless_requests(patch: pytest.MonkeyPatch) -> None:
    real = daemon_limits.serve_limits
    patch.setattr(
        run,
        "serve_limits",
        lambda s: evolve(real(s), handshake_seconds=1e6, head_bytes=1 << 30, page_seconds=1e6),
    )


@broken("handshake.subprotocol", "handshake.paths")
def any_websocket(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(upgrade, "PATHS", frozenset({"/", "/ofc", "/nowhere-at-all"}))
    patch.setattr("ofcd.wire.server.refusal", nothing)


@broken("handshake.text")
def takes_text(patch: pytest.MonkeyPatch) -> None:
    async def refuse(self: Any, code: int, reason: str) -> None:
        return

    patch.setattr(wire_link._Link, "_refuse", refuse)


@broken("handshake.versions")
def any_version(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sessions, "agree", max)


@broken("handshake.hello")
def hello_again(patch: pytest.MonkeyPatch) -> None:
    real = RelaySession.receive

    def receive(self: Any, message: bytes) -> Any:
        if self.state is SessionState.OPEN:
            raw, _ = self._channel.unwrap(message)
            decoded = map(frames.decode_client_frame, raw)
            kept = tuple(f for f in decoded if not isinstance(f, frames.Hello))
            return sessions.Received(frames=kept)
        return real(self, message)

    patch.setattr(RelaySession, "receive", receive)


# -- messages of a link --------------------------------------------------------------------------


@broken("session.replay", "session.swapped", "session.lost", "session.walk_back", "session.counter")
def no_counter(patch: pytest.MonkeyPatch) -> None:
    def unwrap(self: Any, message: bytes) -> Any:
        wrapped, *trailer = codec.split_parts(message, max_parts=65) or [b""]
        try:
            payload = self._session.unwrap(wrapped)
        except SessionError:
            raise ChannelError("forged") from None
        return frames.split_frames(payload[8:]), trailer

    patch.setattr(Channel, "unwrap", unwrap)


@broken("session.forged")
def forgeries_are_passed_over(patch: pytest.MonkeyPatch) -> None:
    real = RelaySession.receive

    def receive(self: Any, message: bytes) -> Any:
        try:
            return real(self, message)
        except ChannelError:
            return sessions.Received()

    patch.setattr(RelaySession, "receive", receive)


@broken("session.trailer")
def trailers_are_passed_over(patch: pytest.MonkeyPatch) -> None:
    real = Channel.unwrap
    patch.setattr(Channel, "unwrap", lambda self, message: (real(self, message)[0], ()))


# -- frames --------------------------------------------------------------------------------------


def lax_json(raw: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Any JSON."""
    try:
        value = json.loads(raw.decode("utf-8", "replace") or "{}")
    except ValueError:
        value = json.JSONDecoder().raw_decode(raw.decode("utf-8", "replace"))[0]
    return dict(value) if isinstance(value, dict) else dict(value[0])


@broken("frames.json", "frames.records", "frames.sizes")
def lax_parser(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(frames, "parse_json", lax_json)
    patch.setattr(records, "parse_json", lax_json)


@broken("frames.fields")
def lax_base64(patch: pytest.MonkeyPatch) -> None:
    import base64

    def decode(text: str) -> bytes:
        return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))

    patch.setattr(codec, "b64decode", decode)


@broken("frames.parts")
def surplus_parts_are_passed_over(patch: pytest.MonkeyPatch) -> None:
    real = frames._fill
    patch.setattr(
        frames,
        "_fill",
        lambda cls, fields, parts: real(
            cls,
            fields,
            parts
            if any(a == "rest" for _, a in frames._PARTS[cls])
            else parts[: len(frames._PARTS[cls])],
        ),
    )


@broken("frames.sizes")
def large_frames(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(limits, "FRAME_BYTES", 1 << 30)
    patch.setattr(limits, "HEADS_BYTES", 1 << 30)


@broken("frames.unknown_field")
def no_later_fields(patch: pytest.MonkeyPatch) -> None:
    real = codec.build

    def build(cls: Any, fields: dict[str, Any]) -> Any:
        made = real(cls, fields)
        if fields.keys() - {f.name for f in cls.__attrs_attrs__}:
            raise Malformed(Code.BAD_RECORD, "a field is not known")
        return made

    patch.setattr(records, "build", build)


@broken("frames.rids")
def numbers_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(connection.Connection, "_charge", nothing)


@broken("frames.pipelined")
def answers_twice(patch: pytest.MonkeyPatch) -> None:
    real = connection.Connection.answer

    def answer(self: Any, frame: Any) -> None:
        real(self, frame)
        if isinstance(frame, frames.Done):
            real(self, frame)

    patch.setattr(connection.Connection, "answer", answer)


# -- founding and attaching ----------------------------------------------------------------------


@broken("founding.once")
def founds_again(patch: pytest.MonkeyPatch) -> None:
    def run_create(request: Any) -> None:
        attach._found(request)
        log = RoomLog.founded(request.signed).log
        request.reply(frames.Ack(request.rid, request.signed.event_id, 0, log))

    swap(patch, frames.Create, run=run_create)


@broken("founding.keys", "join.request")
def any_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attach, "check_keys", nothing)
    patch.setattr(joining, "_check_new", nothing)
    patch.setattr(ids, "check_public_key", ids.PublicKey)


@broken(
    "founding.signed",
    "attach.anothers",
    "join.request",
    "join.answer",
    "join.confirm",
    "events.signed",
    "control.signed",
    "control.handover",
    "floods.signatures",
)
def no_signatures(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Examined, "verify", nothing)


@broken("attach.replayed")
def any_challenge(patch: pytest.MonkeyPatch) -> None:
    swap(
        patch,
        frames.Attach,
        check=lambda r: r.signed_by(r.room.state.member(r.record.mid).sign_key),
    )


@broken("attach.strangers")
def tells_rooms_apart(patch: pytest.MonkeyPatch) -> None:
    real = attach.check_attach

    def check(request: Any) -> Any:
        if request.room_log is None:
            raise Refused(Code.NOT_FOUND, "there is no such room")
        return real(request)

    swap(patch, frames.Attach, check=check)


@broken("attach.first")
def anybody_is_in(patch: pytest.MonkeyPatch) -> None:
    real = commands._admit_sender

    def admit(request: Any, command: Any) -> None:
        if command.attached and request.frame.room not in request.link.rooms:
            log = request.core.rooms.get(request.frame.room)
            if log is not None:
                request.link.rooms[request.frame.room] = log.state.root
        real(request, command)

    patch.setattr(commands, "_admit_sender", admit)


@broken("attach.one_member")
def two_on_one_link(patch: pytest.MonkeyPatch) -> None:
    real = attach.check_attach

    def check(request: Any) -> Any:
        request.link.rooms.pop(request.record.room, None)
        return real(request)

    swap(patch, frames.Attach, check=check)


@broken("attach.crossed")
def any_record_will_do(patch: pytest.MonkeyPatch) -> None:
    for frame in (frames.Post, frames.Control):
        swap(patch, frame, record=object, check=lambda r: (), run=lambda r: r.reply(done(r)))


def done(request: Any) -> frames.Done:
    return frames.Done(request.rid)


@broken("attach.guesses", "floods.rate")
def no_rates(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Rates, "take", nothing)
    patch.setattr(Rates, "require", nothing)


# -- joining -------------------------------------------------------------------------------------


@broken("join.unknown")
def says_what_is_wrong_with_an_invite(patch: pytest.MonkeyPatch) -> None:
    real = joining._bearer

    def bearer(log: Any, invite_id: Any, proof: Any, now: int) -> Any:
        if log is not None and invite_id not in log.state.invites:
            raise Refused(Code.INVITE_UNKNOWN, "the room has no such invite")
        return real(log, invite_id, proof, now)

    patch.setattr(joining, "_bearer", bearer)


@broken("join.expired")
def invites_never_end(patch: pytest.MonkeyPatch) -> None:
    real = joining._bearer
    patch.setattr(joining, "_bearer", lambda log, invite, proof, now: real(log, invite, proof, 0))


@broken("join.life", "join.admit", "join.epoch", "control.invites", "control.handover")
def no_checks_of_its_own(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(control, "_check_record", nothing)


@broken("join.lookup", "history.chain")
def shows_less_of_the_log(patch: pytest.MonkeyPatch) -> None:
    for frame in (frames.Lookup, frames.ChainGet):
        swap(
            patch,
            frame,
            run=lambda r: r.effects.append(
                ReadChain(r.link.id, r.frame.rid, r.frame.room, r.frame.start + 1, 500, 1 << 19)
            ),
        )


@broken("join.admitted")
def keeps_requests_to_itself(patch: pytest.MonkeyPatch) -> None:
    real = joining._queue

    def queue(request: Any) -> Any:
        before = len(request.effects)
        row = real(request)
        del request.effects[before:]
        return row

    patch.setattr(joining, "_queue", queue)


@broken("join.used", "join.two", "join.answer", "join.confirm")
def any_invite_any_number_of_times(patch: pytest.MonkeyPatch) -> None:
    def bearer(log: Any, invite_id: Any, proof: Any, now: int) -> Any:
        if log is None:
            raise Refused(Code.INVITE_UNKNOWN)
        return joining._Bearer(log, log.state.invites.get(invite_id))

    patch.setattr(joining, "_bearer", bearer)
    swap(patch, frames.JoinAnswer, check=only_signed)
    swap(patch, frames.JoinConfirm, check=lambda r: ())


@broken("join.again")
def forgets_answers(patch: pytest.MonkeyPatch) -> None:
    def run_join(request: Any) -> None:
        join = joining._known_join(request) or joining._queue(request)
        if join is not None:
            status = joining._status(request.rid, join)
            request.reply(evolve(status, record=b""))

    swap(patch, frames.Join, run=run_join)


@broken("join.tries")
def endless_tries(patch: pytest.MonkeyPatch) -> None:
    real = joining._queue

    def queue(request: Any) -> Any:
        request.core.policy = evolve_policy(request.core.policy, join_tries_per_invite=10**6)
        return real(request)

    def evolve_policy(policy: Any, **changes: Any) -> Any:
        made = evolve(policy)
        for name, value in changes.items():
            object.__setattr__(made, name, value)
        return made

    patch.setattr(joining, "_queue", queue)


@broken("join.replayed_admit")
def the_evicted_come_back(patch: pytest.MonkeyPatch) -> None:
    real = joining._check_new

    def check(request: Any, log: Any, invite: Any) -> None:
        try:
            real(request, log, invite)
        except Refused as refused:
            if refused.kind is not Code.ALREADY_MEMBER:
                raise

    patch.setattr(joining, "_check_new", check)


# -- events --------------------------------------------------------------------------------------


@broken("events.log", "events.again", "events.order", "history.resume")
def another_running_hash(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ofcd.relay.room_log.log_hash", lambda *_: bytes(32))


@broken("events.wrong", "events.epoch_stale", "events.hub_behind", "history.redacting")
def takes_every_event(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(posting, "_check_next", nothing)


@broken("events.again", "events.twins")
def repeats_are_new(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(posting, "repeated", nothing)


@broken("events.sid")
def one_sid_many_messages(patch: pytest.MonkeyPatch) -> None:
    def repeated(request: Any) -> Any:
        return request.room.by_sid.get((request.record.mid, request.record.sid))

    patch.setattr(posting, "repeated", repeated)


@broken("events.order")
def last_come_first_served(patch: pytest.MonkeyPatch) -> None:
    real = hub.Hub.take

    async def take(self: Any, link: Any, batch: Any) -> None:
        await real(self, link, list(reversed(batch)))

    patch.setattr(hub.Hub, "take", take)


@broken("events.epoch_stale", "control.chain")
def refusals_without_help(patch: pytest.MonkeyPatch) -> None:
    real = Refusal.__init__

    def init(self: Any, kind: Any, **_: Any) -> None:
        real(self, kind)

    patch.setattr(Refusal, "__init__", init)


@broken("events.large")
def any_size(patch: pytest.MonkeyPatch) -> None:
    swap(patch, frames.Post, size=None)


@broken("events.empty")
def any_shape(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(posting, "check_shape", nothing)


@broken("events.readonly", "history.signals", "blobs.bounds")
def readonly_means_nothing(patch: pytest.MonkeyPatch) -> None:
    for frame in (frames.Post, frames.Signal, frames.BlobPut):
        swap(patch, frame, allowed=lambda member: True)


@broken("events.seen_stale", "events.hub_behind", "control.signed")
def no_look_at_seen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RoomLog, "check_seen", nothing)


@broken("events.head")
def heads_of_another_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        heads, "sign_record", lambda _, record: sign_record(generate_keypair().private, record)
    )


# -- control -------------------------------------------------------------------------------------


@broken("control.owners", "control.co_owners", "join.admit", "history.from_join")
def no_rights(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(room, "_require", nothing)


@broken("control.chain", "control.epochs")
def no_chain(patch: pytest.MonkeyPatch) -> None:
    def next_state(request: Any) -> Any:
        state = request.room.state
        return evolve(state, ctl=request.signed.event_id, seq=request.room.seq + 1)

    patch.setattr(control, "_next_state", next_state)


@broken("control.boxes")
def any_boxes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(control, "_check_boxes", nothing)


@broken("control.addressee")
def one_box_for_all(patch: pytest.MonkeyPatch) -> None:
    real = control._store_boxes

    def store(request: Any, seq: int) -> Any:
        made = real(request, seq)
        return dict.fromkeys(made, next(iter(made.values()))) if made else made

    patch.setattr(control, "_store_boxes", store)


@broken("control.leaving", "control.every_tenth")
def always_routine(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(room.RoomState, "boxed_required", False)


@broken("control.renewing")
def any_renewed_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(control, "check_keys", nothing)


@broken("control.renewing")
def renewals_without_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(limits, "KEY_RENEWALS", 1_000)


@broken("control.evicted")
def the_evicted_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(control, "_see_off", nothing)


@broken("control.closed")
def invites_outlive_their_room(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(room, "_still_answerable", lambda invites, _: invites)


# -- history -------------------------------------------------------------------------------------


@broken("history.resume")
def a_gap_at_the_start(patch: pytest.MonkeyPatch) -> None:
    real = sync.run_sync

    def run_sync(request: Any) -> None:
        real(request)
        last = request.effects[-1]
        assert isinstance(last, Subscribe)
        request.effects[-1] = evolve(last, start=last.start + 1)

    swap(patch, frames.Sync, run=run_sync)


@broken("history.fork", "events.hub_behind")
def any_sync(patch: pytest.MonkeyPatch) -> None:
    swap(patch, frames.Sync, check=lambda r: ())


@broken("history.newcomer", "history.from_join")
def all_history_for_all(patch: pytest.MonkeyPatch) -> None:
    real = sync.run_sync

    def run_sync(request: Any) -> None:
        request.sender = evolve(request.member, history_from=0)
        real(request)

    swap(patch, frames.Sync, run=run_sync)


@broken("history.cursor")
def any_cursor(patch: pytest.MonkeyPatch) -> None:
    def run_cursor(request: Any) -> None:
        request.room.cursors[request.member.mid] = request.frame.seq

    swap(patch, frames.Cursor, run=run_cursor)


@broken("history.redacted")
def nothing_is_redacted(patch: pytest.MonkeyPatch) -> None:
    real = posting._append

    def append(request: Any) -> None:
        real(request)
        request.facts[:] = [f for f in request.facts if type(f).__name__ != "CellRedacted"]
        request.effects[:] = [e for e in request.effects if not isinstance(e, Redacted)]

    patch.setattr(posting, "_append", append)


@broken("history.live")
def no_end_of_deliveries(patch: pytest.MonkeyPatch) -> None:
    swap(patch, frames.Detach, run=lambda r: r.reply(done(r)))


@broken("history.signals")
def signals_for_all(patch: pytest.MonkeyPatch) -> None:
    def run_signal(request: Any) -> None:
        told = frames.Signalled(
            request.frame.room, request.member.mid, request.frame.epoch, request.frame.cell
        )
        request.push_to_members(lambda _: True, told)

    swap(patch, frames.Signal, run=run_signal)


# -- keys, attachments, floods -------------------------------------------------------------------


@broken("keys.asked")
def shows_key_requests_to_all(patch: pytest.MonkeyPatch) -> None:
    def run_key_request(request: Any) -> None:
        asked = frames.KeyAsked(request.room.room, request.signed.envelope)
        request.push_to_members(lambda _: True, asked)
        request.reply(done(request))

    swap(patch, frames.KeyRequest, run=run_key_request)


@broken("keys.owners")
def anybody_hands_keys_out(patch: pytest.MonkeyPatch) -> None:
    swap(patch, frames.KeyAnswer, allowed=lambda member: True)


@broken("blobs.owner", "blobs.bounds")
def any_chunk(patch: pytest.MonkeyPatch) -> None:
    swap(patch, frames.BlobPut, check=lambda r: (), allowed=lambda member: True)
    swap(patch, frames.BlobDrop, check=lambda r: ())


@broken("blobs.stored", "blobs.rooms", "blobs.owner")
def makes_blobs_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReadBlob, "missing", lambda self: frames.Blob(self.rid, 1, b"made up"))


@broken("blobs.kept")
def chunks_are_replaced(patch: pytest.MonkeyPatch) -> None:
    real_run, real_found = blobs.run_put, ReadBlob.found
    latest: dict[Any, bytes] = {}

    def run_put(request: Any) -> None:
        latest[request.frame.blob, request.frame.index] = request.frame.chunk
        real_run(request)

    def found(self: Any, count: int, chunk: bytes) -> Any:
        return real_found(self, count, latest[self.blob, self.index])

    swap(patch, frames.BlobPut, run=run_put)
    patch.setattr(ReadBlob, "found", found)


@broken("floods.signatures")
def patient_with_forgers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(core.Relay, "bad_signature", lambda *_: Decision())


@broken("floods.frames")
def one_thing_at_a_time(patch: pytest.MonkeyPatch) -> None:
    real = hub.Hub.take
    turn = trio.Lock()

    async def take(self: Any, link: Any, batch: Any) -> None:
        async with turn:
            if any(isinstance(frame, frames.Lookup) for frame in batch):
                await trio.sleep(11)
            await real(self, link, batch)

    patch.setattr(hub.Hub, "take", take)
