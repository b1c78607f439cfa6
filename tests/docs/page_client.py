"""A client that knows only what docs/protocol.md says: Themis, SHA-256, JSON, nothing of ofcd.

It shares no code with `ofcd.protocol`, `ofcd.e2e`, `ofcd.session` or `ofcd.client`, so what the
page leaves out, or says wrongly, it can not do. Laid out in the order of the page.
"""

from __future__ import annotations

import hashlib
import json
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

from ofcd.themis import (
    KeyPair,
    SecureSession,
    box,
    generate_key,
    generate_keypair,
    seal,
    sign,
    unbox,
    unseal,
    verify,
)
from ofcd.wire import MessageStream

Json = dict[str, Any]

# ---------------------------------------------------------------- 1. conventions


def h(tag: str, *fields: bytes | int | str) -> bytes:
    """H(tag, f1, f2, …)."""
    digest = hashlib.sha256(f"OFC1:{tag}\n".encode())
    for field in fields:
        raw = field.to_bytes(8, "big") if isinstance(field, int) else field
        raw = raw.encode() if isinstance(raw, str) else raw
        digest.update(struct.pack(">I", len(raw)) + raw)
    return digest.digest()


def text(raw: bytes) -> str:
    """Bytes as JSON carries them."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw(coded: str) -> bytes:
    """And back."""
    return urlsafe_b64decode(coded + "=" * (-len(coded) % 4))


def to_json(value: Json) -> bytes:
    """Compact UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def payload_of(container: bytes) -> bytes:
    """What a signed container says its payload is."""
    return container[12 : 12 + struct.unpack_from("<I", container, 4)[0]]


def fields_of(payload: bytes) -> Json:
    """The JSON of a record's payload."""
    found: Json = json.loads(payload.partition(b"\n")[2])
    return found


# ---------------------------------------------------------------- 2. the link, 3. frames


def parts(pieces: list[bytes]) -> bytes:
    """Each after its u32be length."""
    return b"".join(struct.pack(">I", len(piece)) + piece for piece in pieces)


def split(joined: bytes) -> list[bytes]:
    """And back."""
    found = []
    while joined:
        size = struct.unpack_from(">I", joined)[0]
        found.append(joined[4 : 4 + size])
        joined = joined[4 + size :]
    return found


class Link:
    """One link to the relay with this relay id."""

    def __init__(self, stream: MessageStream, relay_id: bytes) -> None:
        self._stream = stream
        self.relay_id = relay_id
        self.keys = generate_keypair()
        self._session = SecureSession(self.keys.public, self.keys.private, self._is_pinned)
        self._sent = self._received = self._rid = 0
        self._frames: list[tuple[Json, list[bytes]]] = []
        self._feed_keys: dict[tuple[str, int], bytes] = {}
        self.bulks = 0
        self.welcome: Json = {}

    def _is_pinned(self, key: bytes) -> bytes | None:
        return key if h("relay", key) == self.relay_id else None

    async def open(self) -> None:
        """The handshake, and hello."""
        await self._stream.send(self._session.connect_request())
        proof = self._session.handshake(await self._stream.receive())
        assert proof is not None
        await self._stream.send(proof)
        assert self._session.handshake(await self._stream.receive()) is None
        await self.send({"type": "hello", "versions": [1]})
        self.welcome, _ = await self.next("welcome")

    async def send(self, head: Json, *pieces: bytes) -> None:
        """One frame in one message."""
        self._sent += 1
        body = struct.pack(">Q", self._sent) + parts([parts([to_json(head), *pieces])])
        await self._stream.send(parts([self._session.wrap(body)]))

    async def ask(self, head: Json, *pieces: bytes) -> tuple[Json, list[bytes]]:
        """A request and its answer, whatever comes in between."""
        self._rid += 1
        await self.send({**head, "rid": self._rid}, *pieces)
        return await self._wait(lambda found: found.get("rid") == self._rid)

    async def next(self, kind: str) -> tuple[Json, list[bytes]]:
        """The next frame of this type."""
        return await self._wait(lambda found: found["type"] == kind)

    async def _wait(self, wanted: Any) -> tuple[Json, list[bytes]]:
        while True:
            for at, (head, _) in enumerate(self._frames):
                if wanted(head):
                    return self._frames.pop(at)
            self._frames += await self._receive()

    async def _receive(self) -> list[tuple[Json, list[bytes]]]:
        wrapped, *trailer = split(await self._stream.receive())
        body = self._session.unwrap(wrapped)
        self._received += 1
        assert struct.unpack_from(">Q", body)[0] == self._received
        found: list[tuple[Json, list[bytes]]] = []
        for frame in split(body[8:]):
            coded, *pieces = split(frame)
            head = json.loads(coded)
            if head["type"] == "feed_key":
                self._feed_keys[head["room"], head["number"]] = pieces[0]
            elif head["type"] == "bulk":
                found += self._open_bulk(head, trailer.pop(0))
            else:
                found.append((head, pieces))
        assert trailer == []
        return found

    def _open_bulk(self, head: Json, part: bytes) -> list[tuple[Json, list[bytes]]]:
        assert hashlib.sha256(part).digest() == raw(head["hash"])
        key = self._feed_keys[head["room"], head["number"]]
        joined = unseal(key, part, h("feed", raw(head["room"]), head["number"]))
        frames = map(split, split(joined))
        self.bulks += 1
        return [(json.loads(pieces[0]), pieces[1:]) for pieces in frames]


# ---------------------------------------------------------------- 4. records and beyond


class Person:
    """One member of one room, as far as the tests need one."""

    def __init__(self, link: Link, now: int) -> None:
        self.link, self.now = link, now
        self.sign, self.enc = generate_keypair(), generate_keypair()
        self.mid = h("mid", self.sign.public)
        self.room = self.log = self.ctl = self.nonce = b""
        self.seq, self.epoch, self.counter, self.last = 0, 0, 0, b""
        self.key = b""
        self.members: dict[bytes, tuple[bytes, bytes]] = {}

    def signed(self, kind: str, /, **fields: Any) -> bytes:
        """A record of mine."""
        payload = f"OFC1:{kind}\n".encode() + to_json({"v": 1, **fields})
        return sign(self.sign.private, payload)

    def control(self, kind: str, /, **fields: Any) -> bytes:
        """A control record of mine, for the control head I know."""
        seen = {"seq": self.seq, "log": text(self.log)}
        head = {"room": text(self.room), "mid": text(self.mid), "prev": text(self.ctl)}
        return self.signed(kind, **head, seen=seen, ts=self.now, **fields)

    # -- 5. the logs -----------------------------------------------------------------------------

    def follow(self, seq: int, container: bytes) -> Json:
        """One delivery: its place in the log, its signature, its meaning if it is control."""
        assert seq == self.seq + 1
        claimed = fields_of(payload_of(container))
        payload = verify(self.members[raw(claimed["mid"])][0], container)
        record = fields_of(payload)
        eid = h("eid", payload)
        self.seq, self.log = seq, h("log", self.log, seq, eid)
        if payload.startswith(b"OFC1:event\n"):
            assert raw(record["ctl"]) == self.ctl
        else:
            self.take_control(payload, record)
        return record

    def take_control(self, payload: bytes, record: Json) -> None:
        """A control record that was verified."""
        assert raw(record["prev"]) == self.ctl
        self.ctl = h("eid", payload)
        if payload.startswith(b"OFC1:admit\n"):
            keys = raw(record["sign_key"]), raw(record["enc_key"])
            self.members[h("mid", keys[0])] = keys
        for mid in record.get("removed", []):
            del self.members[raw(mid)]

    def take_chain(self, room: bytes, containers: list[bytes]) -> list[Json]:
        """A control log from GENESIS on."""
        genesis = fields_of(payload_of(containers[0]))
        payload = verify(raw(genesis["sign_key"]), containers[0])
        assert h("room", payload) == room
        self.room, self.ctl, self.nonce = room, h("eid", payload), raw(genesis["nonce"])
        root = raw(genesis["sign_key"]), raw(genesis["enc_key"])
        self.members = {h("mid", root[0]): root}
        chain = [genesis]
        for container in containers[1:]:
            signer = raw(fields_of(payload_of(container))["mid"])
            payload = verify(self.members[signer][0], container)
            chain.append(fields_of(payload))
            self.take_control(payload, chain[-1])
        return chain

    # -- founding and attaching ------------------------------------------------------------------

    async def found(self) -> None:
        """GENESIS."""
        self.nonce, self.key = generate_key(), generate_key()
        container = self.signed(
            "genesis",
            nonce=text(self.nonce),
            sign_key=text(self.sign.public),
            enc_key=text(self.enc.public),
            relay_id=text(self.link.relay_id),
            policy={},
            key_commitment=text(h("kc", self.nonce, 0, self.key)),
            ts=self.now,
        )
        answer, _ = await self.link.ask({"type": "create"}, container)
        self.take_chain(h("room", payload_of(container)), [container])
        self.log = self.room
        assert (answer["type"], answer["seq"], raw(answer["log"])) == ("ack", 0, self.room)

    async def attach(self) -> Json:
        """Prove to be a member, on this link."""
        container = self.signed(
            "attach",
            room=text(self.room),
            mid=text(self.mid),
            transport_key=text(self.link.keys.public),
            relay_id=text(self.link.relay_id),
            challenge=self.link.welcome["challenge"],
            ts=self.now,
        )
        return (await self.link.ask({"type": "attach"}, container))[0]

    async def sync(self) -> Json:
        """From where I am."""
        asked = {"type": "sync", "room": text(self.room), "start": self.seq + 1}
        return (await self.link.ask({**asked, "log": text(self.log)}))[0]

    async def send_control(self, container: bytes, *boxes: bytes) -> Json:
        """A control record, and the stream up to it."""
        frame = {"type": "control", "room": text(self.room)}
        answer, _ = await self.link.ask(frame, container, *boxes)
        if answer["type"] == "ack":
            await self.read_to(answer["seq"])
            assert raw(answer["log"]) == self.log
        return answer

    async def read_to(self, seq: int) -> None:
        """Take deliveries up to this one."""
        while self.seq < seq:
            head, (container, _) = await self.link.next("delivery")
            self.follow(head["seq"], container)

    # -- 7. joining ------------------------------------------------------------------------------

    async def invite(self, relay_url: str) -> str:
        """INVITE_OPEN, and the code to hand over."""
        invite_id, self.token = generate_key()[:16], generate_key()
        commit = h("inv", self.room, invite_id, h("pre", self.token))
        container = self.control(
            "invite_open",
            invite_id=text(invite_id),
            commit=text(commit),
            expires=self.now + 3_600_000,
            admitters=[text(self.mid)],
            role="member",
        )
        assert (await self.send_control(container))["type"] == "ack"
        ids = self.link.relay_id + self.room + invite_id + self.token + self.mid
        body = ids + relay_url.encode()
        return "ofc1:" + text(body + h("link", body)[:4])

    async def ask_in(self, code: str) -> None:
        """Lookup and JOIN_REQ."""
        body = raw(code.removeprefix("ofc1:"))
        relay_id, room, self.invite_id, self.token = [bytes(p) for p in cut(body, 32, 32, 16, 32)]
        assert relay_id == self.link.relay_id
        assert h("link", body[:-4])[:4] == body[-4:]
        self.named = {"room": text(room), "invite_id": text(self.invite_id)}
        proof = h("pre", self.token)
        page, chain = await self.link.ask({"type": "lookup", **self.named, "proof": text(proof)})
        assert page["seqs"] == [0, 1]
        invite = self.take_chain(room, chain)[-1]
        assert invite["commit"] == text(h("inv", room, self.invite_id, proof))
        self.request = self.signed(
            "join_req",
            **self.named,
            proof=text(proof),
            sign_key=text(self.sign.public),
            enc_key=text(self.enc.public),
            nonce=text(nonce := generate_key()),
            home=text(relay_id),
            boxes=[[mid, text(self._join_box(raw(mid), nonce))] for mid in invite["admitters"]],
        )
        status, _ = await self.link.ask({"type": "join"}, self.request)
        assert status["state"] == "pending"

    def _join_box(self, admitter: bytes, nonce: bytes) -> bytes:
        self.join_key = getattr(self, "join_key", None) or generate_key()
        keys = self.sign.public, self.enc.public
        shown = h("jr", self.room, self.invite_id, *keys, nonce)
        proof = seal(self.token, shown, h("jr-proof", self.room, self.invite_id))
        secret = {"key": text(self.join_key), "nonce": text(nonce), "proof": text(proof)}
        return self.box_for(admitter, "join", invite_id=text(self.invite_id), **secret)

    def box_for(self, mid: bytes, purpose: str, **fields: Any) -> bytes:
        """A box for a member."""
        ends = {"room": text(self.room), "from": text(self.mid), "to": text(mid)}
        body = f"OFC1:box:{purpose}\n".encode() + to_json({**ends, **fields})
        return box(self.enc.private, self.members[mid][1], body)

    def open_box(self, boxed: bytes, sender: tuple[bytes, bytes], purpose: str) -> Json:
        """A box for me."""
        body = unbox(self.enc.private, sender[1], boxed)
        assert body.startswith(f"OFC1:box:{purpose}\n".encode())
        found = fields_of(body)
        ends = found["room"], found["from"], found["to"]
        assert ends == (text(self.room), text(h("mid", sender[0])), text(self.mid))
        return found

    async def answer(self) -> None:
        """The admitter's half: JOIN_RESP, then ADMIT."""
        _, (request,) = await self.link.next("join_asked")
        asked = fields_of(payload_of(request))
        keys = raw(asked["sign_key"]), raw(asked["enc_key"])
        hashed = h("payload", verify(keys[0], request))
        held = self.open_box(raw(dict(asked["boxes"])[text(self.mid)]), keys, "join")
        ids = self.room, raw(asked["invite_id"])
        shown = unseal(self.token, raw(held["proof"]), h("jr-proof", *ids))
        assert shown == h("jr", *ids, *keys, raw(held["nonce"]))
        assert held["nonce"] == asked["nonce"]
        welcome = {
            "key": text(self.key),
            "epoch": self.epoch,
            "key_commitment": text(h("kc", self.nonce, self.epoch, self.key)),
            "ctl": text(self.ctl),
            "seq": self.seq,
            "log": text(self.log),
            "room_name": "page",
        }
        context = h("join", *ids, self.token, hashed)
        head = {"room": asked["room"], "invite_id": asked["invite_id"]}
        response = self.signed(
            "join_resp",
            **head,
            request_hash=text(hashed),
            mid=text(self.mid),
            to=text(h("mid", keys[0])),
            cell=text(seal(raw(held["key"]), to_json(welcome), context)),
        )
        frame = {"type": "join_answer", "room": text(self.room)}
        assert (await self.link.ask(frame, response))[0]["type"] == "done"
        await self._admit(asked, keys, hashed, h("payload", payload_of(response)))

    async def _admit(
        self, asked: Json, keys: tuple[bytes, bytes], request: bytes, response: bytes
    ) -> None:
        _, (confirm,) = await self.link.next("join_confirmed")
        payload = verify(keys[0], confirm)
        context = h("conf", self.room, h("mid", keys[0]), self.epoch)
        said = json.loads(unseal(self.key, raw(fields_of(payload)["cell"]), context))
        assert said == {"request_hash": text(request), "response_hash": text(response)}
        admit = self.control(
            "admit",
            invite_id=asked["invite_id"],
            sign_key=asked["sign_key"],
            enc_key=asked["enc_key"],
            role="member",
            confirm_hash=text(h("payload", payload)),
            epoch=self.epoch,
            history_from=1,
            home=asked["home"],
        )
        assert (await self.send_control(admit))["type"] == "ack"

    async def confirm(self) -> None:
        """The joiner's half: JOIN_CONFIRM, and wait for ADMIT."""
        _, (response,) = await self.link.next("join_answer")
        said = fields_of(payload_of(response))
        answered = verify(self.members[raw(said["mid"])][0], response)
        request = h("payload", payload_of(self.request))
        context = h("join", self.room, self.invite_id, self.token, request)
        self.welcome = json.loads(unseal(self.join_key, raw(said["cell"]), context))
        self.key, self.epoch = raw(self.welcome["key"]), self.welcome["epoch"]
        commitment = raw(self.welcome["key_commitment"])
        assert commitment == h("kc", self.nonce, self.epoch, self.key)
        assert raw(self.welcome["ctl"]) == self.ctl
        both = {"request_hash": text(request), "response_hash": text(h("payload", answered))}
        context = h("conf", self.room, self.mid, self.epoch)
        confirm = self.signed(
            "join_conf",
            **self.named,
            **both,
            mid=text(self.mid),
            epoch=self.epoch,
            cell=text(seal(self.key, to_json(both), context)),
        )
        frame = {"type": "join_confirm", "room": text(self.room)}
        assert (await self.link.ask(frame, confirm))[0]["state"] in ("confirmed", "admitted")
        assert (await self.link.next("join_status"))[0]["state"] == "admitted"

    async def start_at(self, seq: int) -> None:
        """A newcomer's first sync: history from `seq` on, checked against JOIN_RESP."""
        asked = {"type": "sync", "room": text(self.room), "start": seq}
        synced, _ = await self.link.ask(asked)
        self.seq, self.log = synced["start"] - 1, raw(synced["log"])
        while self.seq < synced["head"]:
            head, (container, _) = await self.link.next("delivery")
            payload = payload_of(container)
            self.seq, self.log = head["seq"], h("log", self.log, head["seq"], h("eid", payload))
            if self.seq == self.welcome["seq"]:
                assert self.log == raw(self.welcome["log"])
            if payload.startswith(b"OFC1:admit\n"):
                self.take_control(payload, fields_of(payload))

    # -- 8. messages -----------------------------------------------------------------------------

    async def say(self, words: str) -> Json:
        """A text, sealed, signed and posted."""
        self.counter += 1
        sid = generate_key()[:16]
        body = {
            "type": "text",
            "room": text(self.room),
            "mid": text(self.mid),
            "counter": self.counter,
            "sid": text(sid),
            "content": {"text": words},
        }
        cell = seal(self.key, to_json(body).ljust(256), self._context(self.mid, sid))
        event = self.signed(
            "event",
            room=text(self.room),
            epoch=self.epoch,
            mid=text(self.mid),
            counter=self.counter,
            prev=text(self.last or self.room),
            seen={"seq": self.seq, "log": text(self.log)},
            ctl=text(self.ctl),
            kind="msg",
            sid=text(sid),
            cell_hash=text(hashlib.sha256(cell).digest()),
            ts=self.now,
        )
        self.last = h("eid", payload_of(event))
        return (await self.link.ask({"type": "post", "room": text(self.room)}, event, cell))[0]

    def _context(self, mid: bytes, sid: bytes, counter: int = 0) -> bytes:
        return h("msg", self.room, self.epoch, mid, counter or self.counter, sid, "msg")

    async def hear(self) -> str:
        """The words of the next delivery."""
        head, (container, cell) = await self.link.next("delivery")
        event = self.follow(head["seq"], container)
        assert raw(event["cell_hash"]) == hashlib.sha256(cell).digest()
        context = self._context(raw(event["mid"]), raw(event["sid"]), event["counter"])
        body = json.loads(unseal(self.key, cell, context))
        assert [body[name] for name in ("room", "mid", "counter", "sid")] == [
            event[name] for name in ("room", "mid", "counter", "sid")
        ]
        words: str = body["content"]["text"]
        return words

    # -- 9. room keys ----------------------------------------------------------------------------

    async def rotate(self) -> Json:
        """Routine: the next key under this one."""
        key, epoch = generate_key(), self.epoch + 1
        commitment = h("kc", self.nonce, epoch, key)
        context = h("rekey", self.room, epoch, commitment, self.ctl)
        named = {"epoch": epoch, "key_commitment": text(commitment)}
        cell = text(seal(self.key, key, context))
        answer = await self.send_control(self.control("rekey", **named, cell=cell))
        self.key, self.epoch = key, epoch
        return answer

    async def hear_rotation(self) -> None:
        """And its other end."""
        head, (container, _) = await self.link.next("delivery")
        rekey = self.follow(head["seq"], container)
        commitment = raw(rekey["key_commitment"])
        context = h("rekey", self.room, rekey["epoch"], commitment, raw(rekey["prev"]))
        self.key, self.epoch = unseal(self.key, raw(rekey["cell"]), context), rekey["epoch"]
        assert commitment == h("kc", self.nonce, self.epoch, self.key)

    async def evict(self, gone: bytes) -> Json:
        """Boxed: a fresh key for all but one."""
        key, epoch = generate_key(), self.epoch + 1
        named = {"epoch": epoch, "key_commitment": text(h("kc", self.nonce, epoch, key))}
        secret = {**named, "prev": text(self.ctl), "key": text(key)}
        staying = [mid for mid in self.members if mid != gone]
        boxes = [self.box_for(mid, "key", **secret) for mid in staying]
        listed = [
            [text(mid), text(hashlib.sha256(made).digest())]
            for mid, made in zip(staying, boxes, strict=True)
        ]
        record = self.control("rekey_boxed", **named, boxes=listed, removed=[text(gone)])
        answer = await self.send_control(record, *boxes)
        self.key, self.epoch = key, epoch
        return answer


def cut(body: bytes, *sizes: int) -> Iterator[bytes]:
    """Consecutive pieces."""
    at = 0
    for size in sizes:
        yield body[at : at + size]
        at += size


__all__ = ["KeyPair", "Link", "Person"]
