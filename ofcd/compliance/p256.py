"""Just enough of P-256 and of Themis' containers to make keys and signatures that must be refused.

Of public values only, and for attacks on a relay only: slow, and not constant time.
"""

from __future__ import annotations

from typing import Final

P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
B: Final = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

HEADER: Final = 12

__all__ = [
    "HEADER",
    "B",
    "N",
    "P",
    "container",
    "crc32c",
    "off_curve_key",
    "signature_twin",
    "uncompressed_twin",
]


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum that Themis' containers carry."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def container(tag: bytes, body: bytes) -> bytes:
    """A Themis container with a right size and checksum."""
    size = (HEADER + len(body)).to_bytes(4, "big")
    checksum = crc32c(tag + size + bytes(4) + body)
    return tag + size + checksum.to_bytes(4, "little") + body


def _square(x: int) -> int:
    return (x**3 - 3 * x + B) % P


def uncompressed_twin(public: bytes) -> bytes:
    """The same point in 77 bytes (E7)."""
    prefix, x = public[HEADER], int.from_bytes(public[HEADER + 1 :], "big")
    y = pow(_square(x), (P + 1) // 4, P)
    if y & 1 != prefix & 1:
        y = P - y
    return container(b"UEC2", b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big"))


def off_curve_key() -> bytes:
    """Canonical in form, and its x is on no point of the curve."""
    x = next(x for x in range(5, 1000) if pow(_square(x), (P - 1) // 2, P) != 1)
    return container(b"UEC2", b"\x02" + x.to_bytes(32, "big"))


def signature_twin(signed: bytes) -> bytes:
    """The signed message with s replaced by n-s, which ECDSA accepts as well (E6)."""
    payload_end = HEADER + int.from_bytes(signed[4:8], "little")
    der = signed[payload_end : payload_end + int.from_bytes(signed[8:12], "little")]
    r_end = 4 + der[3]
    s = int.from_bytes(der[r_end + 2 : r_end + 2 + der[r_end + 1]], "big")
    twin = _der_integers(int.from_bytes(der[4:r_end], "big"), N - s)
    return signed[:8] + len(twin).to_bytes(4, "little") + signed[HEADER:payload_end] + twin


def _der_integers(*numbers: int) -> bytes:
    body = b""
    for number in numbers:
        raw = number.to_bytes(number.bit_length() // 8 + 1, "big")
        body += b"\x02" + bytes([len(raw)]) + raw
    return b"\x30" + bytes([len(body)]) + body
