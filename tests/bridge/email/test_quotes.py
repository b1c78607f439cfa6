"""What somebody wrote now is told from what they answer, in any language (M6)."""

# ruff: noqa: RUF001 - letters of many scripts are what this is about

from __future__ import annotations

import time

import pytest

from bridge.email.body import plain_lines, room_text
from bridge.email.quotes import strip
from tests.bridge.email.corpus import ATTRIBUTIONS, OUTLOOK


def newest(text: str) -> str:
    return room_text(strip(plain_lines(text)).lines)[0]


@pytest.mark.parametrize("language", ATTRIBUTIONS)
def test_a_quoted_answer_is_taken_out(language: str) -> None:
    said = ATTRIBUTIONS[language]
    text = f"Yes, see you there.\n\n{said}\n\n> Can you come on Friday?\n> Ana\n"
    assert newest(text) == "Yes, see you there."


@pytest.mark.parametrize("language", ATTRIBUTIONS)
def test_an_answer_that_is_not_marked_as_a_quote_is_taken_out_too(language: str) -> None:
    text = f"Yes, see you there.\n\n{ATTRIBUTIONS[language]}\n\nCan you come on Friday?\nAna\n"
    assert newest(text) == "Yes, see you there."


@pytest.mark.parametrize("language", ATTRIBUTIONS)
def test_what_is_answered_in_between_is_kept_with_it(language: str) -> None:
    text = (
        f"Short answers.\n\n{ATTRIBUTIONS[language]}\n> Can you come?\n\nI will.\n\n"
        "> Bring bread?\n\nOk!\n-- \nBo\n"
    )
    assert newest(text) == "Short answers.\n\n> Can you come?\n\nI will.\n\n> Bring bread?\n\nOk!"


@pytest.mark.parametrize("ruled", [True, False])
@pytest.mark.parametrize("language", OUTLOOK)
def test_outlooks_header_begins_what_is_answered(language: str, ruled: bool) -> None:
    who, when, to, about, date = OUTLOOK[language]
    head = f"{who}: Ana <ana@example.org>\n{when}: {date}\n{to}: Bo <bo@x.org>\n{about}: Friday\n"
    rule = "________________________________\n" if ruled else ""
    assert newest(f"Yes, see you there.\n\n{rule}{head}\nCan you come?\n") == "Yes, see you there."


def test_an_answer_below_the_quote_is_kept() -> None:
    text = f"{ATTRIBUTIONS['en Gmail']}\n> Can you come?\n\nYes.\n"
    assert newest(text) == "> Can you come?\n\nYes."


def test_a_signature_and_what_a_telephone_adds_are_taken_out() -> None:
    assert newest("Yes.\n\n-- \nBo Berg\nBerg & Sons\n") == "Yes."
    assert newest("Yes.\n\nSent from my iPhone\n") == "Yes."
    assert newest("Ja.\n\nGesendet von meinem Telefon\n") == "Ja."


@pytest.mark.parametrize(
    "line",
    [
        "Sent from my iPhone",
        "Von meinem iPhone gesendet",
        "Envoyé de mon iPhone",
        "Enviado desde mi Android",
        "Enviado do meu iPhone",
        "Inviato da iPhone",
        "Verstuurd vanaf mijn iPhone",
        "Skickat från min iPhone",
        "Sendt fra min iPhone",
        "Lähetetty iPhonesta",
        "Wysłane z iPhone'a",
        "Odesláno z mého telefonu",
        "Отправлено с iPhone",
        "Надіслано з мого iPhone",
        "iPhone'umdan gönderildi",
        "iPhoneから送信",
        "发自我的 iPhone",
        "나의 iPhone에서 보냄",
    ],
)
def test_what_a_telephone_adds_is_taken_out_in_any_language(line: str) -> None:
    assert newest(f"Ok.\n\n{line}\n") == "Ok."
    assert newest(f"Ok.\n\n{line}\n\n> Can you come?\n") == "Ok."


def test_words_that_only_look_like_a_quote_are_kept() -> None:
    """Nothing that somebody wrote is lost for having a colon, a date, a dash or a polite end."""
    for text in (
        "The list for 2026:\n\nbread\nwine",
        "I wrote to Ana.\n\nBest regards\nBo",
        "\\- bread\n\\- wine",
        "From the shop: bread\nFor you: wine",
        "What she wrote:\n\nnothing",
    ):
        assert newest(text.replace("\\", "")).replace("\\", "") == text.replace("\\", "")


def test_a_mail_that_is_all_quote_is_shown_whole() -> None:
    text = "> Can you come?"
    assert newest(text) == text
    assert not strip(plain_lines(text)).stripped


@pytest.mark.slow
@pytest.mark.parametrize(
    "hostile",
    [
        "On " * 20_000,
        "From: \n" * 20_000,
        "From: a\nSent: b\n" * 10_000,
        ("On " * 90 + "2026:\n") * 10_000,
        "a@b.c 2026 1:1:\n" * 20_000,
        "> " * 30_000,
        ">" * 100_000,
        "-- \n" * 20_000,
        ("_" * 25 + "\n") * 10_000,
    ],
    ids=lambda text: text[:9].replace("\n", " "),
)
def test_hostile_text_costs_a_bounded_time(hostile: str) -> None:
    """The same lines cost any of the libraries' patterns minutes; this is CPU time."""
    started = time.process_time()
    newest(hostile)
    assert time.process_time() - started < 15
