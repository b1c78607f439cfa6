"""ofcd: a relay for end-to-end encrypted rooms (OFC/1), its client core and tools."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
