"""mIRC's formatting codes and the tree of text format lite, both ways (G7).

A line is *runs*: pieces of text, each with one `Style`. `decode` and `encode` are the codes,
`line_of` and `runs_of` the tree. What is encoded and decoded again is the same line; no control
character is ever text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from attrs import evolve, field, frozen

from bridge.core.formatting import upright
from ofcd.client import lite

__all__ = [
    "Run",
    "Style",
    "clean",
    "decode",
    "encode",
    "line_of",
    "plain",
    "runs_of",
    "runs_of_row",
]

BOLD, ITALIC, UNDERLINE, STRIKE, MONO = "\x02", "\x1d", "\x1f", "\x1e", "\x11"
COLOUR, HEX, REVERSE, RESET = "\x03", "\x04", "\x16", "\x0f"
_DEFAULT: Final = 99
_CODE: Final = re.compile(
    "(\x02|\x1d|\x1f|\x1e|\x11|\x16|\x0f"
    "|\x03(?:\\d{1,2}(?:,\\d{1,2})?)?"
    "|\x04(?:[0-9A-Fa-f]{6}(?:,[0-9A-Fa-f]{6})?)?)"
)


@frozen
class Style:
    """How a run looks."""

    bold: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False
    mono: bool = False
    foreground: int | None = None
    background: int | None = None

    @property
    def is_coloured(self) -> bool:
        """Whether it has a colour of its own."""
        return self.foreground is not None or self.background is not None


_TOGGLES: Final = {
    BOLD: "bold",
    ITALIC: "italic",
    UNDERLINE: "underline",
    STRIKE: "strike",
    MONO: "mono",
}
PLAIN: Final = Style()


@frozen
class Run:
    """A piece of a line."""

    text: str = field(repr=lambda text: f"<{len(text)}>")
    style: Style = PLAIN


def clean(text: str) -> str:
    """Text without what a client or server reads as a code, or as the end of a line.

    Nor with what reorders it, and what stands around it.
    """
    kept = (one for one in text if unicodedata.category(one) not in ("Cc", "Zl", "Zp", "Cs"))
    return upright("".join(kept))


def joined(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Without empty runs, and with neighbours of one style in one."""
    made: list[Run] = []
    for run in runs:
        if made and run.text and made[-1].style == run.style:
            made[-1] = Run(made[-1].text + run.text, run.style)
        elif run.text:
            made.append(run)
    return tuple(made)


def plain(runs: Iterable[Run]) -> str:
    """The words."""
    return "".join(run.text for run in runs)


# -- codes -----------------------------------------------------------------------------------------


def decode(text: str) -> tuple[Run, ...]:
    """What a line says. Never raises; unknown codes and other controls are dropped."""
    runs: list[Run] = []
    style = PLAIN
    for at, piece in enumerate(_CODE.split(text)):
        if at % 2 == 0:
            runs.append(Run(clean(piece), style))
        elif piece[0] in _TOGGLES:
            name = _TOGGLES[piece[0]]
            style = evolve(style, **{name: not getattr(style, name)})
        elif piece[0] == RESET:
            style = PLAIN
        elif piece[0] == COLOUR:
            style = _coloured(style, piece[1:])
    return joined(runs)


def _coloured(style: Style, numbers: str) -> Style:
    if not numbers:
        return evolve(style, foreground=None, background=None)
    foreground, _, background = numbers.partition(",")
    style = evolve(style, foreground=_colour(int(foreground)))
    return evolve(style, background=_colour(int(background))) if background else style


def _colour(number: int) -> int | None:
    return None if number == _DEFAULT else number


def encode(runs: Iterable[Run]) -> str:
    """A line with its codes; it ends plain, so nothing runs on into what comes behind it."""
    made, style = "", PLAIN
    for run in joined(Run(clean(one.text), one.style) for one in runs):
        made += codes(style, run.style, run.text)
        made += run.text
        style = run.style
    return made


def codes(before: Style, after: Style, following: str) -> str:
    """What turns one style into another, before text that begins like `following`."""
    if before == after:
        return ""
    made = ""
    lost = (before.foreground is not None and after.foreground is None) or (
        before.background is not None and after.background is None
    )
    if lost:  # a bare colour code would swallow a digit that follows: begin anew instead
        made, before = RESET, PLAIN
    for code, name in _TOGGLES.items():
        if getattr(before, name) != getattr(after, name):
            made += code
    colours = (before.foreground, before.background) != (after.foreground, after.background)
    if after.is_coloured and colours:
        made += COLOUR + f"{_DEFAULT if after.foreground is None else after.foreground:02d}"
        if after.background is not None:
            made += f",{after.background:02d}"
        elif re.match(r",\d", following):
            made += f",{_DEFAULT}"
    return made


# -- the tree --------------------------------------------------------------------------------------

_NODES: Final[tuple[tuple[str, Callable[[lite.Line], lite.Inline]], ...]] = (
    ("bold", lite.Bold),
    ("italic", lite.Italic),
    ("underline", lite.Underline),
    ("strike", lite.Strike),
)
_NAMES: Final = {
    lite.Bold: "bold",
    lite.Italic: "italic",
    lite.Underline: "underline",
    lite.Strike: "strike",
}


def line_of(runs: Iterable[Run], *, colours: bool = False) -> lite.Line:
    """A line of the tree. Without `colours` they are left out: rooms choose their own contrast."""
    wanted = [
        run if colours else evolve(run, style=evolve(run.style, foreground=None, background=None))
        for run in runs
    ]
    return _nested(list(joined(wanted)), 0)


def _nested(runs: list[Run], level: int) -> lite.Line:
    made: list[lite.Inline] = []
    at = 0
    while at < len(runs):
        key = _key(runs[at], level)
        end = at
        while end < len(runs) and _key(runs[end], level) == key:
            end += 1
        group = runs[at:end]
        at = end
        if level < len(_NODES):
            inner = _nested(group, level + 1)
            made.extend((_NODES[level][1](inner),) if key else inner)
        elif level == len(_NODES):
            inner = _nested(group, level + 1)
            style = group[0].style
            made.extend((lite.Colour(inner, style.foreground, style.background),) if key else inner)
        else:
            made.append(lite.Code(plain(group)) if key else lite.Text(plain(group)))
    return tuple(made)


def _key(run: Run, level: int) -> object:
    if level < len(_NODES):
        return getattr(run.style, _NODES[level][0])
    if level == len(_NODES):
        style = run.style
        return (style.foreground, style.background) if style.is_coloured else None
    return run.style.mono


def runs_of(line: lite.Line) -> tuple[Run, ...]:
    """The runs of a line of the tree."""
    return joined(_runs(line, PLAIN))


def _runs(line: lite.Line, style: Style) -> Iterator[Run]:
    for piece in line:
        match piece:
            case lite.Text():
                yield Run(clean(piece.text), style)
            case lite.Code():
                yield Run(clean(piece.text), evolve(style, mono=True))
            case lite.Mention():
                yield Run(clean(piece.name), style)
            case lite.Link():
                yield from _runs(piece.children, style)
                words = plain(_runs(piece.children, style))
                if words not in (piece.url, piece.url.removeprefix("mailto:")):
                    yield Run(f" ({piece.url})", style)
            case lite.Colour():
                coloured = evolve(style, foreground=piece.foreground, background=piece.background)
                yield from _runs(piece.children, coloured)
            case _:
                yield from _runs(piece.children, evolve(style, **{_NAMES[type(piece)]: True}))


_SPANS: Final = {
    lite.Style.BOLD: "bold",
    lite.Style.ITALIC: "italic",
    lite.Style.UNDERLINE: "underline",
    lite.Style.STRIKE: "strike",
    lite.Style.CODE: "mono",
}


def runs_of_row(row: lite.Row) -> tuple[Run, ...]:
    """The runs of a row of a document, with the mark of its quote or list."""
    spans = [
        Run(
            clean(span.text.removeprefix("@") if lite.Style.MENTION in span.styles else span.text),
            Style(**{_SPANS[one]: True for one in span.styles if one in _SPANS}),
        )
        for span in row.spans
    ]
    return joined([Run(clean(row.first)), *spans])
