"""A check of bulks that nothing else needs: found untested by `make mutation`."""

from __future__ import annotations

import pytest

from ofcd.protocol.codes import Malformed
from ofcd.protocol.frames import Bulk, encode_frame
from ofcd.protocol.ids import sha256, tagged_hash
from ofcd.session import BulkSealer
from ofcd.themis.cells import seal
from tests.session.pairs import open_pair
from tests.session.test_bulk import ROOM


def test_a_bulk_names_the_key_that_opens_it() -> None:
    """Sealed under today's key, but as if by another one: it is not taken."""
    sealer = BulkSealer(ROOM)
    part = seal(sealer._key, b"anything", tagged_hash("feed", ROOM, 2))
    frame = encode_frame(Bulk(ROOM, 2, sha256(part)))
    client, relay = open_pair()
    with pytest.raises(Malformed, match="announced"):
        client.receive(relay.send([sealer.key_frame, frame], [part]))
