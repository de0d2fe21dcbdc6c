"""Copying: requests to repeat a text or JSON exactly, and to look up a value among names and values.

After a colon, or between quotes, every character is repeated; in `Say X.` the full stop is not part of X.
"""

from __future__ import annotations

import json
import random

from phi4mm.nano.synth import sentences, strings
from phi4mm.nano.synth.example import Example, Speaker
from phi4mm.nano.synth.split import Split, draw
from phi4mm.protocol.messages import Message

TASKS = ("copy", "copy_words", "copy_json", "look_up")
MOST = 300  # characters

EXACT = (
    "Repeat: {}", "Repeat after me: {}", "Say this: {}", "Copy this: {}", "Write this: {}", "Echo: {}", "Write: {}",
    "Write exactly this: {}", "Repeat exactly: {}", "Say after me: {}", "Print this: {}", "Please repeat: {}",
    "Repeat this text:\n{}", "Repeat the following:\n\n{}", "Copy the text below.\n\n{}", "Please copy this line:\n{}",
    "Can you repeat this? {}", "Could you say this: {}", "Answer only with this text: {}", "repeat after me: {}",
    "Quote this: {}", "Now say: {}", "{}\n\nRepeat this text.", "{}\n\nCopy the text above.",
    "Wiederhole: {}", "Sag mir nach: {}", "Schreib genau das: {}", "Bitte wiederhole diesen Text: {}",
    "Répète : {}", "Répète après moi : {}", "Écris exactement ceci : {}", "Copie ce texte : {}",
    "Repite: {}", "Repite después de mí: {}", "Escribe exactamente esto: {}", "Copia este texto: {}",
)  # fmt: skip
QUOTED = (
    'Repeat "{}".', 'Say "{}".', 'Say "{}"', 'Please write "{}".', 'Can you say "{}"?',
    'Answer with "{}" and nothing else.',
    'Reply with "{}".', 'Sag "{}".', 'Schreib bitte "{}".', 'Dis "{}".', 'Écris "{}".', 'Di "{}".', 'Escribe "{}".',
)  # fmt: skip
BARE = (
    "Say {}.", "Write {}.", "Please say {}.", "Repeat {}.", "say {}", "Say {}", "Please write {}.", "Can you say {}?",
    "Could you repeat {}?", "Sag {}.", "Schreib {}.", "Dis {}.", "Écris {}.", "Di {}.", "Escribe {}.",
)  # fmt: skip
PARROT = (
    "Repeat what the user says.", "Repeat every message of the user exactly.", "You are a parrot. Repeat everything.",
    "Answer with the user's own words, unchanged.",
)  # fmt: skip
JSON = (
    "Repeat this JSON: {}", "Return this JSON unchanged: {}", "Copy this JSON:\n{}",
    "Give this JSON back exactly:\n\n{}",
    "{}\n\nRepeat the JSON above.", "Print the same JSON: {}", "Echo: {}", "Repeat: {}", "Say this: {}",
    "Write this: {}",
)  # fmt: skip
VALUE_OF = (
    'What is the value of "{}"?', 'Give me the value of "{}".', 'What value does "{}" have?', 'Look up "{}".',
    'Find "{}".',
)  # fmt: skip
NAME_OF = ('Which key has the value "{}"?', 'What is the key of the value "{}"?', 'Which entry is "{}"?')


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """An example of one of TASKS; its text, or its name and value, belongs to `split`."""
    if task == "look_up":
        return _look_up(split, rng)
    if task == "copy_json":
        text = draw(split, rng, strings.json_text, lambda text: ("copy", text))
        return Example(task, (Message.user(rng.choice(JSON).format(text)),), (), text)
    if task == "copy_words":
        text = draw(split, rng, lambda rng: strings.phrase(rng, 6), lambda text: ("copy", text))
        return Example(task, (Message.user(rng.choice(BARE).format(text)),), (), text)
    text = draw(split, rng, lambda rng: _text(split, rng), lambda text: ("copy", text))
    if rng.random() < 0.1:
        return Example(task, (Message.system(rng.choice(PARROT)), Message.user(text)), (), text)
    template = rng.choice(QUOTED if '"' not in text and rng.random() < 0.3 else EXACT)
    return Example(task, (Message.user(template.format(text)),), (), text)


def _text(split: Split, rng: random.Random) -> str:
    """A text of 1 to 120 characters, short ones more often, now and then up to MOST or a sentence."""
    if rng.random() < 0.12:
        return sentences.make_sentence(split, rng)
    return strings.text(rng, rng.randint(120, MOST) if rng.random() < 0.05 else int(120 ** rng.random()))


def _look_up(split: Split, rng: random.Random) -> Example:
    def make(rng: random.Random) -> tuple[dict[str, str], str]:
        count = rng.choice((1, 2, 3, 4, 5, 6, 8, 12))
        entries = {strings.identifier(rng): _value(rng) for _ in range(count)}
        return entries, rng.choice(list(entries))

    entries, name = draw(split, rng, make, lambda drawn: ("look up", drawn[1], drawn[0][drawn[1]]))
    value = entries[name]
    unique = list(entries.values()).count(value) == 1
    asked, answer = (NAME_OF, name) if unique and rng.random() < 0.3 else (VALUE_OF, value)
    question = rng.choice(asked).format(name if answer == value else value)
    style = rng.randrange(4)
    if style == 0:
        table = json.dumps(entries, ensure_ascii=False)
    elif style == 1:
        table = json.dumps(entries, ensure_ascii=False, indent=2)
    else:
        table = "\n".join(f"{key}{': ' if style == 2 else ' = '}{entry}" for key, entry in entries.items())
    request = f"{table}\n\n{question}" if rng.random() < 0.6 else f"{question}\n\n{table}"
    return Example("look_up", (Message.user(request),), (), answer)


def _value(rng: random.Random) -> str:
    return (
        strings.phrase(rng, 2) if rng.random() < 0.5 else rng.choice((strings.code, strings.date, strings.number))(rng)
    )
