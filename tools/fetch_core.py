"""Builds in the embedded Themis core: libthemis.wasm from the npm package that web/ pins.

Run by `make core`. `npm ci` checks the package against the hash in web/package-lock.json; the
core itself is checked against the hash below before it is put in place, with its licence.
Quick and offline when the core is there already.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
WEB: Final = ROOT / "web"
PACKAGE: Final = WEB / "node_modules" / "wasm-themis"
CORE: Final = ROOT / "ofcd" / "themis" / "core"
WASM: Final = "libthemis.wasm"
SHA256: Final = "74b8879f39f07bf84924b5307adf40f054dcfa8ed0679ab37da038a3a00d1988"
"""Of libthemis.wasm in wasm-themis 0.15.0; `ofcd/themis/_compiled.py` insists on the same."""


def is_pinned(path: Path) -> bool:
    """Whether `path` holds the very core that this version was made for."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256


def install_package() -> None:
    """Runs `npm ci` in web/. Exits with a sentence when there is no npm or it fails."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("the embedded Themis core comes from an npm package: install Node.js with npm")
    print("fetching wasm-themis with npm ci ...", flush=True)
    done = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=WEB,
        check=False,
        stdout=subprocess.DEVNULL,
    )
    if done.returncode:
        sys.exit("npm ci in web/ failed (see above); the embedded Themis core was not built")


def put_in_place(source: Path, target: Path) -> None:
    """Copies beside the target and renames, so that nobody sees half a file."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, temporary)
    temporary.chmod(0o644)
    temporary.replace(target)


def main() -> None:
    """Leaves the pinned core and its licence in ofcd/themis/core."""
    if is_pinned(CORE / WASM) and (CORE / "LICENSE").is_file():
        return
    source = PACKAGE / "dist" / WASM
    if not is_pinned(source):
        install_package()
    if not is_pinned(source):
        sys.exit(f"{WASM} in wasm-themis is not the pinned one: nothing was built")
    CORE.mkdir(parents=True, exist_ok=True)
    put_in_place(PACKAGE / "LICENSE", CORE / "LICENSE")
    put_in_place(source, CORE / WASM)
    print(f"the embedded Themis core is in {CORE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
