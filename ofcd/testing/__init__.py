"""Shipped test kit: a relay and its clients in one process, with real keys and no network.

    async with open_world(tmp_path) as world:
        ana, bo = await world.client("ana"), await world.client("bo")
        room = await ana.create_room(world.url, "tea", my_name="Ana")
        ...

Everything is the real thing but the sockets: the relay with its store, links with their sessions,
clients with their vaults. Under trio's `autojump_clock` hours pass at once.
"""

from __future__ import annotations

from ofcd.testing.world import World, open_net, open_world

__all__ = ["World", "open_net", "open_world"]
