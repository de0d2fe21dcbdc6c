"""Tasks with sound: what is heard decides the answer, and no held-out words are heard in training."""

from __future__ import annotations

import functools
import random
import re

import numpy as np
import pytest

from phi4mm.nano.synth import augment, sounds, speaker, speech, spoken, tools, world
from phi4mm.nano.synth.example import LANGUAGES, Example, Language
from phi4mm.nano.synth.sayable import sayable
from phi4mm.nano.synth.split import Split
from phi4mm.processing.tool_calls import parse_tool_calls
from phi4mm.protocol.messages import Audio, Image

TASKS = (*speech.TASKS, *spoken.TASKS)
SPLITS: tuple[Split, ...] = ("train", "held_out")
APART = (
    *("clip", "speech_both", "speech_summary"),
    *("spoken_tool", "spoken_copy", "spoken_refusal", "spoken_innocent"),
)


@functools.cache
def examples(task: str, split: Split = "train", count: int = 200) -> tuple[Example, ...]:
    return tuple(world.example(split, seed, task, world.silent) for seed in range(count))


def heard(task: str, seed: int) -> tuple[list[str], Example]:
    """The texts that an example says, and the example."""
    said: list[str] = []

    def listen(text: str, language: Language, split: Split, rng: random.Random) -> Audio:
        said.append(text)
        return world.silent(text, language, split, rng)

    return said, world.example("train", seed, task, listen)


@pytest.mark.parametrize("task", TASKS)
def test_an_example_is_a_function_of_its_task_split_and_seed(task: str) -> None:
    """Prevents scores that differ from run to run."""
    for split in SPLITS:
        first, again = (world.example(split, 7, task, world.silent) for _ in range(2))
        assert (first.answer, first.spoken, first.tools) == (again.answer, again.spoken, again.tools)


@pytest.mark.parametrize("task", [task for task in TASKS if task != "silence"])
def test_what_is_said_is_what_the_example_calls_spoken(task: str) -> None:
    """Prevents a transcript of other words, and digits or signs that nobody can say."""
    for seed in range(60):
        (text,), example = heard(task, seed)
        assert speaker.transcript(text) == example.spoken, text
        assert not re.search(r"[\d+=*<>{}\[\]]", text), text


@pytest.mark.parametrize("task", spoken.TASKS)
def test_a_spoken_request_is_nowhere_in_the_prompt(task: str) -> None:
    """Prevents a model that reads what it should hear."""
    for example in examples(task):
        assert [type(part) for part in example.messages[-1].parts if not isinstance(part, Image)] == [Audio]


def test_a_clip_has_one_to_eight_sentences_and_at_most_half_a_minute_of_words() -> None:
    """Prevents clips that the model's window of 30 seconds cuts."""
    counts = set()
    for seed in range(300):
        (text,), example = heard("clip", seed)
        counts.add(sum(map(len, speaker.parts(text))))
        assert len(example.answer) <= speech.MOST_LETTERS + 10
    assert counts == set(range(1, 9))


def test_the_longest_clips_are_recorded_within_half_a_minute() -> None:
    """Prevents pauses that make a clip longer than what the model is measured on."""
    slow = [np.full(int(3.2 * augment.RATE), 0.1, np.float32)] * 8
    lengths = []
    for seed in range(30):
        recorded = speaker.record(slow, random.Random(seed))
        assert isinstance(recorded.source, np.ndarray) and recorded.rate
        lengths.append(len(recorded.source) / recorded.rate)
    assert min(lengths) > 20 and max(lengths) < 36


@pytest.mark.parametrize(("task", "sentences"), [("short_clip", {1}), ("long_clip", {8})])
def test_clips_that_are_measured_have_their_length(task: str, sentences: set[int]) -> None:
    """Prevents a score of long clips that is one of short ones."""
    assert {len(heard(task, seed)[0][0].split("\n")) for seed in range(50)} == sentences


def test_sentences_of_a_clip_are_apart_from_each_other() -> None:
    """Prevents sentences that run into each other."""
    click = np.full(800, 0.9, np.float32)
    joined = speaker.record([click] * 3, random.Random(1))
    assert isinstance(joined.source, np.ndarray) and joined.rate
    assert len(joined.source) / joined.rate > 3 * 0.05 + 2 * speaker.PAUSES[0][0]


@pytest.mark.parametrize("kind", dict.fromkeys(sounds.KINDS), ids=lambda kind: kind.__name__)
def test_a_sound_without_words_is_finite_and_heard(kind: sounds.Kind) -> None:
    """Prevents infinite samples, and sounds that are silent by mistake."""
    for seed in range(12):
        sound = kind(augment.RATE, np.random.default_rng(seed))
        assert sound.dtype == np.float32 and len(sound) == augment.RATE and np.isfinite(sound).all()
        assert (np.abs(sound).max() > 0.05) == (kind is not sounds.silence)


def test_silence_noise_and_music_have_an_empty_transcript() -> None:
    """Prevents a model that makes up words."""
    assert {(example.answer, example.spoken) for example in examples("silence")} == {("", "")}
    assert all(isinstance(example.messages[-1].parts[0], Audio) for example in examples("silence"))


def test_a_spoken_call_has_a_declared_tool_and_values_that_were_said() -> None:
    """Prevents calls that the speech does not determine."""
    called = 0
    for example in examples("spoken_tool"):
        if example.answer in tools.NO_TOOLS.values():
            continue
        (call,) = parse_tool_calls(example.answer)
        assert call.name in [tool.name for tool in example.tools]
        for value in call.arguments.values():
            for one in value if isinstance(value, list) else [value]:
                assert isinstance(one, bool) or sayable(str(one), "en") in example.spoken, (one, example.spoken)
        called += 1
    assert 150 < called < 200


def test_a_translation_follows_its_transcript_after_a_separator_if_both_are_wanted() -> None:
    """Prevents a translation that cannot be told from the transcript."""
    for task in ("speech_translate", "speech_both"):
        for example in examples(task):
            request = str(example.messages[-1].parts[-1])
            transcript, separator, translation = example.answer.partition(speech.SEPARATOR)
            assert (separator != "") == ("<sep>" in request) == (task == "speech_both")
            if separator:
                assert transcript == example.spoken and translation and translation != transcript


def test_clips_have_four_languages_and_requests_fit_them() -> None:
    """Prevents German requests for French speech."""
    said: list[Language] = []

    def listen(text: str, language: Language, split: Split, rng: random.Random) -> Audio:
        said.append(language)
        return world.silent(text, language, split, rng)

    for seed in range(300):
        request = str(world.example("train", seed, "clip", listen).messages[-1].parts[-1])
        assert request in (*speech.TRANSCRIBE, *speech.TRANSCRIBE_IN[said[-1]])
    assert {language: said.count(language) > 20 for language in LANGUAGES} == dict.fromkeys(LANGUAGES, True)


def test_first_words_are_said_in_their_language() -> None:
    """Prevents an English voice that reads French."""
    said: dict[str, Language] = {}

    def listen(text: str, language: Language, split: Split, rng: random.Random) -> Audio:
        said[text] = language
        return world.silent(text, language, split, rng)

    for seed in range(600):
        world.example("train", seed, "spoken_first", listen)
    assert {language for text, language in said.items() if text.startswith("Combien font ")} == {"fr"}
    assert {language for text, language in said.items() if text.startswith("¿")} == {"es"}
    assert {language for text, language in said.items() if text.startswith("What ")} == {"en"}
    assert {language for text, language in said.items() if text.startswith(("Welcher Tag", "Was ist"))} == {"de"}


def test_spoken_harm_is_refused_and_what_sounds_like_it_is_not() -> None:
    """Prevents preference pairs whose sides are swapped or equal."""
    refused = {example.answer for example in examples("spoken_refusal")}
    assert not refused & {example.answer for example in examples("spoken_innocent")}
    assert {example.rejected for example in examples("spoken_innocent")} <= refused
    assert not refused & {example.rejected for example in examples("spoken_refusal")}


def test_a_summary_is_two_sentences_of_the_story() -> None:
    """Prevents summaries of what nobody said."""
    for seed in range(60):
        (text,), example = heard("speech_summary", seed)
        lines = text.split("\n")
        first, second = [line for line in lines if line in example.answer]
        assert f"{first} {second}" == example.answer and 6 <= len(lines) <= 11


def test_a_copy_is_what_was_said() -> None:
    """Prevents answers that add or lose a word."""
    assert all(example.answer in example.spoken for example in examples("spoken_copy"))


def test_a_spoken_question_about_a_picture_is_one_that_is_typed_too() -> None:
    """Prevents other answers to a question when it is spoken."""
    asked = {kind: make(kind, "train", random.Random(1), world.silent) for kind, (_, make) in spoken.PICTURES.items()}
    typed = {str(world.example("train", seed, "scenes").messages[-1].parts[-1]) for seed in range(1500)}
    assert all(isinstance(example.messages[-1].parts[-1], str) for example in asked.values())
    assert sum(example.spoken in typed for example in examples("spoken_picture")) > 0.4 * len(
        examples("spoken_picture")
    )


@pytest.mark.parametrize(
    "task", ["clip", "speech_both", "speech_summary", "spoken_tool", "spoken_copy", "spoken_refusal", "spoken_innocent"]
)
def test_no_words_that_are_heard_in_training_are_held_out(task: str) -> None:
    """Prevents scores measured on sentences of the training data."""
    count = 5000
    train, held_out = (
        {sentence for example in examples(task, split, count) for sentence in keys(task, example)} for split in SPLITS
    )
    assert not train & held_out, sorted(train & held_out)[:20]
    assert len(held_out) > 500


def keys(task: str, example: Example) -> list[str]:
    if task in ("clip", "speech_both"):
        return re.findall(r"[^.?! ][^.?!]*[.?!]", example.spoken)
    return [example.answer if task in ("spoken_copy", "speech_summary") else example.spoken]
