"""Strings that no one has seen: made-up words and names, numbers, dates, codes, punctuation, JSON values."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from typing import Any

from phi4mm.nano.synth import sentences
from phi4mm.nano.synth.skills import CITIES, ITEMS, NAMES

STARTS = (
    "b", "br", "c", "ch", "cl", "d", "dr", "f", "fl", "g", "gl", "gr", "h", "j", "k", "kl", "l", "m", "n", "p", "pr",
    "qu",
    "r", "s", "sh", "sk", "st", "t", "th", "tr", "v", "w", "y", "z", "",
)  # fmt: skip
VOWELS = (
    "a", "e", "i", "o", "u", "a", "e", "i", "o", "u", "ai", "ee", "ie", "oa", "ou", "y", "ä", "ö", "ü", "é", "è", "á",
    "ó",
)  # fmt: skip
ENDS = ("", "", "", "", "n", "r", "l", "s", "t", "m", "ck", "nd", "rt", "x", "sk", "ng", "ß", "ñ", "ll", "d", "b", "g")
WORDS = tuple(word for word in sentences.vocabulary() if word.islower())
MARKS = "!?.,;:-_+*/=#%&()[]{}<>@~^$|'\"\\€°"
EMOJI = ("🙂", "👍", "🎉", "❤️", "🚀", "🌧️", "🐟", "☕")


def made_up_word(rng: random.Random) -> str:
    """One to four made-up syllables in lower case."""
    count = rng.choice((1, 2, 2, 2, 3, 3, 4))
    return "".join(rng.choice(STARTS) + rng.choice(VOWELS) + rng.choice(ENDS) for _ in range(count))


def plain_word(rng: random.Random) -> str:
    """A made-up word of ASCII letters, at least three, for names of tools and keys."""
    while len(word := made_up_word(rng)) < 3 or not word.isascii():
        pass
    return word


def made_up_name(rng: random.Random) -> str:
    """A name that does not exist, or one of two words."""
    name = made_up_word(rng).capitalize()
    return f"{name} {made_up_word(rng).capitalize()}" if rng.random() < 0.25 else name


def real_word(rng: random.Random) -> str:
    """A word of the first nano's sentences, or one of its cities, names and things."""
    return rng.choice(WORDS) if rng.random() < 0.7 else rng.choice((*CITIES, *NAMES, *ITEMS))


def identifier(rng: random.Random) -> str:
    """A name as programs have them: `max_velm`, `getTrack`, `kar-len`."""
    words = [plain_word(rng) if rng.random() < 0.5 else rng.choice(WORDS) for _ in range(rng.choice((1, 2, 2, 3)))]
    words = [word.replace(" ", "") for word in words]
    style = rng.randrange(4)
    if style == 0:
        return words[0] + "".join(word.capitalize() for word in words[1:])
    return ("_", "_", "-")[style - 1].join(words)


def number(rng: random.Random) -> str:
    """A number as people write them: 7, -31, 4,096, 12.50, 80 %, 1e-3."""
    size = 10 ** rng.randint(1, 7)
    style = rng.randrange(8)
    if style < 4:
        return str(rng.randrange(size))
    if style == 4:
        return f"{rng.randrange(size):,}"
    if style == 5:
        return f"{rng.randrange(size) / 100:.{rng.randint(1, 3)}f}"
    return (
        f"-{rng.randrange(size)}" if style == 6 else f"{rng.randrange(100)}{rng.choice((' %', '%', ' €', ' km', 'kg'))}"
    )


def date(rng: random.Random) -> str:
    """A date or a time of day in one of the usual forms."""
    year, month, day = rng.randint(1900, 2099), rng.randint(1, 12), rng.randint(1, 28)
    hour, minute = rng.randrange(24), rng.randrange(60)
    return rng.choice(
        (f"{year}-{month:02}-{day:02}", f"{day:02}.{month:02}.{year}", f"{month}/{day}/{year}", f"{hour}:{minute:02}",
         f"{hour:02}:{minute:02}:{rng.randrange(60):02}", f"{hour % 12 + 1}:{minute:02} pm",
         f"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}Z", f"{day} {rng.choice(MONTHS)} {year}")
    )  # fmt: skip


def code(rng: random.Random) -> str:
    """A code: a number plate, hexadecimal digits, a telephone number, an address of a page or a letter box."""
    style = rng.randrange(7)
    if style == 0:
        letters = string.ascii_uppercase + string.digits
        return "-".join("".join(rng.choices(letters, k=rng.randint(1, 4))) for _ in range(rng.randint(1, 4)))
    if style == 1:
        return f"{rng.getrandbits(4 * rng.randint(2, 10)):x}"
    if style == 2:
        return "".join(rng.choices(string.ascii_letters + string.digits, k=rng.randint(3, 16)))
    if style == 3:
        return f"+{rng.randint(1, 99)} {rng.randint(10, 999)} {rng.randint(1000, 9999999)}"
    if style == 4:
        return f"{plain_word(rng)}@{plain_word(rng)}.{rng.choice(('com', 'org', 'de', 'fr', 'es'))}"
    if style == 5:
        return f"https://{plain_word(rng)}.{rng.choice(('com', 'org', 'net'))}/{plain_word(rng)}/{rng.randrange(1000)}"
    return f"/{plain_word(rng)}/{identifier(rng)}.{rng.choice(('txt', 'py', 'png', 'json'))}"


def iso_date(rng: random.Random) -> str:
    """A date such as 2026-05-03."""
    return f"{rng.randint(2000, 2049)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


def clock(rng: random.Random) -> str:
    """A time of day such as 7:05 or 19:30."""
    return f"{rng.randrange(24)}:{rng.randrange(60):02}"


def key(rng: random.Random) -> str:
    """Capital letters and digits, such as K7X20."""
    return "".join(rng.choices(string.ascii_uppercase + string.digits, k=rng.randint(3, 8)))


def tool_name(rng: random.Random) -> str:
    """A name of a tool that says nothing: `velm`, `korTas`, `fn_17`, `tas.velm`."""
    first, second = plain_word(rng), plain_word(rng)
    return rng.choice((first, f"{first}_{second}", f"{first}{second.capitalize()}", f"{first}.{second}",
                       f"fn_{rng.randrange(1000)}", f"{first}-{second}", f"{first}_{rng.randrange(100)}"))  # fmt: skip


def marks(rng: random.Random) -> str:
    """Punctuation and other signs, now and then an emoji."""
    return rng.choice(EMOJI) if rng.random() < 0.15 else "".join(rng.choices(MARKS, k=rng.randint(1, 8)))


def letters(rng: random.Random) -> str:
    """Letters without any rule."""
    drawn = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(1, 12)))
    return rng.choice((drawn, drawn, drawn.upper(), " ".join(drawn)))


MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
KINDS: tuple[Callable[[random.Random], str], ...] = (
    made_up_word, made_up_word, made_up_name, real_word, real_word, identifier, number, date, code, marks, letters,
)  # fmt: skip


def text(rng: random.Random, most: int) -> str:
    """One to `most` characters of one kind or of several, without white space at its ends."""
    kinds = rng.choices(KINDS, k=rng.choice((1, 1, 2, 3)))
    drawn = rng.choice(kinds)(rng)
    while len(drawn) < most:
        drawn += rng.choice((" ", " ", " ", " ", ", ", ". ", "; ", " - ", "\n")) + rng.choice(kinds)(rng)
    return drawn[:most].strip() or rng.choice(string.ascii_letters)


def phrase(rng: random.Random, words: int) -> str:
    """At most `words` words, real and made up, on one line and without punctuation at the end."""
    return " ".join(
        rng.choice((real_word, made_up_word, made_up_name, _digits))(rng) for _ in range(rng.randint(1, words))
    )


def json_value(rng: random.Random, depth: int) -> Any:
    """A JSON value: an object or a list of up to `depth` levels, or a string, number, boolean or null."""
    style = rng.random()
    if depth and style < 0.45:
        return {identifier(rng): json_value(rng, depth - 1) for _ in range(rng.randint(1, 4))}
    if depth and style < 0.6:
        return [json_value(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    if style < 0.85:
        return phrase(rng, 3) if rng.random() < 0.6 else rng.choice((code, date, identifier))(rng)
    return rng.choice((rng.randrange(10 ** rng.randint(1, 6)), rng.randrange(1000) / 10, True, False, None))


def json_text(rng: random.Random) -> str:
    """An object or a list as JSON, on one line, compact, or indented."""
    depth, value = rng.choice((1, 1, 2)), None
    while not value or not isinstance(value, (dict, list)):
        value = json_value(rng, depth)
    style = rng.randrange(4)
    if style == 0:
        return json.dumps(value, ensure_ascii=False, indent=2)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":") if style == 1 else None)


def _digits(rng: random.Random) -> str:
    return str(rng.randrange(10 ** rng.randint(1, 4)))
