"""libthemis's C functions over the sandbox: what pythemis takes for the loaded library.

Each function takes what pythemis passes to ctypes (int, None, bytes, ctypes buffers, `byref`),
copies it into the sandbox's scratch area, calls, and copies the results back. pythemis first asks
most functions for the size of their output, with no output buffer; where an upper bound is known
that is answered here, without crossing (the second call reports the real size).

The scratch area is wiped after every call: it held keys and plaintext.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any, Final

from ofcd.themis._sandbox import SCRATCH_CELLS, Sandbox, current_sandbox
from ofcd.themis.errors import InvalidInput

__all__ = ["EmbeddedLibrary", "Handle"]

_BUFFER_TOO_SMALL: Final = 14
_HEAD: Final = 4 * SCRATCH_CELLS
"""The head of the scratch area: each output's `size_t`, in and out."""
_CALLBACKS_STRUCT: Final = 5
"""Words of `secure_session_user_callbacks_t`; the fourth is `get_public_key_for_id`."""

Arguments = tuple[Any, ...]
Peer = tuple[bytes, bytes]
"""A name, as Secure Session calls it, and the public key that goes with it."""
SizeHint = Callable[[Arguments], int | None]


class Handle:
    """A C object inside a sandbox: what pythemis holds in place of a pointer."""

    __slots__ = ("address", "identity_bytes", "sandbox", "transport")

    def __init__(self, sandbox: Sandbox, address: int) -> None:
        self.sandbox = sandbox
        self.address = address
        self.transport: Any = None
        self.identity_bytes = 0


class CFunction:
    """A function that takes buffers.

    `plan` names its arguments: `h` a handle, `i` an input pointer and its length, `o` an output
    pointer and a pointer to its length, `w` a word passed as it is.
    """

    def __init__(self, name: str, plan: str, size_hint: SizeHint | None = None) -> None:
        self.restype: object = None
        self.argtypes: object = None
        self._name = name
        self._plan = plan
        self._size_hint = size_hint

    def __call__(self, *arguments: Any) -> int:
        """What the C function returns: a status."""
        hint = self._size_hint
        if hint is not None and arguments[-2] in _NULL:
            size = hint(arguments)
            if size is not None:
                arguments[-1]._obj.value = size
                return _BUFFER_TOO_SMALL
        if self._plan[0] != "h":
            return invoke(current_sandbox(), self._name, self._plan, arguments)
        handle = arguments[0]
        if type(handle) is not Handle or not handle.address:
            raise InvalidInput("not a live Themis object")
        return invoke(handle.sandbox, self._name, self._plan, arguments, self._peer(arguments))

    def _peer(self, _arguments: Arguments) -> Peer | None:
        return None


class UnwrapFunction(CFunction):
    """`secure_session_unwrap`: asks the session's own transport whose key the core will ask for.

    Beforehand, since no Python runs inside a call. That the core then asks for the same name is
    not taken for granted: for any other it gets no key, and the handshake fails.
    """

    def _peer(self, arguments: Arguments) -> Peer | None:
        handle, buffer, length = arguments[:3]
        if handle.transport is None or length > _size_of(buffer):
            return None
        name = _name_in_hello(bytes(memoryview(buffer).cast("B")[:length]))
        if name is None:
            return None
        try:
            key = handle.transport.get_pub_key_by_id(name)
        except Exception:  # the transport's own; whatever it is, the peer is not let in
            return None
        return (name, key) if isinstance(key, bytes) else None


def _name_in_hello(message: bytes) -> bytes | None:
    """The name in either side's hello, where the core reads it; None where there is none."""
    if not message.startswith(b"TSPM") or message[_CONTAINER : _CONTAINER + 4] != b"TSID":
        return None
    size = int.from_bytes(message[_CONTAINER + 4 : _CONTAINER + 8])
    return message[2 * _CONTAINER : _CONTAINER + size]


_CONTAINER: Final = 12
"""Bytes of a Themis container's header: its tag, its size with them, a checksum."""
_NULL: Final = (None, 0)


def invoke(
    sandbox: Sandbox, name: str, plan: str, arguments: Arguments, peer: Peer | None = None
) -> int:
    """Copies the arguments in, calls, copies the outputs out, wipes.

    `peer` is the one peer whose key the core gets if it asks.
    """
    with sandbox.entered():
        count = _needed(plan, arguments)
        scratch = sandbox.reserve(count)
        try:
            words, outputs = _copy_in(sandbox, plan, arguments)
            if peer is not None:
                sandbox.desk.set_peer(*peer)
            status = sandbox.call(name, *words)
            _copy_out(sandbox, outputs)
        finally:
            if sandbox.alive:
                sandbox.desk.clear_peer()
                ctypes.memset(sandbox.base + scratch, 0, count)
    return status


def _copy_in(
    sandbox: Sandbox, plan: str, arguments: Arguments
) -> tuple[list[int], list[tuple[Any, Any, int]]]:
    """The C arguments, and of each output: buffer, length, address in the sandbox."""
    scratch, base = sandbox.scratch, sandbox.base
    words: list[int] = []
    outputs: list[tuple[Any, Any, int]] = []
    position, top = 0, scratch + _HEAD
    for kind in plan:
        pointer = arguments[position]
        if kind == "h":
            words.append(pointer.address)
            position += 1
        elif kind == "w":
            words.append(pointer)
            position += 1
        elif kind == "i":
            length = arguments[position + 1]
            position += 2
            words += (0 if pointer in _NULL else top, length)
            if pointer not in _NULL:
                ctypes.memmove(base + top, pointer, length)
                top += (length + 15) & ~15
        else:
            cell = arguments[position + 1]._obj
            position += 2
            index = len(outputs)
            capacity = 0 if pointer in _NULL else cell.value
            sandbox.cells[index] = capacity
            words += (0 if pointer in _NULL else top, scratch + 4 * index)
            outputs.append((pointer, cell, top))
            top += (capacity + 15) & ~15
    return words, outputs


def _copy_out(sandbox: Sandbox, outputs: list[tuple[Any, Any, int]]) -> None:
    for index, (pointer, cell, address) in enumerate(outputs):
        written = sandbox.cells[index]
        if pointer not in _NULL:
            ctypes.memmove(pointer, sandbox.base + address, min(written, cell.value))
        cell.value = written


def _needed(plan: str, arguments: Arguments) -> int:
    """Bytes of scratch this call takes; refuses a length that the caller's buffer does not have."""
    total, position = _HEAD, 0
    for kind in plan:
        pointer = arguments[position]
        if kind in "hw":
            position += 1
            continue
        length = arguments[position + 1] if kind == "i" else arguments[position + 1]._obj.value
        position += 2
        if pointer in _NULL:
            continue
        if length < 0 or length > _size_of(pointer):
            raise InvalidInput("a buffer is shorter than its length says")
        total += (length + 15) & ~15
    return total


def _size_of(pointer: Any) -> int:
    if type(pointer) is bytes:
        return len(pointer)
    return ctypes.sizeof(getattr(pointer, "_obj", pointer))


# ----------------------------------------------------------------- objects: create and destroy


class CreateFunction:
    """`secure_comparator_create`: no arguments, a new object."""

    restype: object = None
    argtypes: object = None

    def __call__(self) -> Handle | None:
        """A handle, or None as C's NULL."""
        sandbox = _clean_sandbox()
        with sandbox.entered():
            address = sandbox.call("secure_comparator_create") & 0xFFFFFFFF
        return Handle(sandbox, address) if address else None


class SessionCreateFunction:
    """`secure_session_create(id, id_length, key, key_length, callbacks)`."""

    restype: object = None
    argtypes: object = None

    def __call__(
        self, identity: Any, identity_bytes: int, key: Any, key_bytes: int, transport: Any
    ) -> Handle | None:
        """A handle, or None as C's NULL. Of the callbacks only the peer-key one is carried."""
        sandbox = _clean_sandbox()
        callbacks = _session_callbacks(sandbox) if transport else 0
        arguments = (identity, identity_bytes, key, key_bytes, callbacks)
        address = invoke(sandbox, "secure_session_create", "iiw", arguments) & 0xFFFFFFFF
        if not address:
            return None
        handle = Handle(sandbox, address)
        handle.identity_bytes = identity_bytes
        if transport:
            handle.transport = transport._obj.user_data[0]
        return handle


class DestroyFunction:
    """`*_destroy`: callable from any thread and inside a call, as Python's `__del__` is."""

    restype: object = None
    argtypes: object = None

    def __init__(self, name: str) -> None:
        self._name = name
        self._finalizing = sys.is_finalizing  # at exit the module `sys` may be gone before us

    def __call__(self, handle: object) -> int:
        """Zero: the object is gone, or will be when its sandbox is next used."""
        if type(handle) is Handle and handle.address:
            handle.sandbox.to_destroy.append((self._name, handle.address))
            handle.address = 0
            handle.transport = None
            if not self._finalizing():
                handle.sandbox.destroy_waiting()
        return 0


class EstablishedFunction:
    """`secure_session_is_established`: a C bool."""

    restype: object = None
    argtypes: object = None

    def __call__(self, handle: Handle) -> int:
        """1 or 0."""
        return invoke(handle.sandbox, "secure_session_is_established", "h", (handle,)) & 0xFF


def _clean_sandbox() -> Sandbox:
    sandbox = current_sandbox()
    sandbox.destroy_waiting()
    return sandbox


def _session_callbacks(sandbox: Sandbox) -> int:
    """Address in the sandbox of its one callbacks struct, made when first needed."""
    if not sandbox.session_callbacks:
        index = sandbox.peer_key_pointer()
        with sandbox.entered():
            address = sandbox.allocate(4 * _CALLBACKS_STRUCT)
        host = sandbox.checked_address(address, 4 * _CALLBACKS_STRUCT)
        words = (ctypes.c_uint32 * _CALLBACKS_STRUCT).from_address(host)
        words[:] = [0, 0, 0, index, 0]
        sandbox.session_callbacks = address
    return sandbox.session_callbacks


class Unsupported:
    """A function that OFC never calls: RSA keys, and Secure Session's own transport."""

    restype: object = None
    argtypes: object = None

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *_arguments: object) -> int:
        """Never returns."""
        raise InvalidInput(f"{self._name} is not there in the embedded Themis core")


# ----------------------------------------------------------------- sizes known without asking


def _grows_by(overhead: int, length_at: int) -> SizeHint:
    def hint(arguments: Arguments) -> int | None:
        length = arguments[length_at]
        return length + overhead if length else None

    return hint


def _ec_grows_by(overhead: int, length_at: int) -> SizeHint:
    """As `_grows_by` for an EC private key as first argument; RSA's sizes are asked for."""

    def hint(arguments: Arguments) -> int | None:
        return arguments[length_at] + overhead if arguments[0][:4] == b"REC2" else None

    return hint


def _handshake_or_message(arguments: Arguments) -> int:
    """A message is shorter than its wrapped form; a handshake's answer holds our identity."""
    return max(int(arguments[2]), int(arguments[0].identity_bytes) + _HANDSHAKE_OVERHEAD)


def _connect_request(arguments: Arguments) -> int:
    return int(arguments[0].identity_bytes) + _HANDSHAKE_OVERHEAD


_SEAL: Final = 44
_SEAL_PASSPHRASE: Final = 70
_SESSION: Final = 52
_SIGN: Final = 84
"""Header of 12 and the longest ECDSA signature on P-256, 72."""
_HANDSHAKE_OVERHEAD: Final = 256
"""Two container headers, an ephemeral key, a signature: 141 at most."""
_SYMMETRIC_KEY: Final = 32

_FUNCTIONS: Final[dict[str, tuple[str, SizeHint | None]]] = {
    "themis_secure_cell_encrypt_seal": ("iiio", _grows_by(_SEAL, 5)),
    "themis_secure_cell_decrypt_seal": ("iiio", _grows_by(0, 5)),
    "themis_secure_cell_encrypt_seal_with_passphrase": ("iiio", _grows_by(_SEAL_PASSPHRASE, 5)),
    "themis_secure_cell_decrypt_seal_with_passphrase": ("iiio", _grows_by(0, 5)),
    "themis_secure_cell_encrypt_token_protect": ("iiioo", None),
    "themis_secure_cell_decrypt_token_protect": ("iiiio", None),
    "themis_secure_cell_encrypt_context_imprint": ("iiio", None),
    "themis_secure_cell_decrypt_context_imprint": ("iiio", None),
    "themis_gen_ec_key_pair": ("oo", None),
    "themis_gen_sym_key": ("o", lambda _: _SYMMETRIC_KEY),
    "themis_is_valid_asym_key": ("i", None),
    "themis_get_asym_key_kind": ("i", None),
    "themis_secure_message_encrypt": ("iiio", _ec_grows_by(_SESSION, 5)),
    "themis_secure_message_decrypt": ("iiio", _grows_by(0, 5)),
    "themis_secure_message_sign": ("iio", _ec_grows_by(_SIGN, 3)),
    "themis_secure_message_verify": ("iio", _grows_by(0, 3)),
    "secure_session_generate_connect_request": ("ho", _connect_request),
    "secure_session_wrap": ("hio", _grows_by(_SESSION, 2)),
    "secure_session_get_remote_id": ("ho", None),
    "secure_comparator_append_secret": ("hi", None),
    "secure_comparator_begin_compare": ("ho", None),
    "secure_comparator_proceed_compare": ("hio", None),
    "secure_comparator_get_result": ("h", None),
}
_UNSUPPORTED: Final = (
    "secure_session_connect",
    "secure_session_receive",
    "secure_session_send",
    "themis_gen_rsa_key_pair",
)


class EmbeddedLibrary:
    """Stands in for `ctypes.CDLL("libthemis.so.0")`: its functions are attributes."""

    def __init__(self) -> None:
        for name, (plan, hint) in _FUNCTIONS.items():
            setattr(self, name, CFunction(name, plan, hint))
        self.secure_comparator_create = CreateFunction()
        self.secure_comparator_destroy = DestroyFunction("secure_comparator_destroy")
        self.secure_session_create = SessionCreateFunction()
        unwrap = UnwrapFunction("secure_session_unwrap", "hio", _handshake_or_message)
        self.secure_session_unwrap = unwrap
        self.secure_session_destroy = DestroyFunction("secure_session_destroy")
        self.secure_session_is_established = EstablishedFunction()
        for name in _UNSUPPORTED:
            setattr(self, name, Unsupported(name))
