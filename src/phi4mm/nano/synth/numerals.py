"""Numbers as words, so that what is spoken and what is transcribed has no digits."""

from __future__ import annotations

import re

from phi4mm.nano.synth.example import Language

MOST = 999_999
SMALL: dict[Language, tuple[str, ...]] = {
    "en": tuple(
        """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen""".split()
    ),
    "de": tuple(
        """null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn
        siebzehn achtzehn neunzehn""".split()
    ),
    "fr": tuple(
        """zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept
        dix-huit dix-neuf""".split()
    ),
    "es": tuple(
        """cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis diecisiete
        dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro veinticinco veintiséis veintisiete
        veintiocho veintinueve""".split()
    ),
}
TENS: dict[Language, tuple[str, ...]] = {
    "en": ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"),
    "de": ("", "", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"),
    "fr": ("", "", "vingt", "trente", "quarante", "cinquante", "soixante", "soixante", "quatre-vingt", "quatre-vingt"),
    "es": ("", "", "", "treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa"),
}
HUNDREDS_ES = (
    "", "ciento", "doscientos", "trescientos", "cuatrocientos", "quinientos", "seiscientos", "setecientos",
    "ochocientos", "novecientos",
)  # fmt: skip
SIGNS: dict[Language, dict[str, str]] = {
    "en": {"+": "plus", "-": "minus", "*": "times", "%": "percent", "=": "equals"},
    "de": {"+": "plus", "-": "minus", "*": "mal", "%": "Prozent", "=": "gleich"},
    "fr": {"+": "plus", "-": "moins", "*": "fois", "%": "pour cent", "=": "égale"},
    "es": {"+": "más", "-": "menos", "*": "por", "%": "por ciento", "=": "igual a"},
}


def number_words(number: int, language: Language) -> str:
    """A whole number from 0 to MOST in words: 21 is "twenty-one", "einundzwanzig", "vingt et un", "veintiuno"."""
    assert 0 <= number <= MOST, number
    return {"en": _english, "de": _german, "fr": _french, "es": _spanish}[language](number)


def sayable(text: str, language: Language) -> str:
    """`text` with every whole number, and every sign of arithmetic between spaces, in words."""
    signs = SIGNS[language]
    text = re.sub(r"(?<=[\d ])(?: ?)([-+*=])(?= ?\d)", lambda match: f" {signs[match[1]]} ", text)
    text = re.sub(r"(?<=\d) ?%", f" {signs['%']}", text)
    text = re.sub(r"\d+", lambda match: number_words(int(match[0]), language), text)
    return re.sub(r" {2,}", " ", text)


def _english(number: int) -> str:
    if number < 20:
        return SMALL["en"][number]
    if number < 100:
        return TENS["en"][number // 10] + (f"-{SMALL['en'][number % 10]}" if number % 10 else "")
    if number < 1000:
        return f"{SMALL['en'][number // 100]} hundred" + (f" {_english(number % 100)}" if number % 100 else "")
    return f"{_english(number // 1000)} thousand" + (f" {_english(number % 1000)}" if number % 1000 else "")


def _german(number: int) -> str:
    one = {1: "ein"}
    if number < 20:
        return SMALL["de"][number]
    if number < 100:
        unit = number % 10
        return (one.get(unit, SMALL["de"][unit]) + "und" if unit else "") + TENS["de"][number // 10]
    size, word = (100, "hundert") if number < 1000 else (1000, "tausend")
    count, rest = divmod(number, size)
    counted = _german(count)
    return counted.removesuffix("s" if counted.endswith("eins") else "") + word + (_german(rest) if rest else "")


def _french(number: int) -> str:
    if number < 20:
        return SMALL["fr"][number]
    if number < 100:
        ten, unit = number // 10, number % 10
        if ten in (7, 9):
            unit += 10
        if unit == 0:
            return TENS["fr"][ten] + ("s" if ten == 8 else "")
        joined = " et " if unit in (1, 11) and ten < 8 else "-"
        return TENS["fr"][ten] + joined + SMALL["fr"][unit]
    size, word = (100, "cent") if number < 1000 else (1000, "mille")
    count, rest = divmod(number, size)
    counted = "" if count == 1 else f"{_french(count)} "
    plural = "s" if size == 100 and count > 1 and not rest else ""
    return f"{counted.replace('cents ', 'cent ').replace('vingts ', 'vingt ')}{word}{plural}" + (
        f" {_french(rest)}" if rest else ""
    )


def _spanish(number: int) -> str:
    if number < 30:
        return SMALL["es"][number]
    if number < 100:
        return TENS["es"][number // 10] + (f" y {SMALL['es'][number % 10]}" if number % 10 else "")
    if number == 100:
        return "cien"
    if number < 1000:
        return HUNDREDS_ES[number // 100] + (f" {_spanish(number % 100)}" if number % 100 else "")
    count, rest = divmod(number, 1000)
    counted = "" if count == 1 else _before_mil(_spanish(count)) + " "
    return f"{counted}mil" + (f" {_spanish(rest)}" if rest else "")


def _before_mil(words: str) -> str:
    """`veintiuno` is `veintiún` and `uno` is `un` before `mil`."""
    if words.endswith("veintiuno"):
        return words[:-3] + "ún"
    return words[:-1] if words.endswith("uno") else words
