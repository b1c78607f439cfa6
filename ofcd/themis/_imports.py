"""What libthemis.wasm may ask of its host, answered by WebAssembly: no Python runs inside a call.

A Python callback can not be made safe. A signal that came while the core computed (Ctrl-C, the
alarm of a test's time limit) is handled at the callback's first instruction, before any `try`; if
its handler raises, ctypes returns whatever was on the stack, wasmtime takes that for the address
of a trap, and the process dies.

So the answers are laid out before a call, on a desk beside the core's own memory: the time, random
bytes, and the peer whose key the core will ask for. Two modules, since the core exports the memory
that the answers are written to: `FRONT` is what the core imports and only passes on, `BACK` is
made once the core is there.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
from typing import Final

__all__ = ["BACK", "FRONT", "Desk"]

_DESK_BYTES: Final = 65536
_NAME_AT: Final = 64
_NAME_BYTES: Final = 1024
_KEY_AT: Final = _NAME_AT + _NAME_BYTES
_ENTROPY_AT: Final = _DESK_BYTES - 8192
"""From here on, random bytes: a key takes 32. A call that wants more than there are traps."""
_NO_KEY: Final = 0xFFFF_FFFF
"""As a key's length: longer than any buffer the core could offer for it."""
_RANDOM_FD: Final = 3
_EBADF: Final = 8
_ENOENT: Final = -44
_O_ACCMODE: Final = 3
_FILE: Final = struct.unpack("<QI", b"/dev/urandom")


class _Head(ctypes.Structure):
    _fields_ = (
        ("time", ctypes.c_uint32),
        ("entropy_at", ctypes.c_uint32),
        ("name_bytes", ctypes.c_uint32),
        ("key_bytes", ctypes.c_uint32),
    )


class Desk:
    """The desk of one sandbox, as the host writes it."""

    def __init__(self, address: int) -> None:
        """`address` is where the memory that `BACK` exports begins."""
        self._address = address
        self._head = _Head.from_address(address)
        self._head.entropy_at = _DESK_BYTES
        self.clear_peer()

    def prepare(self) -> None:
        """Before a call: what the last one took of the random bytes is there anew."""
        head = self._head
        head.time = int(time.time()) & 0xFFFF_FFFF
        used = head.entropy_at - _ENTROPY_AT
        if used:
            ctypes.memmove(self._address + _ENTROPY_AT, os.urandom(used), used)
            head.entropy_at = _ENTROPY_AT  # last: what an exception leaves unfilled stays used

    def set_peer(self, name: bytes, key: bytes) -> None:
        """The core gets `key` when it asks for the key of `name`, and none for any other."""
        self.clear_peer()
        if len(name) <= _NAME_BYTES and len(key) <= _ENTROPY_AT - _KEY_AT:
            ctypes.memmove(self._address + _NAME_AT, name, len(name))
            ctypes.memmove(self._address + _KEY_AT, key, len(key))
            self._head.name_bytes = len(name)
            self._head.key_bytes = len(key)

    def clear_peer(self) -> None:
        """The core gets no key."""
        self._head.key_bytes = _NO_KEY


_SIGNATURES: Final = """
  (type $1 (func (param i32) (result i32)))
  (type $2 (func (param i32 i32) (result i32)))
  (type $3 (func (param i32 i32 i32) (result i32)))
  (type $4 (func (param i32 i32 i32 i32) (result i32)))
"""
_ANSWERED: Final = (
    ("time", 1),
    ("getentropy", 2),
    ("emscripten_memcpy_big", 3),
    ("emscripten_resize_heap", 1),
    ("__syscall_open", 3),
    ("__syscall_fcntl64", 3),
    ("environ_sizes_get", 2),
    ("environ_get", 2),
    ("fd_read", 4),
)
"""What the core imports and gets, and with how many i32; each gives one back. All else traps."""


def _passed_on(index: int, name: str, arity: int) -> str:
    arguments = " ".join(f"(local.get {number})" for number in range(arity))
    call = f"(call_indirect (type ${arity}) {arguments} (i32.const {index}))"
    return f'(func (export "{name}") (type ${arity}) {call})'


FRONT: Final = f"""
(module {_SIGNATURES}
  (table (export "answers") {len(_ANSWERED)} funcref)
  {" ".join(_passed_on(index, *entry) for index, entry in enumerate(_ANSWERED))})
"""

BACK: Final = f"""
(module {_SIGNATURES}
  (import "core" "memory" (memory $core 1))
  (import "front" "answers" (table $answers {len(_ANSWERED)} funcref))
  (memory $desk (export "desk") 1 1)
  (elem (table $answers) (i32.const 0) func {" ".join("$" + name for name, _ in _ANSWERED)})

  (func $time (param $where i32) (result i32)
    (if (local.get $where)
      (then (i32.store $core (local.get $where) (i32.load $desk (i32.const 0)))))
    (i32.load $desk (i32.const 0)))

  ;; Past the last random byte, or outside the core's memory, memory.copy traps.
  (func $getentropy (param $to i32) (param $count i32) (result i32) (local $from i32)
    (local.set $from (i32.load $desk (i32.const 4)))
    (memory.copy $core $desk (local.get $to) (local.get $from) (local.get $count))
    (memory.fill $desk (local.get $from) (i32.const 0) (local.get $count))
    (i32.store $desk (i32.const 4) (i32.add (local.get $from) (local.get $count)))
    (i32.const 0))

  (func $emscripten_memcpy_big (param $to i32) (param $from i32) (param $count i32) (result i32)
    (memory.copy $core $core (local.get $to) (local.get $from) (local.get $count))
    (local.get $to))

  (func $emscripten_resize_heap (param $count i32) (result i32) (local $missing i32)
    (local.set $missing
      (i32.sub
        (i32.add
          (i32.shr_u (local.get $count) (i32.const 16))
          (i32.ne (i32.and (local.get $count) (i32.const 0xffff)) (i32.const 0)))
        (memory.size $core)))
    (if (i32.le_s (local.get $missing) (i32.const 0)) (then (return (i32.const 1))))
    (i32.ne (memory.grow $core (local.get $missing)) (i32.const -1)))

  ;; The only file there is: "/dev/urandom", for reading.
  (func $__syscall_open (param $path i32) (param $flags i32) (param $mode i32) (result i32)
    (select (i32.const {_RANDOM_FD}) (i32.const {_ENOENT})
      (i32.and
        (i32.and
          (i64.eq (i64.load $core (local.get $path)) (i64.const {_FILE[0]}))
          (i32.eq (i32.load $core offset=8 (local.get $path)) (i32.const {_FILE[1]})))
        (i32.eqz
          (i32.or
            (i32.load8_u $core offset=12 (local.get $path))
            (i32.and (local.get $flags) (i32.const {_O_ACCMODE})))))))

  (func $__syscall_fcntl64 (type $3) (i32.const 0))

  (func $environ_sizes_get (param $count_at i32) (param $size_at i32) (result i32)
    (i32.store $core (local.get $count_at) (i32.const 0))
    (i32.store $core (local.get $size_at) (i32.const 0))
    (i32.const 0))

  (func $environ_get (type $2) (i32.const 0))

  (func $fd_read
    (param $fd i32) (param $vector i32) (param $left i32) (param $read_at i32) (result i32)
    (local $total i32)
    (if (i32.ne (local.get $fd) (i32.const {_RANDOM_FD})) (then (return (i32.const {_EBADF}))))
    (block $read
      (loop $next
        (br_if $read (i32.eqz (local.get $left)))
        (drop (call $getentropy
          (i32.load $core (local.get $vector)) (i32.load $core offset=4 (local.get $vector))))
        (local.set $total
          (i32.add (local.get $total) (i32.load $core offset=4 (local.get $vector))))
        (local.set $vector (i32.add (local.get $vector) (i32.const 8)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
    (i32.store $core (local.get $read_at) (local.get $total))
    (i32.const 0))

  ;; `get_public_key_for_id` of every session. 1: not this peer, or no room for its key.
  (func (export "peer_key")
    (param $name i32) (param $name_bytes i32) (param $key i32) (param $key_bytes i32) (param i32)
    (result i32) (local $at i32)
    (if (i32.or
          (i32.ne (local.get $name_bytes) (i32.load $desk (i32.const 8)))
          (i32.lt_u (local.get $key_bytes) (i32.load $desk (i32.const 12))))
      (then (return (i32.const 1))))
    (block $same
      (loop $next
        (br_if $same (i32.eq (local.get $at) (local.get $name_bytes)))
        (if (i32.ne
              (i32.load8_u $core (i32.add (local.get $name) (local.get $at)))
              (i32.load8_u $desk offset={_NAME_AT} (local.get $at)))
          (then (return (i32.const 1))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (memory.copy $core $desk
      (local.get $key) (i32.const {_KEY_AT}) (i32.load $desk (i32.const 12)))
    (i32.const 0)))
"""
