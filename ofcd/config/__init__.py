"""The relay's settings: frozen, from one TOML file, every key with its doc, bounds and default.

`Settings.load(path)` is strict: an unknown key, a wrong type or a value out of range is refused
with a `ConfigError` that names file, key, value and fix, all mistakes of a file at once.
`python -m ofcd.config --example` prints `config.example.toml`.

Laws: durations are seconds (or days, or minutes, where the name says so), sizes are bytes; in
the file a size may also be written "64 KiB". A relative path starts at the file's own directory.
No secret stands in a setting: only the path of the file that holds it.
"""

from ofcd.config.example import render_example
from ofcd.config.fields import Networks, Size
from ofcd.config.sections import (
    Access,
    Federation,
    Limits,
    Log,
    Metrics,
    Relay,
    Storage,
    parse_peer,
)
from ofcd.config.settings import Settings

__all__ = [
    "Access",
    "Federation",
    "Limits",
    "Log",
    "Metrics",
    "Networks",
    "Relay",
    "Settings",
    "Size",
    "Storage",
    "parse_peer",
    "render_example",
]
