"""A secret address is found in what programs pack, and what hides in packing costs little (M3)."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from email.header import decode_header
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.email import headers, secrecy
from bridge.email.packed import TooMuch, unpacked
from bridge.email.parsing import Attachment, parse
from bridge.email.secrecy import Secrets
from bridge.email.showing import shown_of
from tests.bridge.email.corpus import mail, part

TOKEN = "cdqdtzy5iwynuisqmb5lg34m"
ADDRESS = f"books+{TOKEN}@bridge.example"
HARMLESS = "books@bridge.example, nine, " + "a" * 24


def secrets() -> Secrets:
    return Secrets(frozenset({TOKEN}))


def zipped(
    content: bytes, name: str = "word/document.xml", how: int = zipfile.ZIP_DEFLATED
) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>" * 50)
        archive.writestr(name, content)
    return made.getvalue()


def document(text: str) -> bytes:
    """As word processors write: a word in pieces, each with its own tags."""
    runs = "".join(f"<w:r><w:rPr/><w:t>{text[at : at + 5]}</w:t></w:r>" for at in range(0, 99, 5))
    return zipped(f'<?xml version="1.0"?><w:document><w:p>{runs}</w:p></w:document>'.encode())


def without_directory(text: str) -> bytes:
    made = document(text)
    return b"MZ not a zip at first" + made[: made.index(b"PK\x01\x02")]


def tarred(text: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        info = tarfile.TarInfo("mail.txt")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text.encode()))
    return made.getvalue()


def pdf(*streams: tuple[str, bytes]) -> bytes:
    made = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    for number, (words, content) in enumerate(streams, 1):
        head = f"{number} 0 obj\n<<{words} /Length {len(content)}>>\nstream\n".encode()
        made += head + content + b"\nendstream\nendobj\n"
    return made + b"trailer <</Root 1 0 R>>\n%%EOF\n"


def kerned(text: str) -> bytes:
    pieces = " -20.5 ".join(f"({text[at : at + 3]})" for at in range(0, len(text), 3))
    return zlib.compress(f"BT /F1 12 Tf [{pieces}] TJ ET".encode())


def by_glyphs(text: str, width: int) -> bytes:
    """As browsers print: numbers of glyphs, and a map of them."""
    letters = sorted(set(text))
    code = {one: n + 3 for n, one in enumerate(letters)}
    digits = width * 2
    shown = "".join(f"<{code[one]:0{digits}x}> -2 " for one in text)
    chars = "".join(
        f"<{code[one]:0{digits}x}> <{ord(one):04x}>\n" for one in letters if not one.isalpha()
    )
    ranges = "".join(
        f"<{code[one]:0{digits}x}> <{code[one]:0{digits}x}> <{ord(one):04x}>\n"
        if ord(one) % 2
        else f"<{code[one]:0{digits}x}> <{code[one]:0{digits}x}> [<{ord(one):04x}>]\n"
        for one in letters
        if one.isalpha()
    )
    space = f"1 begincodespacerange\n<{'00' * width}> <{'ff' * width}>\nendcodespacerange\n"
    chosen = f"{space}9 beginbfchar\n{chars}endbfchar\n9 beginbfrange\n{ranges}endbfrange\n"
    return pdf(
        ("/Filter /FlateDecode", zlib.compress(f"BT [{shown}] TJ ET".encode())),
        ("/Filter /FlateDecode", zlib.compress(chosen.encode())),
    )


PACKED: dict[str, Callable[[str], bytes]] = {
    "docx": document,
    "docx, its directory gone": without_directory,
    "a zip in a zip": lambda text: zipped(document(text), "a.docx", zipfile.ZIP_STORED),
    "a mail in a zip": lambda text: zipped(base64.encodebytes(text.encode() * 9), "a.eml"),
    "stored": lambda text: zipped(base64.encodebytes(text.encode() * 9), how=zipfile.ZIP_STORED),
    "gzip": lambda text: gzip.compress(text.encode()),
    "bzip2": lambda text: bz2.compress(text.encode()),
    "xz": lambda text: lzma.compress(text.encode() * 50),
    "tar.gz": tarred,
    "an old document": lambda text: (
        os.urandom(40_000).replace(b"\0", b"\1") + text.encode("utf-16-le")
    ),
    "PDF, a link": lambda text: pdf(
        ("/Type /ObjStm", zlib.compress(f"<</URI (mailto:{text})>>".encode()))
    ),
    "PDF, kerned": lambda text: pdf(("", kerned(text))),
    "PDF, ascii85": lambda text: pdf(("", base64.a85encode(kerned(text)) + b"~>")),
    "PDF, plain": lambda text: pdf(("", zlib.decompress(kerned(text)))),
    "PDF, glyphs": lambda text: by_glyphs(text, 2),
    "PDF, glyphs of a byte": lambda text: by_glyphs(text, 1),
}


@pytest.mark.parametrize("name", PACKED)
def test_what_is_packed_and_shows_it_is_held_back(name: str) -> None:
    shows, harmless = (PACKED[name](text) for text in (ADDRESS, HARMLESS))
    assert TOKEN.encode() not in shows, "else this tests nothing"
    assert secrets().file(Attachment("a", "application/x", shows)) is None
    as_it_came = Attachment("a", "application/x", harmless)
    assert secrets().file(as_it_came) == as_it_came


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_what_a_real_browser_prints_is_read(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    page.write_text(f"<p>No more of them: write to <i>books</i>+{TOKEN}@bridge.example.")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu"]
    command += [
        f"--user-data-dir={tmp_path}/profile",
        f"--print-to-pdf={tmp_path}/a.pdf",
        str(page),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=280)
    raw = (tmp_path / "a.pdf").read_bytes()
    assert TOKEN.encode() not in raw
    assert secrets().file(Attachment("a.pdf", "application/pdf", raw)) is None


def test_the_room_is_told_and_the_original_holds_it_no_more() -> None:
    """The mail itself stands beside it where less of it is shown: without the file too."""
    body = f"--b\n\nSee there.\n\nOn 18/11/2026 13:37, Ana wrote:\n> {ADDRESS}\n--b\n"
    for name in ("docx", "PDF, glyphs"):
        named = 'Content-Disposition: attachment; filename="a.bin"'
        body += part("application/x", PACKED[name](ADDRESS), named) + "--b\n"
    named = 'Content-Disposition: attachment; filename="good.docx"'
    body += part("application/x", document(HARMLESS), named)
    raw = mail(body + "--b--\n", Content_Type="multipart/mixed; boundary=b")
    shown = shown_of(parse(raw), raw, secrets(), titled=False)
    assert [one.name for one in shown.files] == ["good.docx", "original.eml"]
    assert "2 files are left out: they hold a secret address" in shown.text
    original = shown.files[1].content
    assert not secrets().stand_in(original)
    assert b"See there" in original
    assert original.count(b"filename") == 1


# -- bombs -----------------------------------------------------------------------------------------


def bomb(megabytes: int) -> bytes:
    return gzip.compress(bytes(megabytes * 1024 * 1024))


def heads(count: int) -> bytes:
    return count * (b"PK\x03\x04\x14\0\0\0\0\0" + b"\0" * 8 + b"\xff\xff\xff\x7f" * 2 + b"\0" * 4)


RANGES = b"beginbfrange" + b"<0000> <ffff> <0041>\n" * 40_000 + b"endbfrange"
LETTERS = b"<" + b"0041" * 250_000 + b">"


def hostile() -> dict[str, bytes]:
    """Made where they are looked at: to pack them takes a second."""
    return {
        "zeros": bomb(80),
        "a bomb in a zip": zipped(bomb(80)),
        "a zip in itself": zipped(zipped(zipped(zipped(bomb(80))))),
        "bzip2": bz2.compress(bytes(80 * 1024 * 1024)),
        "xz": lzma.compress(bytes(80 * 1024 * 1024), preset=0),
        "heads of files without end": heads(12_000),
        "each file is all that follows": heads(9000),
        "streams without end": b"%PDF-1.7\n" + b"stream\n" * 30_000,
        "streams behind which much stands": pdf(*[("", zlib.compress(b"x"))] * 5000)
        + b" " * 9_000_000,
        "a map that is begun again and again": pdf(("", b"beginbfchar " * 80_000)),
        "a map of ranges": pdf(("", RANGES), ("", b"<0041> Tj " * 100_000)),
        "glyphs of many letters, each of all numbers": pdf(
            ("", zlib.compress(b"beginbfrange <0000> <ffff> " + LETTERS + b" endbfrange")),
        ),
        "glyphs of many letters, written often": pdf(
            ("", zlib.compress(b"beginbfchar <41> " + LETTERS + b" endbfchar")),
            ("", zlib.compress(b"<" + b"41" * 20_000 + b"> Tj")),
        ),
        "maps of all glyphs": pdf(
            *[("", zlib.compress(b"beginbfrange <0000> <ffff> <0041> endbfrange"))] * 90
        ),
        "strings of nothing": pdf(("", zlib.compress(b"()" * 8_000_000 + b" Tj"))),
        "numbers of a glyph each": pdf(("", zlib.compress(b"<aa>" * 5_000_000 + b" Tj"))),
        "ascii85 of zeros": pdf(("", b"z" * 10_000_000 + b"~>")),
        "encoded words": b"=?utf-8?b?QUFB?= " * 20_000,
        "lists that do not end": pdf(("", b"beginbfrange" + b"<00> <01> [" * 90_000)),
        "strings that do not end": pdf(
            ("", b"Tj" + b"(\\" * 500_000), ("", b"TJ" + b"(" * 500_000)
        ),
    }


LOOKED_THROUGH = {
    "each file is all that follows",
    "streams behind which much stands",
    "a map that is begun again and again",
    "glyphs of many letters, each of all numbers",
    "glyphs of many letters, written often",
    "encoded words",
    "lists that do not end",
    "strings that do not end",
}
"""What is bounded so well that all of it can be searched: it need not be held back."""
MEMORY = 1024 * 1024 * 1024
"""Of a process that looks at them, Python and these bombs themselves in it."""


def measure() -> None:
    """In a process of its own: what each of them came to, and what was looked at for it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    found = {}
    for name, raw in hostile().items():
        work = secrets()
        held = work.file(Attachment("a.zip", "application/zip", raw)) is None
        found[name] = held, secrecy._WORK - work._work.left, work._work.seconds
    print(json.dumps(found))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_bombs_cost_little() -> None:
    """None takes more memory, work or time than a mail may; what would is held back."""
    command = [sys.executable, "-c", f"from {__name__} import measure; measure()"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=590)
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout)
    assert {name for name, (held, _, _) in found.items() if not held} == LOOKED_THROUGH
    assert max(looked_at for _, looked_at, _ in found.values()) < 32 * 1024 * 1024
    assert min(left for _, _, left in found.values()) > 0, "each ended before its time was up"


def test_one_mail_has_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes longer to search than a mail may is held back, and so is what follows in it."""
    work = Secrets(frozenset({TOKEN}))
    rich = Attachment("a.docx", "application/x", document(HARMLESS))
    assert work.file(rich) == rich
    steps = iter(range(10_000))
    monkeypatch.setattr(secrecy, "thread_time", lambda: float(next(steps)))
    monkeypatch.setattr(secrecy, "_SECONDS", 10.0)
    work = Secrets(frozenset({TOKEN}))
    assert work.file(Attachment("a", "text/plain", b"short")) is not None
    assert work.file(rich) is None
    assert work.file(Attachment("b", "text/plain", b"short, too")) is None


def test_no_piece_is_longer_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrecy, "PIECE_BYTES", 1000)
    assert [secrets().stand_in(b"\0" * size) for size in (1000, 1001)] == [False, True]


def test_encoded_words_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads a run of them takes a time that grows with its square."""
    read: list[int] = []

    def counted(run: str) -> object:
        read.append(run.count("=?utf-8"))
        return decode_header(run)

    monkeypatch.setattr(headers, "decode_header", counted)
    assert headers.encoded_words_read("=?utf-8?b?QUFB?= " * 950).strip() == "AAA" * 950
    assert (max(read), sum(read)) == (100, 950)


def test_one_mail_has_one_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many files it is cut into; and what was looked at is not looked at again."""
    monkeypatch.setattr(secrecy, "_WORK", 1_000_000)
    work = Secrets(frozenset({TOKEN}))
    files = [Attachment("a", "application/x", os.urandom(400_000) + b"\0") for _ in range(3)]
    assert [work.file(one) is None for one in files] == [False, False, True]
    assert [work.file(one) is None for one in files] == [False, False, True]
    assert work.file(Attachment("b", "text/plain", b"short")) is None, "nothing is unlooked at"
    assert work.in_text("words") == "words", "what the room is told has its own measure"
    assert Secrets(frozenset({TOKEN})).file(files[2]) == files[2]


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted(PACKED)),
    st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=20)), max_size=8),
)
def test_no_broken_file_makes_it_raise(name: str, changes: list[tuple[int, bytes]]) -> None:
    raw = bytearray(PACKED[name](ADDRESS))
    for at, new in changes:
        raw[at % len(raw) : at % len(raw) + len(new)] = new
    try:
        for one in unpacked(bytes(raw), lambda: 10_000_000):
            assert isinstance(one, bytes)
    except TooMuch:
        pass
