"""`ofcd` as a real process: how it starts, runs and ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

import ofcd
from ofcd.wire import Closed, dial
from tests.cli.support import OFCD, ROOT, relay, run

pytestmark = [pytest.mark.live, pytest.mark.slow]


def status(url: str, path: str) -> bytes:
    """The answer of one of the relay's pages."""
    host, _, port = url.removeprefix("ws://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as stream:
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: r\r\n\r\n".encode())
        return b"".join(iter(lambda: stream.recv(4096), b""))


@pytest.mark.parametrize("command", [(), ("run",)])
def test_it_greets_serves_and_stops(config: Path, command: tuple[str, ...]) -> None:
    """Four lines say what to do next; its pages answer; SIGTERM ends it with 0."""
    with relay("--config", config, *command) as running:
        listens, fingerprint, browser, first = running.greeting
        assert listens == f"ofcd {ofcd.__version__} listens on {running.url}"
        assert fingerprint.split()[0] == "fingerprint"
        assert browser.split() == ["browser", running.url.replace("ws", "http") + "/"]
        assert f"ofc --relay {running.url} create" in first
        assert status(running.url, "/healthz").endswith(b"\r\n\r\nok\n")
        ended = running.stop(signal.SIGTERM)
    assert (ended.code, ended.out) == (0, "")
    assert "stopping" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_links_are_told_1001_when_it_stops(config: Path, how: signal.Signals) -> None:
    """Whether a service manager or Ctrl-C stops it; and it exits with 0."""

    async def visit(url: str) -> int:
        async with dial(url) as link:
            running.process.send_signal(how)
            with trio.fail_after(10), pytest.raises(Closed) as caught:
                await link.receive()
            return caught.value.close_code

    with relay("--config", config) as running:
        assert trio.run(visit, running.url) == 1001
        running.process.communicate(timeout=20)
        assert running.process.returncode == 0


def test_a_second_start_on_the_same_data_ends_with_4(config: Path) -> None:
    """It names the first one, which runs on; its commands that read work beside it."""
    with relay("--config", config) as running:
        second = run("--config", config)
        assert second.code == 4
        assert f"is in use by process {running.process.pid}" in second.sentence
        for command in (["rooms"], ["keys"], ["doctor"], ["backup", config.parent / "b.db"]):
            assert run("--config", config, *command).code == 0
        assert b" 200 " in status(running.url, "/healthz")
        assert running.stop().code == 0


def test_the_fingerprint_stays(config: Path) -> None:
    """Over a restart, and for `ofcd keys`."""
    seen = set()
    for _ in range(2):
        with relay("--config", config) as running:
            seen.add(running.greeting[1].partition("  ")[2])
            running.stop()
    (fingerprint,) = seen
    assert fingerprint in run("--config", config, "keys").out


@pytest.mark.parametrize("command", [["doctor"], []])
def test_without_a_core_it_ends_with_5(config: Path, tmp_path: Path, command: list[str]) -> None:
    """A package whose embedded core was never built, on a machine without libthemis."""
    copy = tmp_path / "package"
    leave = shutil.ignore_patterns("libthemis.wasm", "__pycache__")
    shutil.copytree(ROOT / "ofcd", copy / "ofcd", ignore=leave)
    code = (
        f"import sys; sys.path.insert(0, {str(copy)!r}); from ofcd.cli import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--config", str(config), *command],
        env=os.environ | {"OFCD_THEMIS": "embedded"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=tmp_path,
    )
    assert done.returncode == 5, done.stderr
    said = done.stdout if command else done.stderr
    assert f"the embedded Themis core is not at {copy}" in said
    assert "run `make core`" in said
    assert "Traceback" not in done.stderr


def test_an_unknown_core_ends_with_5() -> None:
    """OFCD_THEMIS is checked as settings are."""
    ran = run("doctor", env={"OFCD_THEMIS": "quantum"})
    assert ran.code == 5
    assert "OFCD_THEMIS=quantum is not known: use native or embedded" in ran.out


def test_a_full_disk_under_the_output_is_no_traceback() -> None:
    """`ofcd example-config > config.toml` where no space is left."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*OFCD, "example-config"], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            timeout=30, cwd=ROOT,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "ofcd: no space is left where the output goes\n")


def test_a_reader_that_has_enough_is_no_traceback() -> None:
    """`ofcd example-config | head -1`."""
    with subprocess.Popen(
        [*OFCD, "example-config"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
