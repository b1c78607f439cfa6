"""format=flowed (RFC 3676): paragraphs that were broken for the width of a screen, made whole."""

from __future__ import annotations

__all__ = ["unflow"]


def unflow(text: str, *, delsp: bool = False) -> str:
    """The text with soft line breaks taken out; quotes are `> ` for each level.

    `delsp`: the space that marks a soft break is no part of the text (DelSp=yes).
    """
    made: list[str] = []
    open_depth = -1
    """Of the paragraph that goes on; -1: none does."""
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        words = line[depth:].removeprefix(" ")
        signature = words == "-- "
        if open_depth == depth and not signature:
            made[-1] += words
        else:
            made.append("> " * depth + words)
        soft = words.endswith(" ") and not signature
        open_depth = depth if soft else -1
        if soft and delsp:
            made[-1] = made[-1][:-1]
    return "\n".join(line if line.endswith("-- ") else line.rstrip(" ") for line in made)
