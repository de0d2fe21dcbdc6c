"""No combination may be in both the training split and the held-out split."""

from __future__ import annotations

import random

import pytest

from phi4mm.nano.synth import dialogue, scene, sentences, signs, voice, world
from phi4mm.nano.synth.example import LANGUAGES, Language
from phi4mm.nano.synth.split import Split, is_held_out
from phi4mm.nano.synth.world import silent

DRAWS = 1500
SPLITS: tuple[Split, ...] = ("train", "held_out")


def test_no_sentence_is_in_both_splits() -> None:
    """Prevents word error rates measured on sentences of the training data."""
    rng = random.Random(0)
    train = {sentences.make_sentence("train", rng) for _ in range(DRAWS)}
    held_out = {sentences.make_sentence("held_out", rng) for _ in range(DRAWS)}
    assert not train & held_out
    assert len(held_out) > 300


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_voice_and_no_variant_of_a_voice_is_in_both_splits(language: Language) -> None:
    """Prevents a variant trained with one accent or in one language from counting as held out with another."""
    every = {split: {name for other in LANGUAGES for name in voice.names(other, split)} for split in SPLITS}
    train = {name.partition("+")[2] for name in every["train"]}
    held_out = {name.partition("+")[2] for name in voice.names(language, "held_out")}
    assert len(held_out) >= 4
    assert not train & held_out
    drawn = {voice.draw_voice(language, "held_out", random.Random(seed)).name for seed in range(400)}
    assert drawn == {*voice.names(language, "held_out"), *(voice.FLITE_HELD_OUT if language == "en" else ())}
    assert not set(voice.FLITE_TRAIN) & set(voice.FLITE_HELD_OUT)
    assert all(
        voice.draw_voice("en", split, random.Random(n)).synthesizer != "piper" for split in SPLITS for n in range(99)
    )


@pytest.mark.parametrize("count", [1, 2])
def test_no_object_colour_and_position_together_are_in_both_splits(count: int) -> None:
    """Prevents scenes of two objects from containing combinations that scenes of one object hold out."""
    rng = random.Random(0)
    train = {thing for _ in range(DRAWS) for thing in scene.make_scene("train", rng, count).things}
    held_out = {thing for _ in range(DRAWS) for thing in scene.make_scene("held_out", rng, 1).things}
    assert not train & held_out
    assert len(held_out) > 40
    for things in (train, held_out):
        assert {thing.shape for thing in things} == set(scene.SHAPES)
        assert {thing.color for thing in things} == set(scene.COLORS)


def test_no_sign_with_its_backdrop_is_in_both_splits() -> None:
    """Prevents scores measured on combinations of the training data."""
    rng = random.Random(0)
    train = {(sign.name, backdrop) for sign, backdrop in (signs.make_sign("train", rng) for _ in range(DRAWS))}
    held_out = {(sign.name, backdrop) for sign, backdrop in (signs.make_sign("held_out", rng) for _ in range(DRAWS))}
    assert not train & held_out
    assert {name for name, _ in train} == {sign.name for sign in signs.SIGNS}, "training lacks a sign"


def test_no_request_for_a_tool_is_in_both_splits() -> None:
    """Prevents tool calls scored on requests of the training data."""

    def requests(split: str) -> set[str]:
        rng = random.Random(0)
        calls = (dialogue.make_tool_call("train" if split == "train" else "held_out", rng) for _ in range(DRAWS))
        return {call.request for call in calls}

    assert not requests("train") & requests("held_out")


def test_examples_are_drawn_from_their_own_split_for_every_task() -> None:
    """Prevents a generator that ignores the split."""
    for seed in range(200):
        answer = world.example("held_out", seed, "transcribe", silent).answer
        assert is_held_out(answer)
        assert not is_held_out(world.example("train", seed, "transcribe", silent).answer)


def test_the_split_rule_does_not_change_between_machines() -> None:
    """Prevents a hash that differs between runs, which would mix the splits of an earlier training."""
    assert [is_held_out("combination", str(n)) for n in range(20)] == EXPECTED


EXPECTED = [n in (2, 9, 12, 19) for n in range(20)]
