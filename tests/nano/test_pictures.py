"""Scenes, several pictures, films and drawings: true answers, and no combination in both splits."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from phi4mm.errors import ConfigError
from phi4mm.nano.synth import drawings, film, objects, pictures, questions, scene, scenes, strange, world
from phi4mm.nano.synth.drawing_kinds import KINDS
from phi4mm.nano.synth.objects import Thing
from phi4mm.nano.synth.picture_words import WORDS
from phi4mm.nano.synth.split import Split, is_held_out
from phi4mm.protocol.messages import Image

DRAWS = 5000
SPLITS: tuple[Split, ...] = ("train", "held_out")
needs_drawings = pytest.mark.skipif(
    not (drawings.folder() / "animals").is_dir(), reason="Debian's openclipart-png is not installed"
)


def draw_scenes(split: Split, count: int) -> list[scenes.Scene]:
    rng = random.Random(split)
    return [scenes.make_scene(split, rng, rng.randrange(5)) for _ in range(count)]


def key(thing: Thing) -> tuple[str, ...]:
    return (thing.shape, thing.color, thing.place)


@pytest.mark.parametrize("split", SPLITS)
def test_every_thing_of_a_scene_belongs_to_the_split(split: Split) -> None:
    """Prevents scores on combinations of shape, colour and place that were trained."""
    keys = {key(thing) for things in draw_scenes(split, DRAWS) for thing in things}
    assert all(is_held_out(*each) == (split == "held_out") for each in keys)
    shapes, colors, places = (set(part) for part in zip(*keys, strict=True))
    assert (shapes, colors, places) == (set(objects.SHAPES), set(objects.COLORS), set(objects.PLACES))


@pytest.mark.parametrize("split", SPLITS)
def test_strange_pictures_and_films_belong_to_the_split(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents colours of a texture, or a thing with its way, in both splits."""
    rng, held_out = random.Random(0), split == "held_out"
    assert all(is_held_out(*strange.make_strange(split, rng).key) == held_out for _ in range(DRAWS))
    moved: list[Thing] = []

    def draw_frames(thing: Thing, still: Thing | None, rng: random.Random) -> list[np.ndarray]:
        moved.extend(filter(None, (thing, still)))
        return []

    monkeypatch.setattr(film, "draw_frames", draw_frames)
    for _ in range(DRAWS):
        film.make("film", split, rng, world.silent)
    assert all(is_held_out(*key(thing)) == held_out for thing in moved)
    assert {thing.place for thing in moved} == {*film.PATHS, *film.GROWTH, "stays"}


def test_pictures_of_one_prompt_belong_to_the_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a changed picture from being a combination of the other split."""
    seen: list[Thing] = []

    def draw_things(things: scenes.Scene, rng: random.Random, size: tuple[int, int]) -> PillowImage.Image:
        seen.extend(things)
        return PillowImage.new("RGB", (8, 8))

    monkeypatch.setattr(pictures, "draw_things", draw_things)
    for split in SPLITS:
        seen.clear()
        for number in range(2 * DRAWS):
            pictures.make(pictures.TASKS[number % 2], split, random.Random(number), world.silent)
        assert all(is_held_out(*key(thing)) == (split == "held_out") for thing in seen)


def test_answers_about_scenes_are_true() -> None:
    """Prevents an answer about another thing, a wrong count, and a side that is mirrored."""
    rng = random.Random(0)
    asked = 0
    for things in draw_scenes("train", 8000):
        question, answer = scenes.ask(things, rng)
        for pattern, truth in TRUTHS.items():
            if match := re.fullmatch(pattern, question):
                assert answer == truth(things, *match.groups()), (things, question)
                asked += 1
    assert asked > 2500


def only(things: scenes.Scene, name: str) -> Thing:
    (thing,) = (thing for thing in things if name in (thing.shape, thing.name))
    return thing


def yes(true: bool) -> str:
    return "Yes." if true else "No."


def count(things: scenes.Scene, test: Callable[[Thing], bool]) -> str:
    return ("None.", "One.", "Two.", "Three.", "Four.")[sum(map(test, things))]


def where(things: scenes.Scene, name: str) -> str:
    found = [thing for thing in things if name in (thing.shape, thing.name)]
    return f"{found[0].place.capitalize()}." if found else f"There is no {name}."


def side(things: scenes.Scene, first: str, word: str, second: str) -> str:
    one, two = only(things, first).at, only(things, second).at
    true = {"left of": one[0] < two[0], "right of": one[0] > two[0], "above": one[1] < two[1], "below": one[1] > two[1]}
    return yes(true[word])


def between(things: scenes.Scene, first: str, second: str) -> str:
    one, two = only(things, first).at, only(things, second).at
    middle = ((one[0] + two[0]) / 2, (one[1] + two[1]) / 2)
    (found,) = (thing for thing in things if thing.at == pytest.approx(middle))
    return f"{questions.article(found.name)} {found.name}."


TRUTHS: dict[str, Callable[..., str]] = {
    r"(?:What|Which) color is the (\w+)\?": lambda things, shape: (
        f"{only(things, shape).color.capitalize()}."
        if any(thing.shape == shape for thing in things)
        else f"There is no {shape}."
    ),
    r"Where is the ([\w ]+)\?": where,
    r"How many objects are there\?": lambda things: count(things, lambda thing: True),
    r"How many (\w+) objects are there\?": lambda things, color: count(things, lambda thing: thing.color == color),
    r"Is there an? ([\w ]+)\?": lambda things, name: yes(any(name in (thing.shape, thing.name) for thing in things)),
    r"Is the (\w+) (left of|right of|above|below) the (\w+)\?": side,
    r"What is between the (\w+) and the (\w+)\?": between,
    r"Do the (\w+) and the (\w+) have the same color\?": lambda things, one, two: yes(
        only(things, one).color == only(things, two).color
    ),
}


def test_the_same_question_about_the_same_scene_has_one_answer_also_among_the_old_tasks() -> None:
    """Prevents contradictory labels."""
    answers: dict[tuple[str, str], str] = {}
    rng = random.Random(0)
    for number in range(20_000):
        if number % 2:
            old = scene.make_scene("train", rng, rng.choice((1, 2)))
            described, (question, answer) = questions.describe(old), questions.ask_scene(old, rng)
        else:
            things = scenes.make_scene("train", rng, rng.choice((1, 2)))
            described, (question, answer) = scenes.describe(things), scenes.ask(things, rng)
        if "bigger" not in question and "smaller" not in question:
            assert answers.setdefault((described, question), answer) == answer, (described, question)


@pytest.mark.parametrize("seed", range(20))
def test_things_are_drawn_in_their_colours_at_their_places(seed: int) -> None:
    """Prevents pictures that do not show what their answers say."""
    rng = random.Random(seed)
    things = scenes.make_scene("train", rng, 4)
    pixels = np.asarray(objects.draw_things(things, rng, (448, 448))).astype(int)
    for thing in things:
        x, y = (round(448 * part) for part in thing.at)
        near = pixels[y - 60 : y + 60, x - 60 : x + 60]
        share = (np.abs(near - np.array(objects.COLORS[thing.color])).max(-1) < 45).mean()
        assert share > 0.03, thing


def test_a_film_moves_the_way_that_it_tells() -> None:
    """Prevents left for right, and frames in the wrong order."""
    for way, (dx, dy) in {"to the right": (1, 0), "to the left": (-1, 0), "up": (0, -1), "down": (0, 1)}.items():
        frames = film.draw_frames(Thing("circle", "black", way), None, random.Random(way))
        centers = [np.argwhere(frame.sum(-1) < 250).mean(0) for frame in frames]
        steps = np.diff(np.array(centers), axis=0)
        assert 3 <= len(frames) <= 8 and (steps @ np.array([dy, dx]) > 5).all(), way


def test_two_pictures_differ_in_what_the_answer_names() -> None:
    """Prevents a difference that is not there, and one that is not told."""
    for seed in range(60):
        example = world.example("held_out", seed, "difference")
        first, second = (np.asarray(part.source) for part in example.messages[0].parts if isinstance(part, Image))
        assert np.array_equal(first, second) == (example.answer == "Nothing is different.")


@needs_drawings
def test_every_kind_has_drawings_of_both_splits_and_none_twice() -> None:
    """Prevents a drawing that is trained and measured, or that has two names."""
    collection = drawings.collection(drawings.folder())
    train, held_out = (
        [path for paths in part.values() for path in paths] for part in (collection.train, collection.held_out)
    )
    assert list(collection.train) == list(collection.held_out) == list(KINDS)
    assert len(KINDS) >= 100 and all(map(len, (*collection.train.values(), *collection.held_out.values())))
    assert len({*train, *held_out}) == len(train) + len(held_out) > 1600


@needs_drawings
def test_a_drawing_is_named_by_its_kind() -> None:
    """Prevents a name that is not the drawing's."""
    for seed in range(30):
        example = world.example("held_out", seed, "drawing")
        assert example.shown in KINDS
        assert example.answer in ("Yes.", "No.") or example.answer.endswith(f" {example.shown}.")
        assert set(world.example("train", seed, "drawings").shown.lower().rstrip(".").split()) <= {
            *WORDS, *"a an and in on at the of".split(), *(f"{word}," for word in WORDS)
        }  # fmt: skip


def test_missing_drawings_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents an IndexError from an empty folder."""
    monkeypatch.setenv("PHI4MM_DRAWINGS", str(tmp_path))
    with pytest.raises(ConfigError, match="openclipart-png"):
        world.example("train", 0, "drawing")
