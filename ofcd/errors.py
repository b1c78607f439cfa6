"""The error tree: everything ofcd raises on purpose derives from `OfcError`.

    OfcError                      `code` is stable, str() is a sentence for a person
    ├── ConfigError               a setting is wrong: names the file, the key and the fix
    ├── ProtocolError             bytes or a request that OFC/1 does not allow (protocol/codes.py)
    │   ├── Malformed             the bytes are not a well-formed frame or record
    │   └── Refused               well-formed, but not allowed in this state
    ├── ThemisError               the Themis core refused (themis/errors.py)
    ├── WireError                 the transport failed (wire/errors.py)
    ├── E2eError                  what a member sent does not open or does not check (e2e/errors.py)
    ├── StoreError                facts could not be read or written (store/errors.py)
    ├── ClientError               the client core can not do what was asked (client/errors.py)
    └── ComplianceError           a relay broke a promise (compliance/errors.py)

Laws: a sentence never holds a key, a token, a passphrase or message text; a `code` never changes
its meaning once released.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["ConfigError", "OfcError"]


class OfcError(Exception):
    """Base of every error this project raises on purpose.

    `code` is a stable, lower-case word for scripts and peers; `str(error)` is one sentence
    that says what happened and, where there is one, the way out.
    """

    code: ClassVar[str] = "error"


class ConfigError(OfcError):
    """A setting is missing or wrong; the sentence names the file, the key and the fix."""

    code = "config"
