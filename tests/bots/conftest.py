"""The world of the SDK's own test kit."""

from __future__ import annotations

from bots.testing.plugin import world

__all__ = ["world"]
