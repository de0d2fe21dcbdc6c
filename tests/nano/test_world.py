"""The synthetic examples: every answer in the training data must be right."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from phi4mm.nano.synth import dialogue, questions, scene, sentences, signs, world
from phi4mm.nano.synth.skills import SKILLS
from phi4mm.nano.synth.world import silent
from phi4mm.processing.tool_calls import parse_tool_calls
from phi4mm.protocol.messages import Image

SEEDS = range(300)


def test_every_call_has_a_declared_tool_its_parameters_and_values_from_the_request() -> None:
    """Prevents calls that the prompt does not determine: values missing from the request, undeclared tools."""
    for seed in SEEDS:
        example = world.example("train", seed, "tool_call")
        (call,) = parse_tool_calls(example.answer)
        (tool,) = [tool for tool in example.tools if tool.name == call.name]
        properties = tool.parameters.get("properties", tool.parameters)
        assert list(call.arguments) == list(properties)
        request = str(example.messages[-1].parts[0])
        assert all(str(value) in request for value in call.arguments.values())
        numeric = {"int", "integer"} & {entry["type"] for entry in properties.values()}
        assert bool(numeric) == any(isinstance(value, int) for value in call.arguments.values())


def test_a_request_is_refused_only_if_no_declared_tool_fits() -> None:
    """Prevents the model from learning to ignore a fitting tool."""
    for seed in SEEDS:
        example = world.example("train", seed, "no_tool")
        if example.answer != dialogue.NO_TOOL:
            continue
        request = str(example.messages[-1].parts[0])
        fitting = [skill for skill in SKILLS if any(_fits(pattern, request) for pattern in skill.requests)]
        declared = {tool.name for tool in example.tools}
        assert all(skill.name not in declared for skill in fitting[:1]), (request, declared)


def _fits(pattern: str, request: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\{\}", ".+"), request) is not None


@pytest.mark.parametrize("seed", range(12))
def test_a_drawn_thing_has_its_colour_at_its_position(seed: int) -> None:
    """Prevents images that do not fit their answers."""
    rng = random.Random(seed)
    drawn = scene.make_scene("train", rng, 1)
    image = np.asarray(scene.draw_scene(drawn, rng)).astype(float)
    (thing,) = drawn.things
    x, y = scene.POSITIONS[thing.position]
    height, width, _ = image.shape
    reach = int(0.25 * min(width, height))
    near = image[max(0, int(y * height) - reach) :, max(0, int(x * width) - reach) :][: 2 * reach, : 2 * reach]
    distance = np.abs(near - np.array(scene.COLORS[thing.color])).max(-1)
    share = float((distance < 45).mean())
    assert share > 0.05, (thing, share)


def test_answers_about_scenes_are_true_of_the_scene() -> None:
    """Prevents the colour, shape or position of the other object as the answer."""
    rng = random.Random(1)
    for _ in range(400):
        drawn = scene.make_scene("train", rng, rng.randint(1, 2))
        question, answer = questions.ask_scene(drawn, rng)
        if match := re.fullmatch(r"(?:What|Which) color is the (\w+)\?", question):
            assert answer == next(t.color for t in drawn.things if t.shape == match[1]).capitalize() + "."
        elif match := re.fullmatch(r"Which object is (\w+)\?", question):
            assert answer == f"The {next(t.shape for t in drawn.things if t.color == match[1])}."
        elif match := re.fullmatch(r"Where is the (\w+)\?", question):
            assert answer == next(t.position for t in drawn.things if t.shape == match[1]).capitalize() + "."


def test_articles_agree_in_every_description() -> None:
    """Prevents `a orange`, `an one way sign` and the like in the training data."""
    rng = random.Random(2)
    texts = [questions.describe(scene.make_scene("train", rng, 2)) for _ in range(200)]
    texts += [questions.ask_sign(sign, rng)[1] for sign in signs.SIGNS for _ in range(20)]
    for text in texts:
        for article, letter in re.findall(r"\b([Aa]n?) (\w)", text):
            assert (article.lower() == "an") == (letter in "aeio") or text.startswith("A one way")


def test_a_spoken_question_is_a_message_without_text() -> None:
    """Prevents the text of a spoken question from being in the prompt."""
    for task in ("spoken_scene", "spoken_chat"):
        for seed in range(40):
            example = world.example(
                "held_out", seed, "spoken_scene" if task == "spoken_scene" else "spoken_chat", silent
            )
            assert not any(isinstance(part, str) for part in example.messages[-1].parts)
            assert example.spoken and not any(letter.isdigit() for letter in example.spoken)


def test_image_sides_are_between_160_and_640_pixels() -> None:
    """Prevents an image size that needs many crops in training."""
    for seed in range(60):
        image = world.example("train", seed, "sign").messages[-1].parts[0]
        assert isinstance(image, Image)
        height, width, _ = np.asarray(image.source).shape
        assert min(width, height) >= 160 and max(width, height) <= 640


def test_an_example_is_a_function_of_its_split_task_and_seed() -> None:
    """Prevents scores that differ from run to run."""
    for task in ("pair", "tool_call", "chat"):
        first, again = (world.example("held_out", 5, "pair" if task == "pair" else "chat") for _ in range(2))
        assert first.answer == again.answer and first.messages[-1].parts[1:] == again.messages[-1].parts[1:]


def test_sentences_have_two_to_six_words_of_a_small_vocabulary() -> None:
    """Prevents sentences longer, or with more words, than the module says."""
    rng = random.Random(3)
    drawn = [sentences.make_sentence("train", rng) for _ in range(2000)]
    assert {len(sentence.split()) for sentence in drawn} == {2, 3, 4, 5, 6}
    spoken = {word for sentence in drawn for word in re.findall(r"\w+", sentence.lower())}
    assert spoken <= set(sentences.vocabulary())
    assert 140 <= len(sentences.vocabulary()) <= 180
