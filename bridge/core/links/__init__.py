"""Files and long messages as links (G8): sealed on the bridge's disk, opened by who has the link.

`desk` makes and revokes links, `shelf` keeps what they open, `pages` hands it out over HTTP,
`pictures` (and `cleaner`, in a process of its own) frees pictures of what cameras write into them.
"""

from __future__ import annotations

from bridge.core.links.desk import LinkDesk
from bridge.core.links.settings import LinksSettings

__all__ = ["LinkDesk", "LinksSettings"]
