"""lite.json: texts in text format lite, and the trees they are."""

from __future__ import annotations

from typing import Any, Final

import attrs

from ofcd.e2e import lite
from ofcd.protocol.ids import MemberId
from tests.vectors.making.common import MID, OTHER_MID, Keys

_NAMELESS: Final = MemberId(bytes(32))
_MENTIONED: Final = ((MID, "Ana"), (OTHER_MID, "Ana Maria"), (_NAMELESS, ""))
_NAMES: Final = {
    lite.Text: "text",
    lite.Code: "code",
    lite.Bold: "bold",
    lite.Italic: "italic",
    lite.Strike: "strike",
    lite.Link: "link",
    lite.Mention: "mention",
    lite.Paragraph: "paragraph",
    lite.CodeBlock: "code_block",
    lite.Quote: "quote",
    lite.BulletList: "bullet_list",
    lite.NumberedList: "numbered_list",
}
_LONG: Final = "https://a.example/" + "x" * lite.URL_CHARACTERS

TEXTS: Final = {
    "nothing": ["", " ", "\n\n", "a", "a\nb", "a\n\n\nb", "a\r\nb\rc", "  a  "],
    "markers": [
        "**bold** *italic* _italic_ ~~struck~~",
        "***both***",
        "*a **b***",
        "**a *b***",
        "*a **b** c* d",
        "_a *b* c_",
        "**a _b ~~c~~_**",
        "(**a**)",
        "**重要**的 这是**重要**的",
        "*a b\nc*",
    ],
    "markers that are none": [
        "2*3*4 and 2 * 3 * 4",
        "snake_case_name __init__ привет_мир_тут",
        "*.py and *.c",
        "** a ** b**",
        "**a",
        "a**",
        "*a**",
        "**a*",
        "~a~ ~~~a~~~ ****a****",
        "*a _b* c_",
        "**a *b** c*",
        "* a",
        "*a*b *c*",
    ],
    "escapes": [
        r"\``a` b`` c`",
        r"\*a\* \\ \_ \a \[x](https://a.example)",
        "\\",
        r"\`a` `\`",
        r"\> a",
        r"1\. a",
    ],
    "code": [
        "`a` ``a`b`` `` ` `` ` a` ` a ` `  `",
        "`a *b* [c](https://a.example)`",
        "`a",
        "``a`",
        "*a `b* c`",
        "a```b```c",
    ],
    "links": [
        "[a](https://a.example) [b](http://b.example/x?y=1#z) [c](mailto:c@c.example)",
        "[a *b* `c`](https://a.example/x_(y)) d",
        "[](https://a.example)",
        "[a [b](https://b.example)",
        "[a] (https://a.example) [a](https://a.example",
        "[a](javascript:alert(1)) [a](data:text/html,x) [a](//a.example) [a](a.example)",
        "[a](HTTPS://a.example) [a](ftp://a.example) [a](https://) [a](https:///x)",
        "[a](https://a b) [a](https://bär.example) [a](mailto:x) [a](https://[::1]/)",
        '[a](https://a.example "title")',
        "*[a*](https://a.example)",
        "[*a](https://a.example)*",
        "[https://a.example](https://b.example)",
        f"[a]({_LONG})",
    ],
    "addresses": [
        "https://a.example, see http://b.example/x_y_z. (https://c.example/(d)) mailto:e@f.example",
        '**https://a.example** <https://b.example> "https://c.example" https://d.example/?!',
        "xhttps://a.example 看https://b.example https://c.examplé https:// http://-",
        "mailto:x mailto:x@ mailto:@x a@b.example mailto:a@-b mailto:a@.b [a](mailto:a@-b)",
        f"{_LONG} a",
    ],
    "mentions": [
        "@Ana, @Ana Maria! (@Ana) @Anabel x@Ana @Bo **@Ana** @ @",
        r"\@Ana `@Ana` [@Ana](https://a.example)",
    ],
    "quotes": [
        "> a\n> b\nc",
        ">a",
        ">\n> a\n>",
        "> > a\n> b",
        "a\n> *b*\n\n> c",
        "> > > > > a",
        "> ```\n> a\n> ```",
    ],
    "lists": [
        "- a\n- *b*\n\n- c",
        "* a\n* b",
        "3. a\n3) b\n9. c",
        "- a\n  b\n  - c\n    - d\n- e",
        "1. a\n   b\n2. c\n  d",
        "-a\n-\n- \n1.a\n1234. a",
        "- a\n1. b",
        "a\n- b\nc",
        "- > a\n- ```\n  b\n  ```",
        "- - - - - a",
    ],
    "blocks of code": [
        "```\na\n  *b*\n\nc\n```\nd",
        "```python\nx = 1\n```",
        "```\na",
        "```a b\nc\n```",
        "```\n```",
        "a\n```\nb\n``` \nc",
        "```\n> a\n```",
        " ```\na\n```",
    ],
    "not in the grammar": [
        "# a\n| a | b |\n---\n<b>a</b> &amp; ![a](https://a.example)\n[a]: https://a.example",
    ],
}


def to_json(node: Any) -> Any:
    """A node, or nodes, as lite.json writes them: `type`, then the node's fields."""
    if isinstance(node, bytes):
        return node.hex()
    if isinstance(node, tuple):
        return [to_json(one) for one in node]
    if type(node) in _NAMES:
        fields = {
            field.name: to_json(getattr(node, field.name)) for field in attrs.fields(type(node))
        }
        return {"type": _NAMES[type(node)], **fields}
    return node


def make(_: Keys) -> dict[str, Any]:
    """The content of lite.json."""
    return {
        "about": "Text format lite: each text, the tree it is, and that tree as plain text. "
        "`mentioned` are the names under which the message's mentions are known.",
        "mentioned": [{"member": mid.hex(), "name": name} for mid, name in _MENTIONED],
        "cases": [
            {"of": of, "text": text, "tree": to_json(document), "plain": lite.plain(document)}
            for of, texts in TEXTS.items()
            for text in texts
            for document in (lite.parse(text, _MENTIONED),)
        ],
        "escaped": [{"text": text, "escaped": lite.escape(text)} for text in _ESCAPED],
    }


_ESCAPED: Final = [
    "*a* _b_ `c` ~~d~~ [e](f) @g \\",
    "> a\n- b\n* c\n1. d\n```\ne",
    "see https://a.example/x_y_z*",
    "a - b > c 1.5",
]
