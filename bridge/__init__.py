"""Bridges: rooms joined to places outside, by members that everybody sees as bridges.

`bridge.core` is what all networks share, `bridge.irc` and `bridge.email` are networks, `bridge.cli`
is `ofc-bridge`. docs/bridges.md is the guide.
"""
