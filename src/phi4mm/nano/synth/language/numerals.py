"""Numbers from zero to one hundred in words, in four languages."""

from __future__ import annotations

from phi4mm.nano.synth.example import Language

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
        """cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis
        diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro veinticinco veintiséis
        veintisiete veintiocho veintinueve""".split()
    ),
}
TENS: dict[Language, tuple[str, ...]] = {
    "en": tuple("twenty thirty forty fifty sixty seventy eighty ninety".split()),
    "de": tuple("zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()),
    "fr": tuple("vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt".split()),
    "es": tuple("veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa".split()),
}
HUNDRED: dict[Language, str] = {"en": "one hundred", "de": "hundert", "fr": "cent", "es": "cien"}


def in_words(number: int, language: Language) -> str:
    """A number from 0 to 100 as counted, such as `einundzwanzig` or `quatre-vingts`."""
    if number == 100:
        return HUNDRED[language]
    if number < len(SMALL[language]):
        return SMALL[language][number]
    ten, one = divmod(number, 10)
    word = TENS[language][ten - 2]
    if language == "fr":
        return _french(number, ten, one, word)
    if not one:
        return word
    unit = SMALL[language][one]
    if language == "en":
        return f"{word}-{unit}"
    return f"{'ein' if one == 1 else unit}und{word}" if language == "de" else f"{word} y {unit}"


def _french(number: int, ten: int, one: int, word: str) -> str:
    if number == 80:
        return "quatre-vingts"
    unit = SMALL["fr"][one + 10 if ten in (7, 9) else one]
    if one == 1 and ten < 8:
        return f"{word} et {unit}"
    return word if not one and ten not in (7, 9) else f"{word}-{unit}"
