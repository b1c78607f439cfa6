"""Awkward mail, made here: how people's programs introduce what they answer, and worse."""

# ruff: noqa: RUF001 - letters of many scripts are what this is about

from __future__ import annotations

from base64 import b64encode
from typing import Final

__all__ = ["ATTRIBUTIONS", "OUTLOOK", "mail", "part"]

ATTRIBUTIONS: Final = {
    "en Gmail": "On Wed, Nov 18, 2026 at 13:37, Ana Ruiz <ana@example.org> wrote:",
    "en Apple": "On 18 Nov 2026, at 13:37, Ana Ruiz <ana@example.org> wrote:",
    "en wrapped": "On Wed, Nov 18, 2026 at 13:37, Ana Maria\nde la Torre <ana@example.org> wrote:",
    "en Thunderbird": "On 18/11/2026 13:37, Ana Ruiz wrote:",
    "de Thunderbird": "Am 18.11.26 um 13:37 schrieb Ana Ruiz:",
    "de Gmail": "Am Mi., 18. Nov. 2026 um 13:37 Uhr schrieb Ana Ruiz <ana@example.org>:",
    "fr": "Le mer. 18 nov. 2026 à 13:37, Ana Ruiz <ana@example.org> a écrit :",
    "es": "El mié, 18 nov 2026 a las 13:37, Ana Ruiz (<ana@example.org>) escribió:",
    "it": "Il giorno mer 18 nov 2026 alle ore 13:37 Ana Ruiz <ana@example.org> ha scritto:",
    "nl": "Op wo 18 nov 2026 om 13:37 schreef Ana Ruiz <ana@example.org>:",
    "pl": "śr., 18 lis 2026 o 13:37 Ana Ruiz <ana@example.org> napisał(a):",
    "pt": "Em qua., 18 de nov. de 2026 às 13:37, Ana Ruiz <ana@example.org> escreveu:",
    "sv": "Den ons 18 nov. 2026 kl 13:37 skrev Ana Ruiz <ana@example.org>:",
    "da": "Den ons. 18. nov. 2026 kl. 13.37 skrev Ana Ruiz <ana@example.org>:",
    "no": "ons. 18. nov. 2026 kl. 13:37 skrev Ana Ruiz <ana@example.org>:",
    "fi": "ke 18. marrask. 2026 klo 13.37 Ana Ruiz (ana@example.org) kirjoitti:",
    "cs": "st 18. 11. 2026 v 13:37 odesílatel Ana Ruiz <ana@example.org> napsal:",
    "ru": "ср, 18 нояб. 2026 г. в 13:37, Ana Ruiz <ana@example.org>:",
    "uk": "ср, 18 лист. 2026 р. о 13:37 Ana Ruiz <ana@example.org> пише:",
    "tr": "Ana Ruiz <ana@example.org>, 18 Kas 2026 Çar, 13:37 tarihinde şunu yazdı:",
    "ja": "2026年11月18日(水) 13:37 Ana Ruiz <ana@example.org>:",
    "zh": "Ana Ruiz <ana@example.org> 于2026年11月18日周三 13:37写道:",
    "ko": "2026년 11월 18일 (수) 오후 1:37, Ana Ruiz <ana@example.org>님이 작성:",
}

OUTLOOK: Final = {
    "en": ("From", "Sent", "To", "Subject", "Wednesday, November 18, 2026 1:37 PM"),
    "de": ("Von", "Gesendet", "An", "Betreff", "Mittwoch, 18. November 2026 13:37"),
    "fr": ("De ", "Envoyé ", "À ", "Objet ", "mercredi 18 novembre 2026 13:37"),
    "es": ("De", "Enviado", "Para", "Asunto", "miércoles, 18 de noviembre de 2026 13:37"),
    "it": ("Da", "Inviato", "A", "Oggetto", "mercoledì 18 novembre 2026 13:37"),
    "nl": ("Van", "Verzonden", "Aan", "Onderwerp", "woensdag 18 november 2026 13:37"),
    "pl": ("Od", "Wysłano", "Do", "Temat", "środa, 18 listopada 2026 13:37"),
    "pt": ("De", "Enviada", "Para", "Assunto", "quarta-feira, 18 de novembro de 2026 13:37"),
    "sv": ("Från", "Skickat", "Till", "Ämne", "den 18 november 2026 13:37"),
    "da": ("Fra", "Sendt", "Til", "Emne", "18. november 2026 13:37"),
    "cs": ("Od", "Odesláno", "Komu", "Předmět", "středa 18. listopadu 2026 13:37"),
    "ru": ("От", "Отправлено", "Кому", "Тема", "18 ноября 2026 г. 13:37"),
    "ja": ("差出人", "送信日時", "宛先", "件名", "2026年11月18日 13:37"),
    "zh": ("发件人", "发送时间", "收件人", "主题", "2026年11月18日 13:37"),
}

_HEAD: Final = {
    "From": "Ana Ruiz <ana@example.org>",
    "To": "books@bridge.example",
    "Subject": "Friday",
    "Message-ID": "<one@example.org>",
}


def mail(body: str | bytes = "Hello.\n", **fields: str | None) -> bytes:
    """A mail; `fields` change or (None) take out the header, `In_Reply_To` is In-Reply-To."""
    head = {**_HEAD, **{name.replace("_", "-"): value for name, value in fields.items()}}
    lines = [f"{name}: {value}" for name, value in head.items() if value is not None]
    raw = body.encode() if isinstance(body, str) else body
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + raw.replace(b"\n", b"\r\n")


def part(kind: str, content: bytes, *extra: str) -> str:
    """A part of a multipart, in base64."""
    head = "\n".join([f"Content-Type: {kind}", "Content-Transfer-Encoding: base64", *extra])
    return f"{head}\n\n{b64encode(content).decode()}\n"
