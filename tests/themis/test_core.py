"""Which core runs, how the choice is forced, and that pythemis is left as it was."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ofcd import themis
from ofcd.themis import _core
from ofcd.themis._compiled import CORE_SHA256, CORE_VERSION
from ofcd.themis._core import CoreInfo

ROOT = Path(__file__).resolve().parents[2]


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, for what happens once, at import."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_the_core_is_named() -> None:
    """Kind, version and a line for a person; a forced kind is the kind."""
    info = themis.core_info()
    assert info.kind in ("native", "embedded")
    assert info.kind == os.environ.get("OFCD_THEMIS", info.kind)
    assert info.detail
    if info.kind == "embedded":
        assert info.version == CORE_VERSION


@pytest.mark.slow
def test_the_choice_can_be_forced() -> None:
    """`embedded` works wherever the core was built; an unknown word is refused with the words."""
    done = run_python(
        "from ofcd import themis; print(themis.core_info().kind)", OFCD_THEMIS="embedded"
    )
    assert (done.stdout, done.stderr) == ("embedded\n", "")
    done = run_python("import ofcd.themis", OFCD_THEMIS="quantum")
    assert "CoreUnavailable" in done.stderr
    assert "use native or embedded" in done.stderr


def test_a_missing_native_core_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forced to a library that is not there: how to get it, and the way out."""
    monkeypatch.setattr(_core, "_NATIVE_NAMES", {sys.platform: ("libthemis-not-here.so.0",)})
    monkeypatch.setenv("OFCD_THEMIS", "native")
    with pytest.raises(themis.CoreUnavailable, match="install libthemis"):
        _core._choose()
    monkeypatch.delenv("OFCD_THEMIS")
    assert _core._choose()[1].kind == "embedded"


def test_a_missing_embedded_core_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not built: `make core`."""
    monkeypatch.setattr("ofcd.themis._compiled.CORE_FILE", tmp_path / "libthemis.wasm")
    monkeypatch.setenv("OFCD_THEMIS", "embedded")
    with pytest.raises(themis.CoreUnavailable, match="make core"):
        _core._choose()


class Library:
    """Stands for a libthemis: says of each function whose it is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, function: str) -> str:
        return self.name


def test_what_parses_a_peers_bytes_stays_in_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a native library, sessions and comparators are the embedded core's all the same."""
    found = Library("native"), CoreInfo("native", "ABI 0", "libthemis loaded as x")
    monkeypatch.setattr(_core, "_native", lambda: found)
    monkeypatch.delenv("OFCD_THEMIS", raising=False)
    library, info = _core._choose()
    assert (info.kind, info.detail) == ("native", f"{found[1].detail}; Secure Session in a sandbox")
    assert library.themis_secure_message_verify == "native"
    assert library.themis_secure_cell_encrypt_seal == "native"
    for name in ("secure_session_unwrap", "secure_session_create", "secure_comparator_create"):
        assert getattr(library, name) != "native"


def test_native_without_the_sandbox_has_to_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Unasked it is refused, with the way out; asked for, it is said what it means."""
    monkeypatch.setattr("ofcd.themis._compiled.CORE_FILE", tmp_path / "libthemis.wasm")
    found = Library("native"), CoreInfo("native", "ABI 0", "libthemis loaded as x")
    monkeypatch.setattr(_core, "_native", lambda: found)
    monkeypatch.delenv("OFCD_THEMIS", raising=False)
    with pytest.raises(themis.CoreUnavailable, match=r"make core.*OFCD_THEMIS=native"):
        _core._choose()
    monkeypatch.setenv("OFCD_THEMIS", "native")
    library, info = _core._choose()
    assert library.secure_session_unwrap == "native"
    assert "hostile peer" in info.detail


def test_ctypes_is_left_as_it_was() -> None:
    """Only during pythemis' import was LoadLibrary another."""
    assert "LoadLibrary" not in vars(ctypes.cdll)
    with pytest.raises(OSError, match="not-a-library"):
        ctypes.cdll.LoadLibrary("not-a-library.so")


@pytest.mark.slow
def test_pythemis_imported_before_is_refused() -> None:
    """Then it runs on a core that nobody chose."""
    code = "import sys, types; sys.modules['pythemis'] = types.ModuleType('x'); import ofcd.themis"
    done = run_python(code)
    assert "import ofcd.themis first" in done.stderr


@pytest.mark.slow
def test_an_interpreter_with_live_sessions_ends_quietly() -> None:
    """No destructor complains at exit."""
    code = (
        "from ofcd import themis\n"
        "keys = themis.generate_keypair()\n"
        "kept = themis.SecureSession(keys.public, keys.private, lambda peer: peer)\n"
        "also = themis.Comparator(b'secret')\n"
    )
    done = run_python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_build_pins_the_same_core() -> None:
    """tools/fetch_core.py and the loader insist on one hash, and the version is web/'s."""
    assert f'"{CORE_SHA256}"' in (ROOT / "tools" / "fetch_core.py").read_text(encoding="utf-8")
    assert f'"wasm-themis": "{CORE_VERSION}"' in (ROOT / "web" / "package.json").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_suite_passes_on_the_other_core_too() -> None:
    """Where both cores are there, one run of this suite is a run on each."""
    if os.environ.get("OFCD_THEMIS_SECOND_RUN"):
        pytest.skip("this is the second run")
    other = "embedded" if themis.core_info().kind == "native" else "native"
    if other == "native" and _core._native() is None:
        pytest.skip("no libthemis is installed here: the suite ran on the embedded core only")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", str(Path(__file__).parent)],
        cwd=ROOT,
        env={**os.environ, "OFCD_THEMIS": other, "OFCD_THEMIS_SECOND_RUN": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
