"""The batches of nano's stages: labels and word ids must belong to their own tokens, clips and images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from phi4mm.nano.batches import (
    NAMES,
    SHARES,
    join,
    make_audio_batch,
    make_joint_batch,
    make_vision_batch,
    open_batch_maker,
)
from phi4mm.nano.data import JointExamples, NanoExample, make_example
from phi4mm.nano.recipe import NanoRecipe
from phi4mm.nano.stages import JointTraining, new_stages
from phi4mm.nano.synth import world
from phi4mm.processing.tokenizer import Special

MIXTURE: tuple[world.Task, ...] = ("chat", "scene", "transcribe", "spoken_scene", "tool_call")


@pytest.fixture(scope="module")
def joint(recipe: NanoRecipe) -> JointTraining:
    return new_stages(recipe).joint.eval()


def examples_of(recipe: NanoRecipe, tasks: Sequence[world.Task]) -> list[NanoExample]:
    maker = open_batch_maker(recipe.folder)
    examples = [world.example("train", seed, task, maker.bank.speak) for seed, task in enumerate(tasks)]
    return [make_example(example, maker.processor, maker.words, NAMES) for example in examples]


def test_labels_are_the_answers_with_their_end_tokens_and_nothing_of_the_prompt(recipe: NanoRecipe) -> None:
    """Prevents a shift by one, loss on prompts, and a model that never learns to end an answer."""
    maker = open_batch_maker(recipe.folder)
    tokenizer, batch = maker.processor.tokenizer, join(examples_of(recipe, MIXTURE)).training
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


def test_the_loss_of_an_example_does_not_depend_on_the_other_examples_of_the_batch(
    recipe: NanoRecipe, joint: JointTraining
) -> None:
    """Prevents packed sequences and padded clips from affecting each other."""
    examples = examples_of(recipe, MIXTURE)

    def summed_loss(chosen: list[NanoExample]) -> float:
        batch = join(chosen)
        return joint.losses(batch)["answer"].item() * joint.counts(batch)["answer"]

    with torch.no_grad():
        assert summed_loss(examples) == pytest.approx(sum(summed_loss([example]) for example in examples), rel=1e-4)


def test_joint_losses_equal_the_formulas_written_out(recipe: NanoRecipe, joint: JointTraining) -> None:
    """Prevents changes of training/ from changing the losses that nano was trained with."""
    batch = open_batch_maker(recipe.folder).joint(0, 12, 0)
    with torch.no_grad():
        actual, expected = joint.losses(batch), losses_written_out(joint, batch)
    assert {name: value.item() for name, value in actual.items()} == expected


def losses_written_out(joint: JointTraining, batch: JointExamples) -> dict[str, float]:
    training, model = batch.training, joint.model
    assert training.images is not None and training.clips is not None and model.image and model.audio
    images = model.image(training.images.pixels, training.images.mask, list(training.images.grids))
    shown = torch.zeros(len(images), len(NAMES))
    for row, words in zip(shown, batch.shown, strict=True):
        row[list(words)] = 1
    scores = joint.image_head(torch.stack([embeddings.mean(0) for embeddings in images]))
    multilabel = F.binary_cross_entropy_with_logits(scores, shown, reduction="sum") / len(images)
    hidden = model.audio.encoder(training.clips.features, training.clips.frames)
    tokens = -(-training.clips.frames // 8)
    ctc = F.ctc_loss(
        F.log_softmax(joint.audio_head(hidden), dim=-1).transpose(0, 1),
        torch.tensor([word for words in batch.spoken for word in words]),
        tokens,
        torch.tensor([len(words) for words in batch.spoken]),
        zero_infinity=True,
    )
    projected = zip(hidden, tokens.tolist(), training.projections, strict=True)
    media = torch.cat([*images, *(model.audio.projection[name](clip[:count]) for clip, count, name in projected)])
    answer = F.cross_entropy(model(replace(training.text, media=media)), training.labels)
    return {"multilabel": multilabel.item(), "ctc": ctc.item(), "answer": answer.item()}


def test_a_batch_is_a_function_of_recipe_seed_and_step(recipe: NanoRecipe) -> None:
    """Prevents a resumed run from training on other data than an uninterrupted one."""
    first, again, other = (make_joint_batch(recipe.folder, 0, 6, step).training for step in (3, 3, 4))
    assert torch.equal(first.text.ids, again.text.ids)
    assert first.text.media_index is not None and again.text.media_index is not None
    assert torch.equal(first.text.media_index, again.text.media_index)
    assert first.clips is not None and again.clips is not None
    assert torch.equal(first.clips.features, again.clips.features)
    assert first.text.ids.tolist() != other.text.ids.tolist()


def test_vision_batches_hold_single_crops_with_the_words_of_each(recipe: NanoRecipe) -> None:
    """Prevents words of one image paired with the pixels of another, and crops of half a scene."""
    batch = make_vision_batch(recipe.folder, 0, 5, 2)
    assert len(batch.images.pixels) == len(batch.shown) == 5
    assert set(batch.images.grids) == {(1, 1)}
    assert all(words for words in batch.shown)


def test_frame_words_follow_their_onsets_and_end_before_the_padding(recipe: NanoRecipe) -> None:
    """Prevents frame labels that are earlier than their words, and labels in the padding."""
    batch = make_audio_batch(recipe.folder, 0, 4, 0)
    clips = zip(batch.clips.tokens.tolist(), batch.spoken, batch.frame_words.tolist(), strict=True)
    for tokens, spoken, frame_words in clips:
        assert frame_words[tokens:] == [-1] * (len(frame_words) - tokens)
        labelled = [
            word for n, word in enumerate(frame_words[:tokens]) if word and (n == 0 or frame_words[n - 1] != word)
        ]
        collapsed = [word for n, word in enumerate(spoken) if n == 0 or spoken[n - 1] != word]
        assert labelled == collapsed


def test_every_task_is_drawn_in_the_joint_stage() -> None:
    """Prevents a task that is scored but not trained."""
    assert set(SHARES) == set(world.TASKS)
    assert min(SHARES.values()) > 0
