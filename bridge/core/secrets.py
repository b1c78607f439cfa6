"""Secrets that stand in files of their own."""

from __future__ import annotations

from pathlib import Path

from ofcd.errors import ConfigError

__all__ = ["read_secret"]


def read_secret(file: str) -> str:
    """What a file holds, the spaces around it left out; "" of no file. Raises `ConfigError`.

    It names the file, and nothing of what stands there.
    """
    if not file:
        return ""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        why = error.strerror or "it is not there"
    except ValueError:  # of other letters than UTF-8's, or a name that no file has
        why = "it is no text in UTF-8"
    raise ConfigError(f"the file {file} can not be read: {why}")
