"""The batches of nano's stages: labels and descriptions must belong to their own tokens, clips and images."""

from __future__ import annotations

import pytest
import torch

from phi4mm.nano.batches import NAMES, join, make_batch, open_batch_maker, word_ids
from phi4mm.nano.recipe import NanoRecipe, RunFolder
from phi4mm.nano.synth import world
from phi4mm.processing.tokenizer import Special

MIXTURE = ("chat", "scene", "transcribe", "spoken_scene", "tool_call", "line")


def test_labels_are_the_answers_with_their_end_tokens_and_nothing_of_the_prompt(folder: RunFolder) -> None:
    """Prevents a shift by one, loss on prompts, and a model that never learns to end an answer."""
    maker = open_batch_maker(folder.path)
    tokenizer = maker.processor.tokenizer
    batch = join([maker.example(task, seed) for seed, task in enumerate(MIXTURE)]).training
    labels, start = batch.labels.tolist(), 0
    for seed, (task, sequence) in enumerate(zip(MIXTURE, batch.text.sequences, strict=True)):
        example = world.example("train", seed, task, world.silent)
        ends = [tokenizer.id(Special.END), tokenizer.id(Special.ENDOFTEXT)]
        answer = [*tokenizer.encode_text(example.answer), *ends]
        assert labels[: len(answer)] == answer
        labels = labels[len(answer) :]
        start += sequence.tokens
        assert batch.text.ids[start - len(answer)] == tokenizer.id(Special.ASSISTANT)
        assert batch.text.ids[start - len(answer) + 1 : start].tolist() == answer[:-1]
    assert not labels and start == len(batch.text.ids)


def test_each_example_keeps_what_is_said_shown_and_printed_in_it(folder: RunFolder) -> None:
    """Prevents words of one image paired with the pixels of another, and descriptions of printed text as words."""
    maker = open_batch_maker(folder.path)
    batch = join([maker.example(task, seed) for seed, task in enumerate(MIXTURE)])
    made = [world.example("train", seed, task, world.silent) for seed, task in enumerate(MIXTURE)]
    decoded = [maker.processor.tokenizer.decode(list(said)) for said in batch.said]
    assert decoded == [example.spoken for example in made]
    assert batch.printed == (b"",) * 5 + (made[5].shown.encode(),)
    assert batch.shown == tuple(word_ids(example.shown) if n < 5 else () for n, example in enumerate(made))
    assert len(batch.shown[1]) > 1 and set(batch.shown[1]) <= set(NAMES.values())
    assert batch.rows == tuple(f"{task} {seed}" for seed, task in enumerate(MIXTURE))


def test_a_batch_is_a_function_of_folder_stage_seed_and_number(recipe: NanoRecipe, folder: RunFolder) -> None:
    """Prevents a resumed run from training on other data than an uninterrupted one, wherever its pool begins."""
    for name in ("all", "hearing"):
        stage = recipe.stage(name)
        in_order = [make_batch(folder.path, stage, 0, number) for number in range(4)]
        open_batch_maker.cache_clear()
        alone = make_batch(folder.path, stage, 0, 3)
        assert torch.equal(in_order[3].training.text.ids, alone.training.text.ids)
        assert in_order[3].rows == alone.rows
        if in_order[3].training.clips is not None and alone.training.clips is not None:
            assert torch.equal(in_order[3].training.clips.features, alone.training.clips.features)
        assert len({batch.rows for batch in in_order}) == 4
        assert make_batch(folder.path, stage, 1, 3).rows != alone.rows


@pytest.mark.parametrize("name", ["text", "hearing", "all"])
def test_batches_hold_about_as_many_tokens_as_the_recipe_says(recipe: NanoRecipe, folder: RunFolder, name: str) -> None:
    """Prevents steps that take more memory than planned, and batches that lose an example of their pool."""
    stage = recipe.stage(name)
    batches = [make_batch(folder.path, stage, 0, number) for number in range(8)]
    longest = max(sequence.tokens for batch in batches for sequence in batch.training.text.sequences)
    assert all(batch.rows and abs(batch.tokens - stage.tokens) <= 1.5 * longest for batch in batches)


def test_clips_of_one_batch_of_a_pool_are_of_about_one_length(recipe: NanoRecipe, folder: RunFolder) -> None:
    """Prevents an encoder that computes mostly padding."""
    stage = recipe.stage("hearing")
    spreads = []
    for number in range(0, 8, stage.pool):
        pool = [make_batch(folder.path, stage, 0, number + n).training.clips for n in range(stage.pool)]
        tokens = sorted((clips.tokens for clips in pool if clips is not None), key=lambda found: int(found.min()))
        spreads.append(int(tokens[0].max()) <= int(tokens[1].min()))
    assert all(spreads)
