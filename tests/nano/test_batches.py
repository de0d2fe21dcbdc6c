"""A batch that trains on the wrong token, or on a neighbour's, learns something else without a word."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from phi4mm.nano import losses
from phi4mm.nano.batches import NAMES, SHARES, make_batch, make_clips, make_pictures, open_workshop
from phi4mm.nano.collate import collate
from phi4mm.nano.data import Row, make_row
from phi4mm.nano.recipe import Learner, NanoRecipe, new_learner
from phi4mm.nano.synth import world
from phi4mm.processing.tokenizer import Special

MIXTURE: tuple[world.Task, ...] = ("chat", "scene", "transcribe", "spoken_scene", "tool_call")


@pytest.fixture(scope="module")
def learner(recipe: NanoRecipe) -> Learner:
    return new_learner(recipe).eval()


def rows_of(recipe: NanoRecipe, tasks: Sequence[world.Task]) -> list[Row]:
    shop = open_workshop(recipe.folder)
    examples = [world.example("train", seed, task, shop.bank.record) for seed, task in enumerate(tasks)]
    return [make_row(example, shop.processor, shop.words, NAMES) for example in examples]


def test_labels_are_the_answers_with_both_ends_and_nothing_of_the_prompt(recipe: NanoRecipe) -> None:
    """Prevents a shift by one, loss on prompts, and answers that never learn to end."""
    tokenizer = open_workshop(recipe.folder).processor.tokenizer
    rows = rows_of(recipe, MIXTURE)
    batch = collate(rows)
    labels, start = batch.labels.tolist(), 0
    for row, packed in zip(rows, batch.rows, strict=True):
        answer = row.answer
        assert answer[-2:] == (tokenizer.id(Special.END), tokenizer.id(Special.ENDOFTEXT))
        assert labels[: len(answer)] == list(answer)
        labels = labels[len(answer) :]
        first = start + len(row.prompt.ids) - 1
        assert batch.ids[first] == tokenizer.id(Special.ASSISTANT)
        assert batch.ids[first + 1 : first + len(answer)].tolist() == list(answer[:-1])
        start += packed.tokens
    assert not labels and start == len(batch.ids)


def test_media_rows_fall_on_their_placeholders_pictures_before_recordings(recipe: NanoRecipe) -> None:
    """Prevents a picture's features in a recording's place: all placeholders of a kind share one id."""
    tokenizer = open_workshop(recipe.folder).processor.tokenizer
    batch = collate(rows_of(recipe, MIXTURE))
    kinds = batch.ids[batch.media_index]
    image, audio = tokenizer.id(Special.IMAGE), tokenizer.id(Special.AUDIO)
    pictures = int((kinds == image).sum())
    assert (kinds[:pictures] == image).all() and (kinds[pictures:] == audio).all()
    assert int(((batch.ids == image) | (batch.ids == audio)).sum()) == len(batch.media_index)
    assert batch.projections == ["speech", "vision"]


def test_a_row_loses_the_same_in_any_company(recipe: NanoRecipe, learner: Learner) -> None:
    """Prevents packed rows and padded recordings from seeing each other."""
    rows = rows_of(recipe, MIXTURE)
    with torch.no_grad():
        alone = [learner.losses(collate([row]))["answer"].item() * len(row.answer) for row in rows]
        together = learner.losses(collate(rows))["answer"].item() * sum(len(row.answer) for row in rows)
    assert together == pytest.approx(sum(alone), rel=1e-4)


def test_a_batch_is_a_function_of_recipe_seed_and_step(recipe: NanoRecipe) -> None:
    """Prevents a resumed run from training on other data than an unbroken one."""
    first, again, other = (make_batch(recipe.folder, SHARES, 0, 6, step) for step in (3, 3, 4))
    assert torch.equal(first.ids, again.ids) and torch.equal(first.media_index, again.media_index)
    assert first.clips is not None and again.clips is not None
    assert torch.equal(first.clips.features, again.clips.features)
    assert first.ids.tolist() != other.ids.tolist()


def test_the_looking_stage_sees_single_crops_with_their_own_words() -> None:
    """Prevents words of one picture beside the pixels of another, and crops of half a scene."""
    pictures = make_pictures(0, 5, 2)
    assert len(pictures.pixels) == len(pictures.shown) == 5
    assert set(pictures.grids) == {(1, 1)}
    assert all(words for words in pictures.shown)


def test_uttered_words_follow_their_onsets_and_end_before_the_padding(recipe: NanoRecipe) -> None:
    """Prevents frame labels that run ahead of the sound, or that train on padding."""
    clips = make_clips(recipe.folder, 0, 4, 0)
    assert clips.uttered is not None
    for frames, spoken, uttered in zip(clips.frames.tolist(), clips.spoken, clips.uttered.tolist(), strict=True):
        tokens = -(-frames // 8)
        assert uttered[tokens:] == [-1] * (len(uttered) - tokens)
        heard = [word for n, word in enumerate(uttered[:tokens]) if word and (n == 0 or uttered[n - 1] != word)]
        collapsed = [word for n, word in enumerate(spoken) if n == 0 or spoken[n - 1] != word]
        assert heard == collapsed


def test_naming_falls_only_when_the_right_words_are_named() -> None:
    """Prevents a naming loss that any prediction satisfies."""
    head = torch.nn.Linear(3, 3)
    with torch.no_grad():
        head.weight.copy_(20 * torch.eye(3))
        head.bias.fill_(-10)
    rows = [torch.tensor([[1.0, 0.0, 1.0]]).repeat(4, 1)]
    assert losses.naming(head, rows, ((0, 2),)).item() < 0.01
    assert losses.naming(head, rows, ((1,),)).item() > 20


def test_every_task_is_drawn_in_the_joint_stage() -> None:
    """Prevents a task that is scored and never taught."""
    assert set(SHARES) == set(world.TASKS)
    assert min(SHARES.values()) > 0
