"""Numbers in words."""

from __future__ import annotations

import pytest

from phi4mm.nano.synth.example import LANGUAGES, Language
from phi4mm.nano.synth.numerals import number_words, sayable

KNOWN: dict[Language, dict[int, str]] = {
    "en": {0: "zero", 13: "thirteen", 40: "forty", 121: "one hundred twenty-one", 2005: "two thousand five"},
    "de": {1: "eins", 21: "einundzwanzig", 101: "einhunderteins", 1001: "eintausendeins", 60: "sechzig"},
    "fr": {21: "vingt et un", 71: "soixante et onze", 80: "quatre-vingts", 81: "quatre-vingt-un", 1999:
           "mille neuf cent quatre-vingt-dix-neuf", 200: "deux cents", 80_000: "quatre-vingt mille"},
    "es": {21: "veintiuno", 35: "treinta y cinco", 100: "cien", 101: "ciento uno", 500: "quinientos", 21_000:
           "veintiún mil", 31_000: "treinta y un mil"},
}  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_have_the_words_of_their_language(language: Language) -> None:
    """Prevents counting that no speaker of the language would understand."""
    assert {number: number_words(number, language) for number in KNOWN[language]} == KNOWN[language]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_numbers_have_the_same_words(language: Language) -> None:
    """Prevents a transcript that stands for two numbers."""
    assert len({number_words(number, language) for number in range(3000)}) == 3000


def test_what_is_said_has_no_digits_and_no_signs_of_arithmetic() -> None:
    """Prevents digits in a transcript, and a hyphen read as minus."""
    assert sayable("What is 3 + 4?", "en") == "What is three plus four?"
    assert sayable("Was ist 12 - 5?", "de") == "Was ist zwölf minus fünf?"
    assert sayable("It is 50 % well-known.", "en") == "It is fifty percent well-known."
