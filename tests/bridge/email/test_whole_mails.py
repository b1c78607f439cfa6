"""Whole answers as mail programs make them: language, charset, encoding, form, all at once (M6)."""

# ruff: noqa: RUF001 - letters of many scripts are what this is about

from __future__ import annotations

import base64
import quopri

import pytest

from bridge.email.parsing import parse
from bridge.email.secrecy import Secrets
from bridge.email.showing import shown_of
from tests.bridge.email.corpus import ATTRIBUTIONS, OUTLOOK, mail

SECRETS = Secrets(frozenset({"cdqdtzy5iwynuisqmb5lg34m"}))
FOOT = "Answer this mail to write to Book club."


def shown(raw: bytes) -> tuple[str, list[str]]:
    found = shown_of(parse(raw), raw, SECRETS, titled=False)
    return found.text, [one.name for one in found.files]


ANSWERS = {
    "de": ("Ja, gerne. Grüße!", "iso-8859-1", "de Gmail"),
    "fr": ("Bien sûr, à vendredi !", "windows-1252", "fr"),
    "es": ("¡Claro que sí!", "utf-8", "es"),
    "it": ("Sì, perché no?", "iso-8859-15", "it"),
    "nl": ("Ja, graag; één vraag nog.", "utf-8", "nl"),
    "pl": ("Tak, zażółć gęślą jaźń.", "iso-8859-2", "pl"),
    "pt": ("Sim, até sexta-feira.", "utf-8", "pt"),
    "sv": ("Ja, på fredag då.", "iso-8859-1", "sv"),
    "da": ("Ja, på gensyn.", "utf-8", "da"),
    "no": ("Ja, så gjerne.", "utf-8", "no"),
    "fi": ("Kyllä, nähdään.", "utf-8", "fi"),
    "cs": ("Ano, příště.", "windows-1250", "cs"),
    "ru": ("Да, увидимся.", "koi8-r", "ru"),
    "uk": ("Так, до зустрічі.", "windows-1251", "uk"),
    "tr": ("Evet, görüşürüz.", "iso-8859-9", "tr"),
    "ja": ("はい、行きます。", "iso-2022-jp", "ja"),
    "zh": ("好的，周五见。", "gb18030", "zh"),
    "ko": ("네, 금요일에 봐요.", "euc-kr", "ko"),
    "en": ("Yes, see you.", "us-ascii", "en Apple"),
}


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
@pytest.mark.parametrize("language", ANSWERS)
def test_an_answer_in_its_own_charset(language: str, encoding: str) -> None:
    """The words alone, and the whole mail beside them."""
    words, charset, form = ANSWERS[language]
    text = f"{words}\n\n{ATTRIBUTIONS[form]}\n\n> Shall we?\n> -- \n> {FOOT}\n"
    try:
        raw = text.encode(charset)
    except UnicodeEncodeError:
        raw = f"{words}\n\n> Shall we?\n> {FOOT}\n".encode(charset)
    body = base64.encodebytes(raw) if encoding == "base64" else quopri.encodestring(raw)
    fields = {
        "Content_Type": f'text/plain; charset="{charset}"',
        "Content_Transfer_Encoding": encoding,
    }
    assert shown(mail(body, **fields)) == (words.replace("*", r"\*"), ["original.eml"])


@pytest.mark.parametrize("language", OUTLOOK)
def test_an_answer_of_outlook_in_html_alone(language: str) -> None:
    who, when, to, about, date = OUTLOOK[language]
    field = (
        '<p class="MsoNormal"><b>{}:</b> {}<br><b>{}:</b> {}<br><b>{}:</b> {}<br><b>{}:</b> {}</p>'
    )
    head = field.format(who, "Ana Ruiz &lt;ana@x.org&gt;", when, date, to, "Bo", about, "Friday")
    html = (
        '<html xmlns:o="urn:schemas-microsoft-com:office:office"><head><style>p{color:red}</style>'
        '</head><body><p class="MsoNormal">Yes, <b>see</b> you.<o:p></o:p></p>'
        '<div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm">'
        f"{head}</div><p>Shall we?</p><img src='https://spy.example/x.gif'></body></html>"
    )
    raw = mail(html, Content_Type="text/html; charset=utf-8")
    assert shown(raw) == ("Yes, **see** you.", ["original.eml"])


WHOLE: dict[str, tuple[bytes, str]] = {
    "Gmail, HTML alone": (
        mail(
            '<div dir="ltr">Yes, <i>again</i>!</div><br><div class="gmail_quote"><div dir="ltr" '
            f'class="gmail_attr">{ATTRIBUTIONS["en Gmail"].replace("<", "&lt;")}<br></div>'
            '<blockquote class="gmail_quote" style="margin:0">Shall we?<br>Ana</blockquote></div>',
            Content_Type="text/html; charset=utf-8",
        ),
        "Yes, *again*!",
    ),
    "Apple, HTML alone": (
        mail(
            "<html><body><div>Yes.</div><div><br><blockquote type='cite'><div>"
            f"{ATTRIBUTIONS['en Apple'].replace('<', '&lt;')}</div><br><div>Shall we?</div>"
            "</blockquote></div><br></body></html>",
            Content_Type="text/html; charset=utf-8",
        ),
        "Yes.",
    ),
    "between the lines, in HTML": (
        mail(
            f"<p>{ATTRIBUTIONS['de Thunderbird']}</p><blockquote>Can you come?</blockquote>"
            "<p>I will.</p><blockquote>Bring bread?</blockquote><p>Ok!</p>",
            Content_Type="text/html; charset=utf-8",
        ),
        "> Can you come?\n\nI will.\n\n> Bring bread?\n\nOk!",
    ),
    "between the lines, flowed": (
        mail(
            f"{ATTRIBUTIONS['en Thunderbird']}\n> Can you come to the long \n> meeting?\n\n"
            "I will, and I will \nbring bread.\n\n> Who else?\n\nBo.\n-- \nAna\n",
            Content_Type="text/plain; format=flowed",
        ),
        "> Can you come to the long meeting?\n\nI will, and I will bring bread.\n\n"
        "> Who else?\n\nBo.",
    ),
    "flowed, with DelSp": (
        mail(
            "こん \nにちは\n\n> x\n".encode(),
            Content_Type="text/plain; charset=utf-8; format=flowed; delsp=yes",
        ),
        "こんにちは",
    ),
    "both, the plain one empty": (
        mail(
            "--b\nContent-Type: text/plain\n\n\n"
            "--b\nContent-Type: text/html\n\n<p>Yes.</p>\n--b--\n",
            Content_Type="multipart/alternative; boundary=b",
        ),
        "Yes.",
    ),
    "a telephone's": (
        mail("Yes.\n\nVon meinem iPhone gesendet\n\n> Shall we?\n", Content_Type="text/plain"),
        "Yes.",
    ),
    "a header of eight bits, no charset": (
        mail("Grüße\n".encode("latin-1"), Subject="Gr\xfc\xdfe", Content_Type="text/plain"),
        "Grüße",
    ),
    "a boundary that never ends": (
        mail("--b\n\nYes.\n--b\nContent-Type: text/pl", Content_Type="multipart/mixed; boundary=b"),
        "Yes.",
    ),
    "signed by a list of its own": (
        mail("Yes.\n\n-- \nBo Berg\nBerg & Sons\n+49 30 1234\n"),
        "Yes.",
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_mail(name: str) -> None:
    raw, expected = WHOLE[name]
    assert shown(raw)[0] == expected


@pytest.mark.parametrize(
    ("raw", "files"),
    [
        (mail("Yes.\n"), []),
        (mail("Yes.\n\n> Shall we?\n"), ["original.eml"]),
        (mail(("word " * 15 + "\n") * 1000), ["original.eml"]),
        (mail("<div>" * 5000 + "Yes.", Content_Type="text/html"), ["original.eml"]),
    ],
    ids=["shown whole", "its quote taken out", "cut", "not read whole"],
)
def test_what_is_not_shown_whole_is_beside_it(raw: bytes, files: list[str]) -> None:
    assert shown(raw)[1] == files


def test_ten_languages_and_more_are_tried() -> None:
    assert len(ANSWERS) >= 10
    assert len(OUTLOOK) >= 10
