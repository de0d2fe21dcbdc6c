"""Text without digits and signs, so that what is spoken and what is transcribed are words."""

from __future__ import annotations

import re

from phi4mm.nano.synth.example import Language
from phi4mm.nano.synth.language.numerals import in_words

MOST = 100  # a greater number is said digit by digit
SIGNS: dict[Language, dict[str, str]] = {
    "en": {"+": "plus", "-": "minus", "*": "times", "%": "percent", "=": "equals"},
    "de": {"+": "plus", "-": "minus", "*": "mal", "%": "Prozent", "=": "gleich"},
    "fr": {"+": "plus", "-": "moins", "*": "fois", "%": "pour cent", "=": "égale"},
    "es": {"+": "más", "-": "menos", "*": "por", "%": "por ciento", "=": "igual a"},
}


def sayable(text: str, language: Language) -> str:
    """`text` with whole numbers, and signs of arithmetic beside a number, in words: `three plus twelve`."""
    signs = SIGNS[language]
    text = re.sub(r"(?<=\d) ?([-+*=]) ?(?=\d)", lambda match: f" {signs[match[1]]} ", text)
    text = re.sub(r"(?<=\d) ?%", f" {signs['%']}", text)
    return re.sub(r"\d+", lambda match: _number(match[0], language), text)


def _number(digits: str, language: Language) -> str:
    if int(digits) <= MOST:
        return in_words(int(digits), language)
    return " ".join(in_words(int(digit), language) for digit in digits)
