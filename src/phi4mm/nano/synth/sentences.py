"""The sentences that nano learns to transcribe: two to six words of a small English grammar, about 150 words in all."""

from __future__ import annotations

import random

from phi4mm.nano.synth.split import Split, draw

CITIES = ("Paris", "London", "Rome", "Berlin", "Madrid", "Boston", "Cairo", "Tokyo")
PEOPLE = ("man", "woman", "girl", "boy", "teacher", "doctor", "farmer", "driver")
ANIMALS = ("dog", "cat", "bird", "horse", "fish", "cow")
FOODS = ("bread", "cheese", "soup", "rice", "coffee", "milk", "apple", "cake", "salad", "lemon")
THINGS = ("table", "chair", "lamp", "book", "clock", "cup", "bottle", "phone", "bag", "picture")
PLACES = ("station", "market", "school", "hotel", "garden", "kitchen", "bridge", "river", "museum", "airport")
VEHICLES = ("car", "bus", "train", "boat", "bicycle", "truck")
ROOMS = ("door", "window", "gate", "shop", "house", "box")
COLORS = ("red", "blue", "green", "yellow", "black", "white", "orange", "purple")
QUALITIES = ("small", "big", "old", "clean", "cheap", "heavy", "beautiful", "broken")
TASTES = ("hot", "cold", "sweet", "fresh", "good")
FEELINGS = ("happy", "tired", "hungry", "late", "sick", "busy")
WEATHER = ("sunny", "windy", "cloudy", "warm", "dark", "rainy")
WHEN = ("today", "tomorrow", "tonight", "again", "now", "this morning")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "twenty")
PLURALS = ("dogs", "cats", "birds", "horses", "apples", "cups", "books", "chairs", "tickets", "bottles")
PLACED = ("on", "under", "near", "behind")
WANTING = ("want", "need", "like", "see", "have")
WANTS = ("wants", "needs", "likes", "sees", "has")

TEMPLATES = (
    ("The", FOODS, "is", TASTES),
    ("The", THINGS, "is", QUALITIES),
    ("The", VEHICLES, "is", COLORS),
    ("The", COLORS, VEHICLES, "is", FEELINGS[3:4] + QUALITIES),
    ("The", QUALITIES, PEOPLE, "is", FEELINGS),
    ("The", PEOPLE, "is", FEELINGS, WHEN[:3]),
    ("The", ANIMALS, "is", PLACED, "the", THINGS[:2] + ROOMS),
    ("The", PEOPLE, WANTS, "the", FOODS + THINGS),
    ("My", ANIMALS, WANTS, "the", FOODS),
    ("The", VEHICLES, "goes to", CITIES),
    ("We go to the", PLACES, WHEN[:5]),
    ("We go to", CITIES, WHEN),
    (("I", "We", "They", "You"), WANTING, "the", FOODS + THINGS),
    (("I", "We", "They", "You"), WANTING, NUMBERS, PLURALS),
    (("I", "We", "They"), WANTING, "a", COLORS[:6] + QUALITIES[:1], VEHICLES + ROOMS[2:]),
    (NUMBERS, PLURALS, "are", COLORS + QUALITIES),
    (NUMBERS, PLURALS, "are", PLACED, "the", ROOMS),
    ("It is", WEATHER, "in", CITIES),
    ("It is", WEATHER, WHEN),
    ("It is", WEATHER, "in the", PLACES[4:6]),
    (("Open", "Close", "Clean", "Find"), "the", ROOMS),
    (("Open", "Close", "Find"), "the", COLORS, ROOMS),
    (("Bring", "Find", "Wash"), "the", COLORS + QUALITIES, ("cup", "bottle", "bag", "table")),
    ("Where is the", PLACES + THINGS + ANIMALS, "?"),
    ("Where is my", COLORS, ("bag", "book", "phone", "cup"), "?"),
    ("How much is the", FOODS + THINGS, "?"),
    ("Turn", ("left", "right"), "at the", PLACES),
    (("Good morning", "Good evening", "Hello", "Thank you", "Goodbye"), PEOPLE + WHEN[3:4] + ("my friend",)),
)


def make_sentence(split: Split, rng: random.Random) -> str:
    """A sentence of `split` with its capital letter and full stop or question mark."""
    return draw(split, rng, _sentence, lambda sentence: (sentence,))


def vocabulary() -> tuple[str, ...]:
    """Every word of the grammar in lower case, sorted."""
    texts = (
        text for template in TEMPLATES for slot in template for text in ((slot,) if isinstance(slot, str) else slot)
    )
    return tuple(sorted({word for text in texts for word in text.lower().split() if word != "?"}))


def _sentence(rng: random.Random) -> str:
    words = [slot if isinstance(slot, str) else rng.choice(slot) for slot in rng.choice(TEMPLATES)]
    ending = words.pop() if words[-1] == "?" else "."
    text = " ".join(words)
    return text[0].upper() + text[1:] + ending
