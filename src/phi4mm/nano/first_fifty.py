"""Fifty things that people type first, as they type them, with the right answer of each.

They are written by hand, so training may contain some of them too.
"""

from __future__ import annotations

from phi4mm.nano.synth.openings import OPENINGS
from phi4mm.nano.synth.outside import OUTSIDE

# What is typed, and a phrase of OPENINGS that means the same, or a language of OUTSIDE, or the answer itself.
TYPED = (
    ("hello", "hello"), ("Hello!", "hello"), ("hi", "hi"), ("hey there", "hey there"), ("HELLO", "hello"),
    ("Hi, how are you?", "how are you"), ("how are you doing", "how are you doing"), ("what's up", "what's up"),
    ("good morning :)", "good morning"), ("Good evening", "good evening"), ("thanks", "thanks"),
    ("Thank you so much!", "thank you so much"), ("bye", "bye"), ("see you later", "see you later"),
    ("who are you", "who are you"), ("Who are you?", "who are you"), ("what is your name?", "what is your name"),
    ("are you a robot?", "are you a robot"), ("What can you do?", "what can you do"), ("help", "help"),
    ("can you help me", "can you help me"), ("who made you?", "who made you"), ("test", "test"), ("ok", "ok"),
    ("?", "ok"), ("sorry", "sorry"), ("I love you", "i love you"), ("you are stupid", "you are stupid"),
    ("What is in this image?", "what is in this image"), ("transcribe this", "transcribe this"),
    ("do you speak German?", "do you speak german"), ("hallo", "hallo"), ("Wie geht's?", "wie geht's"),
    ("Danke!", "danke"), ("Wer bist du?", "wer bist du"), ("bonjour", "bonjour"), ("ça va ?", "ça va"),
    ("Hola", "hola"), ("¿Cómo te llamas?", "cómo te llamas"), ("gracias", "gracias"),
    ("What is the capital of France?", "Paris."), ("what is 2 + 2", "4."), ("What color is the sky?", "Blue."),
    ("Who won the world cup in 2018?", "en"), ("write a poem about the sea", "en"), ("tell me a joke", "en"),
    ("What's the weather like today?", "en"), ("write a python function that sorts a list", "en"),
    ("Explain quantum physics", "en"), ("Was hältst du von der Politik?", "de"),
)  # fmt: skip
ANSWERS: dict[str, str] = dict(OUTSIDE) | {
    phrase: opening.answer for openings in OPENINGS.values() for opening in openings for phrase in opening.phrases
}
FIFTY = tuple((typed, ANSWERS.get(means, means)) for typed, means in TYPED)
