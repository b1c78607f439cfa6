"""The one door to Themis: typed functions, bytes in and bytes out, over one of two cores.

The core is chosen once, at import: the system's libthemis, or the same core compiled to
WebAssembly in a sandbox; `core_info` says which, `OFCD_THEMIS=native|embedded` forces it. Every
function may be called from any thread (the embedded core has one sandbox a thread) and releases
the interpreter lock while the core works. `SecureSession` and `Comparator` belong to the thread
that made them.

Limits of any Python program: keys and plaintext are Python bytes, which can not be wiped. What
this package copies into the sandbox is wiped after each call.
"""

from __future__ import annotations

from ofcd.themis._core import CoreInfo, core_info
from ofcd.themis.cells import (
    CONTEXT_BYTES,
    SEAL_OVERHEAD,
    SEAL_PASSPHRASE_OVERHEAD,
    seal,
    seal_with_passphrase,
    unseal,
    unseal_with_passphrase,
)
from ofcd.themis.comparator import Comparator
from ofcd.themis.errors import (
    BadSignature,
    CannotOpen,
    ComparatorError,
    CoreFailed,
    CoreUnavailable,
    InvalidInput,
    SessionError,
    ThemisError,
)
from ofcd.themis.keys import (
    KEY_BYTES,
    PRIVATE_KEY_BYTES,
    PUBLIC_KEY_BYTES,
    KeyPair,
    check_public_key,
    generate_key,
    generate_keypair,
    is_canonical_public_key,
)
from ofcd.themis.messages import (
    BOX_OVERHEAD,
    SIGN_OVERHEAD_MAX,
    box,
    sign,
    unbox,
    unverified_payload,
    verify,
)
from ofcd.themis.session import SESSION_OVERHEAD, SecureSession

__all__ = [
    "BOX_OVERHEAD",
    "CONTEXT_BYTES",
    "KEY_BYTES",
    "PRIVATE_KEY_BYTES",
    "PUBLIC_KEY_BYTES",
    "SEAL_OVERHEAD",
    "SEAL_PASSPHRASE_OVERHEAD",
    "SESSION_OVERHEAD",
    "SIGN_OVERHEAD_MAX",
    "BadSignature",
    "CannotOpen",
    "Comparator",
    "ComparatorError",
    "CoreFailed",
    "CoreInfo",
    "CoreUnavailable",
    "InvalidInput",
    "KeyPair",
    "SecureSession",
    "SessionError",
    "ThemisError",
    "box",
    "check_public_key",
    "core_info",
    "generate_key",
    "generate_keypair",
    "is_canonical_public_key",
    "seal",
    "seal_with_passphrase",
    "sign",
    "unbox",
    "unseal",
    "unseal_with_passphrase",
    "unverified_payload",
    "verify",
]
