"""The examples that nano is trained and scored on: task, split and seed determine a conversation and its answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import numpy as np
from PIL import Image as PillowImage

from phi4mm.config.validate import nearest
from phi4mm.errors import ConfigError
from phi4mm.nano.synth import (
    charts,
    conversations,
    copying,
    dialogue,
    drawings,
    film,
    first_words,
    forms,
    knowledge,
    lines,
    outside,
    pages,
    pictures,
    questions,
    refusals,
    scene,
    scenes,
    sentences,
    signs,
    speaker,
    speech,
    spoken,
    summaries,
    tools,
    translation,
)
from phi4mm.nano.synth.example import Example as Example
from phi4mm.nano.synth.example import Language, Speaker
from phi4mm.nano.synth.split import Split
from phi4mm.protocol.messages import Audio, Image, Message

Task: TypeAlias = Literal[
    "scene", "pair", "sign", "transcribe", "spoken_scene", "spoken_chat", "tool_call", "no_tool", "chat", "repeat"
]
Maker: TypeAlias = Callable[[str, Split, random.Random, Speaker], Example]
TASKS: tuple[Task, ...] = get_args(Task)  # those of the first nano
# The other tasks, each by the module that makes it.
MAKERS: dict[str, Maker] = {
    **dict.fromkeys(copying.TASKS, copying.make),
    **dict.fromkeys(tools.TASKS, tools.make),
    **dict.fromkeys(speech.TASKS, speech.make),
    **dict.fromkeys(spoken.TASKS, spoken.make),
    **dict.fromkeys(scenes.TASKS, scenes.make),
    **dict.fromkeys(lines.TASKS, lines.make),
    **dict.fromkeys(pages.TASKS, pages.make),
    **dict.fromkeys(translation.TASKS, translation.make),
    **dict.fromkeys(first_words.TASKS, first_words.make),
    **dict.fromkeys(outside.TASKS, outside.make),
    **dict.fromkeys(knowledge.TASKS, knowledge.make),
    **dict.fromkeys(pictures.TASKS, pictures.make),
    **dict.fromkeys(film.TASKS, film.make),
    **dict.fromkeys(charts.TASKS, charts.make),
    **dict.fromkeys(drawings.TASKS, drawings.make),
    **dict.fromkeys(refusals.TASKS, refusals.make),
    **dict.fromkeys(conversations.TASKS, conversations.make),
    **dict.fromkeys(forms.TASKS, forms.make),
    **dict.fromkeys(summaries.TASKS, summaries.make),
}
ALL_TASKS: tuple[str, ...] = (*TASKS, *MAKERS)
SPOKEN: tuple[Task, ...] = ("transcribe", "spoken_scene", "spoken_chat")
TRANSCRIBE = (
    "Transcribe the audio clip into text.", "Transcribe the audio clip into text.", "Transcribe the audio to text.",
    "Transcribe this.", "Write down what is said.", "What is said?",
)  # fmt: skip


def silent(_text: str, _language: Language, _split: Split, _rng: random.Random) -> Audio:
    """Used as a speaker where only the text of an utterance matters."""
    return Audio(np.zeros(1, np.float32), 16000)


def has_sound(task: str) -> bool:
    """Whether the examples of a task have audio clips."""
    first = example("train", 0, task, silent)
    return any(isinstance(part, Audio) for message in first.messages for part in message.parts)


def example(split: Split, seed: int, task: str, speak: Speaker | None = None) -> Example:
    """Example number `seed` of `task`, made only from sentences, voices, scenes and tools of `split`.

    speak   makes the audio of a text, by default with a synthesizer; training passes one that reads a speech bank
    raises  ConfigError for an unknown task, or when what a task is made of is not installed
    """
    if task not in ALL_TASKS:
        raise ConfigError(f"no task is called {task!r:.40}; {nearest(task, ALL_TASKS)}")
    rng = random.Random(f"{split} {task} {seed}")
    if task in MAKERS:
        return MAKERS[task](task, split, rng, speak or speaker.say)
    say = speak or speaker.say_first
    if task in ("scene", "pair", "sign", "spoken_scene"):
        return _about_image(split, rng, task, say)
    if task == "transcribe":
        text = sentences.make_sentence(split, rng)
        return Example(task, (Message.user(say(text, "en", split, rng), rng.choice(TRANSCRIBE)),), (), text, text)
    if task in ("tool_call", "no_tool"):
        request = (dialogue.make_tool_call if task == "tool_call" else dialogue.make_no_tool)(split, rng)
        return Example(task, (*_preface(rng, 0.7), Message.user(request.request)), request.tools, request.answer)
    if task == "repeat":
        question, answer = dialogue.make_repeat(split, rng)
    else:
        question, answer = dialogue.make_chat(split, rng, spoken=task == "spoken_chat")
    if task != "spoken_chat":
        return Example(task, (*_preface(rng, 0.3), Message.user(question)), (), answer)
    return Example(task, (Message.user(say(question, "en", split, rng)),), (), answer, question)


def _about_image(split: Split, rng: random.Random, task: str, say: Speaker) -> Example:
    drawn, shown, (question, answer) = _draw_image(split, rng, task)
    image = Image(np.asarray(drawn))
    if task == "spoken_scene":
        return Example(task, (Message.user(image, say(question, "en", split, rng)),), (), answer, question, shown)
    return Example(task, (*_preface(rng, 0.1), Message.user(image, question)), (), answer, shown=shown)


def _draw_image(split: Split, rng: random.Random, task: str) -> tuple[PillowImage.Image, str, tuple[str, str]]:
    if task == "sign" or (task == "spoken_scene" and rng.random() < 0.1):
        sign, backdrop = signs.make_sign(split, rng)
        return signs.draw_sign(sign, backdrop, rng), sign.name, questions.ask_sign(sign, rng)
    count = 2 if task == "pair" or (task == "spoken_scene" and rng.random() < 0.1) else 1
    drawn = scene.make_scene(split, rng, count)
    return scene.draw_scene(drawn, rng), questions.describe(drawn), questions.ask_scene(drawn, rng)


def _preface(rng: random.Random, share: float) -> tuple[Message, ...]:
    """A system message, in `share` of the cases."""
    return (Message.system(rng.choice(dialogue.SYSTEM)),) if rng.random() < share else ()
