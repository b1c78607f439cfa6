"""Both ways against wasm-themis in Node: what one makes the other opens.

That is the core of the browser client, with its makers' own JavaScript around it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ofcd import themis
from tests.themis.helpers import CONTEXT, OTHER_CONTEXT, flipped, new_session

HERE = Path(__file__).parent
WEB = HERE.parent.parent / "web"
TEXT = "what both sides read, Grüße".encode()
KEY = bytes(range(32))


class Refused(Exception):
    """wasm-themis threw."""


class Node:
    """The process that runs peer.cjs."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", str(HERE / "peer.cjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, action: str, **fields: str | bytes) -> Any:
        """One action; bytes travel as hex in both directions."""
        message = {k: v.hex() if isinstance(v, bytes) else v for k, v in fields.items()}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": action, **message}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["ok"]

    def bytes(self, action: str, **fields: str | bytes) -> bytes:
        """An action whose answer is bytes."""
        return bytes.fromhex(self.ask(action, **fields))

    def close(self) -> None:
        """Ends the process and waits for it."""
        self._process.communicate(timeout=20)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """wasm-themis, installed from web/'s lock when it is not there yet."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js with npm is not installed here")
    if not (WEB / "node_modules" / "wasm-themis").is_dir():
        subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=WEB, check=True
        )
    peer = Node()
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def theirs(node: Node) -> themis.KeyPair:
    """A key pair made by wasm-themis."""
    keys = node.ask("keypair")
    return themis.KeyPair(bytes.fromhex(keys["private"]), bytes.fromhex(keys["public"]))


OURS = themis.generate_keypair()


def test_their_keys_are_ours(theirs: themis.KeyPair) -> None:
    """What wasm-themis generates is canonical here, and works here."""
    assert themis.check_public_key(theirs.public) == theirs.public
    assert themis.verify(theirs.public, themis.sign(theirs.private, TEXT)) == TEXT


def test_cells(node: Node) -> None:
    """Sealed there and opened here, sealed here and opened there; another context opens nowhere."""
    sealed = node.bytes("seal", key=KEY, data=TEXT, context=CONTEXT)
    assert themis.unseal(KEY, sealed, CONTEXT) == TEXT
    sealed = themis.seal(KEY, TEXT, CONTEXT)
    assert node.bytes("unseal", key=KEY, data=sealed, context=CONTEXT) == TEXT
    with pytest.raises(Refused):
        node.ask("unseal", key=KEY, data=sealed, context=OTHER_CONTEXT)


@pytest.mark.slow
def test_passphrase_cells(node: Node) -> None:
    """The same under a passphrase that is not ASCII."""
    sealed = node.bytes("seal", passphrase="schön", data=TEXT, context=CONTEXT)
    assert themis.unseal_with_passphrase("schön", sealed, CONTEXT) == TEXT
    sealed = themis.seal_with_passphrase("schön", TEXT, CONTEXT)
    assert node.bytes("unseal", passphrase="schön", data=sealed, context=CONTEXT) == TEXT


def test_signatures(node: Node, theirs: themis.KeyPair) -> None:
    """Signed there and verified here, and the other way round; changed, nowhere."""
    signed = node.bytes("sign", private=theirs.private, data=TEXT)
    assert themis.verify(theirs.public, signed) == TEXT
    signed = themis.sign(OURS.private, TEXT)
    assert node.bytes("verify", public=OURS.public, data=signed) == TEXT
    with pytest.raises(Refused):
        node.ask("verify", public=OURS.public, data=flipped(signed, 20))


def test_boxes(node: Node, theirs: themis.KeyPair) -> None:
    """Boxed there for us, and here for them."""
    boxed = node.bytes("box", private=theirs.private, public=OURS.public, data=TEXT)
    assert themis.unbox(OURS.private, theirs.public, boxed) == TEXT
    boxed = themis.box(OURS.private, theirs.public, TEXT)
    fields = {"private": theirs.private, "public": OURS.public}
    assert node.bytes("unbox", **fields, data=boxed) == TEXT


@pytest.mark.parametrize("we_connect", [True, False])
def test_sessions(node: Node, theirs: themis.KeyPair, we_connect: bool) -> None:
    """Whoever begins, the handshake ends and messages pass both ways."""
    node.ask("session", private=theirs.private, public=theirs.public)
    ours = new_session(OURS)
    if we_connect:
        proof = ours.handshake(node.bytes("negotiate", data=ours.connect_request()))
        assert proof
        assert ours.handshake(node.bytes("negotiate", data=proof)) is None
    else:
        answer = ours.handshake(node.bytes("connect"))
        assert answer
        confirmation = ours.handshake(node.bytes("negotiate", data=answer))
        assert confirmation
        assert node.ask("negotiate", data=confirmation) == ""
    assert ours.peer_id == theirs.public
    assert node.ask("established") is True
    for _ in range(3):
        assert ours.unwrap(node.bytes("wrap", data=TEXT)) == TEXT
        assert node.bytes("unwrap", data=ours.wrap(TEXT)) == TEXT
    with pytest.raises(Refused):
        node.ask("unwrap", data=flipped(ours.wrap(TEXT), 40))


@pytest.mark.slow
@pytest.mark.parametrize(("secret", "equal"), [(b"the same", True), (b"another", False)])
def test_comparisons(node: Node, secret: bytes, equal: bool) -> None:
    """Both sides come to the same result."""
    node.ask("compare", data=b"the same")
    ours = themis.Comparator(secret)
    message: bytes | None = ours.proceed(node.bytes("begin"))
    while message:
        theirs = node.bytes("proceed", data=message)
        message = ours.proceed(theirs) if theirs else None
    assert ours.result is equal
    assert node.ask("equal") is equal
