"""Held-out scores mean nothing if training has seen what they measure."""

from __future__ import annotations

import random

import pytest

from phi4mm.nano.synth import dialogue, scene, sentences, signs, voice, world
from phi4mm.nano.synth.split import is_held_out
from phi4mm.nano.synth.world import silent

DRAWS = 1500


def test_no_sentence_is_in_both_splits() -> None:
    """Prevents word error rates measured on sentences known by heart."""
    rng = random.Random(0)
    train = {sentences.make_sentence("train", rng) for _ in range(DRAWS)}
    held_out = {sentences.make_sentence("held_out", rng) for _ in range(DRAWS)}
    assert not train & held_out
    assert len(held_out) > 300


def test_no_voice_and_no_variant_of_a_voice_is_in_both_splits() -> None:
    """Prevents a variant heard in one accent from being called unheard in another."""
    train = {name.partition("+")[2] for name in voice.TRAIN_VOICES}
    held_out = {name.partition("+")[2] for name in voice.HELD_OUT_VOICES}
    assert len(held_out) >= 4
    assert not train & held_out
    drawn = {voice.draw_voice("held_out", random.Random(seed)).name for seed in range(200)}
    assert drawn == set(voice.HELD_OUT_VOICES)


@pytest.mark.parametrize("count", [1, 2])
def test_no_object_colour_and_position_together_are_in_both_splits(count: int) -> None:
    """Prevents scenes of two objects from showing what scenes of one hold out."""
    rng = random.Random(0)
    train = {thing for _ in range(DRAWS) for thing in scene.make_scene("train", rng, count).things}
    held_out = {thing for _ in range(DRAWS) for thing in scene.make_scene("held_out", rng, 1).things}
    assert not train & held_out
    assert len(held_out) > 40
    for seen in (train, held_out):
        assert {thing.shape for thing in seen} == set(scene.SHAPES)
        assert {thing.color for thing in seen} == set(scene.COLORS)


def test_no_sign_before_a_backdrop_is_in_both_splits() -> None:
    """Prevents measured signs from being the very images learnt."""
    rng = random.Random(0)
    train = {(sign.name, backdrop) for sign, backdrop in (signs.make_sign("train", rng) for _ in range(DRAWS))}
    held_out = {(sign.name, backdrop) for sign, backdrop in (signs.make_sign("held_out", rng) for _ in range(DRAWS))}
    assert not train & held_out
    assert {name for name, _ in train} == {sign.name for sign in signs.SIGNS}, "a sign was never learnt"


def test_no_tool_with_its_arguments_is_in_both_splits() -> None:
    """Prevents calls scored on arguments that training paired with the same tool."""

    def requests(split: str) -> set[str]:
        rng = random.Random(0)
        made = (dialogue.make_tool_call("train" if split == "train" else "held_out", rng) for _ in range(DRAWS))
        return {call.request for call in made}

    assert not requests("train") & requests("held_out")


def test_examples_are_drawn_from_their_own_split_for_every_task() -> None:
    """Prevents one generator among many from ignoring the split."""
    for seed in range(200):
        heard = world.example("held_out", seed, "transcribe", silent).answer
        assert is_held_out(heard)
        assert not is_held_out(world.example("train", seed, "transcribe", silent).answer)


def test_the_split_rule_does_not_change_between_machines() -> None:
    """Prevents a salted or reordered hash from mixing the splits of an older training."""
    assert [is_held_out("combination", str(n)) for n in range(20)] == EXPECTED


EXPECTED = [n in (2, 9, 12, 19) for n in range(20)]
