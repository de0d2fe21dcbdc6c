"""Collation and the forward pass: labels, embeddings and adapters must belong to their own tokens and sequences."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from phi4mm.engine.encoders import encode_media
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.processor import Processor
from phi4mm.processing.tokenizer import Special
from phi4mm.protocol.inputs import Adapter
from phi4mm.protocol.messages import Message
from phi4mm.training.collate import TrainingBatch, collate
from phi4mm.training.data import Example, TrainingExample, make_training_example
from phi4mm.training.forward import forward
from phi4mm.training.sft import answer_loss
from tests.prompts import full_logits
from tests.training.conftest import EXAMPLES

ORIGINAL_MAX_POSITIONS = 96  # of the small model


@pytest.fixture(scope="module")
def examples(processor: Processor) -> list[TrainingExample]:
    long = Example((Message.user("Say it again and again. " * 5),), "No.")
    return [make_training_example(example, processor) for example in (*EXAMPLES.values(), long)]


def batch_of(examples: Sequence[TrainingExample]) -> TrainingBatch:
    return collate(examples, ORIGINAL_MAX_POSITIONS)


def test_each_output_predicts_the_token_after_it(examples: list[TrainingExample]) -> None:
    """Prevents a shift by one, and labels paired with the outputs of another example."""
    batch = batch_of(examples)
    labels, outputs, start = batch.labels.tolist(), batch.text.outputs.tolist(), 0
    for example, sequence in zip(examples, batch.text.sequences, strict=True):
        ids = example.prompt.ids
        assert batch.text.ids[start : start + sequence.tokens].tolist() == list(ids[:-1])
        for position in [position for position, flag in enumerate(example.label_mask) if flag]:
            assert (outputs.pop(0), labels.pop(0)) == (start + position - 1, ids[position])
        start += sequence.tokens
    assert not labels and not outputs and start == len(batch.text.ids)


def test_media_index_lists_the_placeholders_of_images_before_those_of_clips(
    examples: list[TrainingExample], processor: Processor
) -> None:
    """Prevents image embeddings at the placeholders of a clip."""
    batch, tokenizer = batch_of(examples), processor.tokenizer
    assert batch.images is not None and batch.clips is not None and batch.text.media_index is not None
    kinds = batch.text.ids[batch.text.media_index].tolist()
    image, audio = tokenizer.id(Special.IMAGE), tokenizer.id(Special.AUDIO)
    assert kinds == sorted(kinds, key=(image, audio).index)
    assert len(kinds) == int(((batch.text.ids == image) | (batch.text.ids == audio)).sum())
    assert kinds.count(audio) == int(batch.clips.tokens.sum())


@pytest.mark.parametrize("adapter", ["vision", "speech"])
def test_the_audio_projection_depends_on_the_presence_of_an_image_and_not_on_the_adapter(
    processor: Processor, adapter: Adapter
) -> None:
    """Prevents the choice of an adapter from changing the audio projection."""
    examples = [make_training_example(EXAMPLES[name], processor, adapter) for name in ("audio", "both", "two clips")]
    batch = batch_of(examples)
    assert batch.projections == ("speech", "vision", "speech", "speech")
    assert {sequence.adapter for sequence in batch.text.sequences} == {adapter}


def logits_of(model: Phi4MM, batch: TrainingBatch) -> Tensor:
    return F.linear(forward(model, batch).hidden, model.text.embed_tokens.weight)


def test_logits_equal_those_of_inference(model: Phi4MM, examples: list[TrainingExample]) -> None:
    """Prevents training another network than the one served: media, adapters and LongRoPE included."""
    batch = batch_of(examples)
    assert {sequence.long_rope for sequence in batch.text.sequences} == {False, True}
    with torch.no_grad():
        together = logits_of(model, batch).split([sum(example.label_mask) for example in examples])
    for example, logits in zip(examples, together, strict=True):
        alone = full_logits(model, replace(example.prompt, ids=example.prompt.ids[:-1]))
        assert torch.allclose(logits, alone[-len(logits) :], atol=1e-5), len(example.prompt.ids)


def test_the_loss_of_an_example_does_not_depend_on_the_other_examples_of_the_batch(
    model: Phi4MM, examples: list[TrainingExample]
) -> None:
    """Prevents packed sequences and padded clips from affecting each other."""

    def summed_loss(chosen: list[TrainingExample]) -> float:
        batch = batch_of(chosen)
        return answer_loss(model, batch).item() * len(batch.labels)

    with torch.no_grad():
        assert summed_loss(examples) == pytest.approx(sum(summed_loss([example]) for example in examples), rel=1e-5)


def test_media_are_encoded_as_the_engine_encodes_them(model: Phi4MM, examples: list[TrainingExample]) -> None:
    """Prevents training and serving from encoding media in two different ways."""
    for example in examples[1:5]:
        with torch.no_grad():
            result = forward(model, batch_of([example]))
            served = encode_media(model, example.prompt, torch.device("cpu"))
        trained = [*result.images, *(result.audio.embeddings if result.audio else ())]
        assert served is not None
        # A single item is computed identically; clips padded together are summed in another order.
        torch.testing.assert_close(torch.cat(trained), served, rtol=0, atol=1e-5 if len(trained) > 1 else 0)


def test_gradients_reach_towers_projections_adapters_and_decoder(
    model: Phi4MM, examples: list[TrainingExample]
) -> None:
    """Prevents a part of the model from never being trained."""
    batch = batch_of(examples)
    answer_loss(model, batch).backward()
    touched = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    parts = "tower.patch_embedding image.projection encoder.subsampling projection.speech projection.vision"
    for part in (*parts.split(), "lora_a.vision", "lora_a.speech", "text.embed_tokens"):
        assert any(part in name for name in touched), part


def test_autocast_trains_the_whole_model_in_bfloat16(model: Phi4MM, examples: list[TrainingExample]) -> None:
    """Prevents errors from mixed dtypes, or another loss, that would show only on a GPU."""
    batch = batch_of(examples)
    exact = answer_loss(model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert logits_of(model, batch).dtype == torch.bfloat16
        loss = answer_loss(model, batch)
    loss.backward()
    assert loss.item() == pytest.approx(exact.item(), rel=0.02)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_a_batch_can_be_pickled_and_moved_to_a_device(examples: list[TrainingExample]) -> None:
    """Prevents a field that stays on the CPU, or that is lost on the way from the process that makes batches."""
    batch = pickle.loads(pickle.dumps(batch_of(examples)))
    moved = batch.to(torch.device("meta"))
    assert moved.images is not None and moved.clips is not None and moved.text.media_index is not None
    tensors = (moved.text.ids, moved.text.outputs, moved.text.media_index, moved.labels, moved.images.pixels)
    assert {tensor.device.type for tensor in (*tensors, moved.images.mask, moved.clips.features)} == {"meta"}
    assert moved.clips.frames.device.type == "cpu"
    assert (moved.projections, moved.text.sequences) == (batch.projections, batch.text.sequences)
