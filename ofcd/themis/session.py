"""Secure Session: a mutually authenticated, forward-secret channel between two known keys.

Source: Themis' documentation of Secure Session. What is added here, and why:

- Handshake messages are checked field by field before the core sees them. The core trusts the
  lengths inside them (an id longer than the message is read past its end) and takes a key
  confirmation of any length, even none; a peer's key that does not fit is written past a buffer
  (E3). So every size is exact, and an id is a canonical public key, the peer's own (E4).
- Whom to accept is asked before the core is entered, and its callback answers what was decided:
  that key, or bytes that are no key. Nothing raises inside C, where it would be undefined.
- It gives no protection against replay, reordering or loss (E1, E2): the caller counts frames.
"""

from __future__ import annotations

import contextlib
import enum
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from ofcd.themis._core import pythemis_module
from ofcd.themis.errors import CoreFailed, InvalidInput, SessionError
from ofcd.themis.keys import PUBLIC_KEY_BYTES, is_canonical_public_key, require_private

__all__ = ["SESSION_OVERHEAD", "SecureSession"]

SESSION_OVERHEAD: Final = 52
"""Bytes a wrapped message is longer than its payload."""

_HEADER: Final = struct.Struct(">4sII")
_PROTOCOL_TAG: Final = b"TSPM"
_ID_TAG: Final = b"TSID"
_MAC_BYTES: Final = 32
_SIGNATURE_BYTES: Final = range(8, 73)
_NO_KEY: Final = bytes(PUBLIC_KEY_BYTES)
"""An answer that is no key: the core refuses its tag. Raising in a C callback is undefined."""

_ssession = pythemis_module("ssession")
_CoreError: type[Exception] = pythemis_module("exception").ThemisError
_CORE_ERRORS: Final = (_CoreError, CoreFailed, SystemError)
"""pythemis itself trips over a negative length that a forged header makes the core report."""

AcceptPeer = Callable[[bytes], bytes | None]


class _State(enum.Enum):
    """What this end waits for."""

    NEW = "a client's hello, or our own connect_request"
    SERVER_HELLO = "the server's hello"
    CLIENT_PROOF = "the client's proof"
    SERVER_CONFIRM = "the server's confirmation"
    ESTABLISHED = "messages"
    CLOSED = "nothing"


_NEXT: Final = {
    _State.NEW: _State.CLIENT_PROOF,
    _State.SERVER_HELLO: _State.SERVER_CONFIRM,
    _State.CLIENT_PROOF: _State.ESTABLISHED,
    _State.SERVER_CONFIRM: _State.ESTABLISHED,
}
"""The handshake: after a good message in a state, the state that follows."""


class SecureSession:
    """One end of a session, client (who sends `connect_request`) or server.

    Belongs to the thread that made it. After any `SessionError` it is closed for good.
    """

    def __init__(self, own_id: bytes, own_private: bytes, accept_peer: AcceptPeer) -> None:
        """`own_id` is our canonical public key, `own_private` its other half.

        `accept_peer` is given the peer's id, a canonical public key not proven yet, and returns
        that key to go on or None to refuse. Raises `InvalidInput`.
        """
        if not is_canonical_public_key(own_id):
            raise InvalidInput("a session id is a public key in canonical 45-byte form")
        require_private(own_private)
        self._accept_peer = accept_peer
        self._peer = _Peer()
        self._state = _State.NEW
        self._thread = threading.get_ident()
        try:
            self._core: Any = _ssession.SSession(own_id, own_private, self._peer)
        except _CoreError:
            raise InvalidInput("the private key is damaged: no session can be made") from None

    def __repr__(self) -> str:
        return f"<SecureSession {self._state.name.lower()}>"

    @property
    def is_established(self) -> bool:
        """Whether both ends have proven their keys, so that `wrap` and `unwrap` work."""
        return self._state is _State.ESTABLISHED

    @property
    def peer_id(self) -> bytes:
        """The peer's proven public key. Raises `SessionError` before the session is established."""
        self._require(_State.ESTABLISHED)
        return self._peer.key

    def connect_request(self) -> bytes:
        """The client's first message. Raises `SessionError` once the handshake has begun."""
        self._require(_State.NEW)
        with self._closing_on_failure("the handshake can not begin"):
            request: bytes = self._core.connect_request()
        self._state = _State.SERVER_HELLO
        return request

    def handshake(self, message: bytes) -> bytes | None:
        """Takes the peer's handshake message; the answer to send, or None when none is due.

        Afterwards `is_established` says whether that was the last step.
        Raises `SessionError`: the peer is not accepted, not genuine, or not making sense.
        """
        state = self._state
        if state not in _NEXT:
            self._require(_State.NEW)
        self._require(state)
        with self._closing_on_failure("the handshake failed"):
            self._check(state, message)
            reply = self._core.unwrap(message)
            if (_NEXT[state] is _State.ESTABLISHED) != self._core.is_established():
                raise SessionError("the Themis core and the handshake are out of step")
        self._state = _NEXT[state]
        return bytes(reply) if reply else None

    def wrap(self, payload: bytes) -> bytes:
        """`payload` for the peer; 52 bytes longer. Send in this order: a gap of 8 breaks it (E2).

        Raises `InvalidInput` for an empty payload, `SessionError`.
        """
        self._require(_State.ESTABLISHED)
        if not payload:
            raise InvalidInput("an empty message can not be wrapped")
        with self._closing_on_failure("the message could not be wrapped"):
            wrapped: bytes = self._core.wrap(payload)
        return wrapped

    def unwrap(self, message: bytes) -> bytes:
        """The payload of a message. Says nothing of order, loss or repetition (E1).

        Raises `SessionError`, after which the session is closed.
        """
        self._require(_State.ESTABLISHED)
        with self._closing_on_failure("a message is not from this session or was changed"):
            if len(message) <= SESSION_OVERHEAD:
                raise SessionError("a message is cut short")
            payload = bytes(self._core.unwrap(message))
            if not payload:
                raise SessionError("a message holds nothing")
        return payload

    def close(self) -> None:
        """Ends the session and lets the core wipe its keys. May be called again."""
        self._state = _State.CLOSED
        self._core = None

    def _require(self, state: _State) -> None:
        if self._state is not state:
            raise SessionError(f"the session waits for {self._state.value}, not for this")
        if self._thread != threading.get_ident():
            raise SessionError("the session belongs to the thread that made it")

    @contextlib.contextmanager
    def _closing_on_failure(self, sentence: str) -> Iterator[None]:
        try:
            yield
        except _CORE_ERRORS:
            self.close()
            raise SessionError(f"{sentence}; the session is closed") from None
        except BaseException:
            self.close()
            raise

    def _check(self, state: _State, message: bytes) -> None:
        if state is _State.CLIENT_PROOF:
            check_proof(message)
        elif state is _State.SERVER_CONFIRM:
            check_confirmation(message)
        else:
            self._admit(hello_id(message))

    def _admit(self, peer_id: bytes) -> None:
        if not is_canonical_public_key(peer_id):
            raise SessionError("the peer's id is not a public key in canonical 45-byte form")
        try:
            key = self._accept_peer(peer_id)
        except Exception as error:  # the caller's code; whatever it is, the peer is not let in
            raise SessionError("whether to accept the peer could not be decided") from error
        if key is None:
            raise SessionError("the peer is not accepted")
        if key != peer_id:
            raise SessionError("the peer's id is not the key it is accepted with")
        self._peer.key = peer_id


class _Peer:
    """What pythemis calls the transport: answers the core with the key decided beforehand."""

    def __init__(self) -> None:
        self.key = b""

    def get_pub_key_by_id(self, peer_id: bytes) -> bytes:
        """Called from C, so it neither raises nor returns anything but 45 bytes."""
        return self.key if peer_id == self.key else _NO_KEY


# ------------------------------------------------------------------- the handshake's messages


def hello_id(message: bytes) -> bytes:
    """The id in either side's hello: header, id, ephemeral key, signature; each size exact.

    Raises `SessionError` for any other layout.
    """
    body = _container(message, _PROTOCOL_TAG)
    rest = body[_HEADER.size + PUBLIC_KEY_BYTES :]
    peer_id = _container(body[: _HEADER.size + PUBLIC_KEY_BYTES], _ID_TAG)
    ephemeral, signature = rest[:PUBLIC_KEY_BYTES], rest[PUBLIC_KEY_BYTES:]
    if not is_canonical_public_key(ephemeral) or len(signature) not in _SIGNATURE_BYTES:
        raise SessionError("a handshake message has a wrong layout")
    return peer_id


def check_proof(message: bytes) -> None:
    """Refuses a client's proof that is not header, signature, 32-byte MAC."""
    body = _container(message, _PROTOCOL_TAG)
    if len(body) - _MAC_BYTES not in _SIGNATURE_BYTES:
        raise SessionError("a handshake message has a wrong layout")


def check_confirmation(message: bytes) -> None:
    """Refuses a server's confirmation that is not header and a whole 32-byte MAC.

    The core compares as many bytes as there are: none would always match.
    """
    if len(_container(message, _PROTOCOL_TAG)) != _MAC_BYTES:
        raise SessionError("a handshake message has a wrong layout")


def _container(raw: bytes, tag: bytes) -> bytes:
    """What is inside a Themis container (tag, size of the whole, checksum) that `raw` fills."""
    if len(raw) < _HEADER.size:
        raise SessionError("a handshake message is cut short")
    found, size, _checksum = _HEADER.unpack_from(raw)
    if found != tag or size != len(raw):
        raise SessionError("a handshake message has a wrong layout")
    return raw[_HEADER.size :]
