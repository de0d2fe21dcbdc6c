"""The tensors of the processor have the published names and values, and its errors say what is wrong with a call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from phi4mm.compat import AutoProcessor, Inputs
from phi4mm.errors import ConfigError, InputError
from phi4mm.processing.pixels import to_tiles
from phi4mm.processing.processor import Processor
from phi4mm.protocol.inputs import AudioFrames, ImageCrops
from phi4mm.protocol.messages import Audio, Image
from tests.compat.conftest import make_clip, make_image

IMAGE = "<|user|><|image_1|>what is in the image<|end|><|assistant|>"
AUDIO = "<|user|><|audio_1|>what is it<|end|><|assistant|>"
TEXT = "<|user|>hello<|end|><|assistant|>"


def own_processor(processor: AutoProcessor) -> Processor:
    return processor._processor


def test_one_prompt_gives_the_published_tensors(processor: AutoProcessor) -> None:
    """Scripts that read these tensors rely on their names, padding and meaning."""
    inputs = processor(text=IMAGE, images=make_image(120, 80, 0))
    prompt = own_processor(processor).prompt(IMAGE, [Image(make_image(120, 80, 0))])
    crops = prompt.spans[0].data
    assert isinstance(crops, ImageCrops)
    tiles = to_tiles(crops)
    assert list(inputs) == [
        "input_ids",
        "attention_mask",
        "input_image_embeds",
        "image_sizes",
        "image_attention_mask",
        "input_mode",
    ]
    assert inputs.input_ids.tolist() == [list(prompt.ids)]
    assert inputs.image_sizes.tolist() == [[2 * 56, 3 * 56]]
    assert np.array_equal(inputs["input_image_embeds"][0].numpy(), tiles.pixels)
    assert np.array_equal(inputs["image_attention_mask"][0].numpy(), tiles.mask)
    assert inputs.input_mode.tolist() == [1]


def test_several_prompts_are_padded_on_the_left_and_share_media_in_order(processor: AutoProcessor) -> None:
    """Media in the wrong prompt, or padding on the wrong side, would give wrong answers without an error."""
    both = "<|user|><|image_1|><|audio_1|><|end|><|assistant|>"
    images, audios = [make_image(50, 50, 1), make_image(120, 80, 2)], [make_clip(0.4, 3), make_clip(1.0, 4)]
    inputs = processor(text=[TEXT, IMAGE, both, AUDIO], images=images, audios=audios)
    prompts = [
        own_processor(processor).prompt(TEXT),
        own_processor(processor).prompt(IMAGE, [Image(images[0])]),
        own_processor(processor).prompt(both, [Image(images[1])], [Audio(*audios[0])]),
        own_processor(processor).prompt(AUDIO, [], [Audio(*audios[1])]),
    ]
    width, pad = max(len(prompt.ids) for prompt in prompts), processor.tokenizer.pad_token_id
    for ids, mask, prompt in zip(inputs.input_ids.tolist(), inputs.attention_mask.tolist(), prompts, strict=True):
        padding = width - len(prompt.ids)
        assert ids == [pad] * padding + list(prompt.ids)
        assert mask == [0] * padding + [1] * len(prompt.ids)
    assert inputs.input_mode.tolist() == [0, 1, 3, 2]
    assert inputs.image_sizes.tolist() == [[56, 56], [112, 168]]
    assert inputs.input_image_embeds[0, 2:].abs().max() == 0
    assert inputs.image_attention_mask[0, 2:].all()
    frames = [span.data.features for prompt in prompts for span in prompt.spans if isinstance(span.data, AudioFrames)]
    assert inputs.audio_embed_sizes.tolist() == [-(-len(clip) // 8) for clip in frames]
    assert inputs.audio_attention_mask.sum(1).tolist() == [len(clip) for clip in frames]
    assert np.array_equal(inputs.input_audio_embeds[0, : len(frames[0])].numpy(), frames[0])
    assert inputs.input_audio_embeds[0, len(frames[0]) :].abs().max() == 0


def test_placeholders_without_a_number_take_media_like_numbered_tags(processor: AutoProcessor) -> None:
    """The published processor turns one into the other before it counts; media must not shift to another prompt."""
    bare = IMAGE.replace("<|image_1|>", "<|endoftext10|>"), AUDIO.replace("<|audio_1|>", "<|endoftext11|>")
    images, audios = [make_image(50, 50, 1), make_image(120, 80, 2)], [make_clip(0.4, 3), make_clip(1.0, 4)]
    inputs = processor(text=[*bare, AUDIO, IMAGE], images=images, audios=audios)
    numbered = processor(text=[IMAGE, AUDIO, AUDIO, IMAGE], images=images, audios=audios)
    assert all(torch.equal(inputs[name], numbered[name]) for name in numbered)


def test_a_single_clip_comes_without_a_mask(processor: AutoProcessor) -> None:
    """The published processor leaves it out, and so does code written for it."""
    for audios in ([make_clip(0.4, 3)], make_clip(0.4, 3)):
        assert "audio_attention_mask" not in processor(text=AUDIO, audios=audios)


def test_inputs_are_a_mapping_whose_items_are_attributes(processor: AutoProcessor) -> None:
    """`**inputs`, `inputs["input_ids"]` and `inputs.input_ids` all occur in scripts."""
    inputs = processor(text=TEXT)
    assert dict(**inputs).keys() == {"input_ids", "attention_mask", "input_mode"}
    assert inputs.input_ids is inputs["input_ids"]
    with pytest.raises(AttributeError, match="these inputs have no input_image_embeds"):
        _ = inputs.input_image_embeds
    moved = inputs.to(torch.device("cpu"))
    assert isinstance(moved, Inputs)
    assert moved.input_ids.tolist() == inputs.input_ids.tolist()


@pytest.mark.parametrize(
    ("text", "images", "audios", "error"),
    [
        (IMAGE, None, None, r"the text has 1 image tags for 0 image items; write one <\|image_n\|> for each"),
        ([IMAGE, IMAGE], [make_image(9, 9, 0)], None, "the text has 2 image tags for 1 image items"),
        (AUDIO, None, [make_clip(0.1, 0)] * 2, "the text has 1 audio tags for 2 audio items"),
        ([TEXT, IMAGE], b"%PDF-1.7", None, "prompt 2: image 1: PDF is not supported"),
        ([], None, None, "text is list; expected a prompt, or a list of at least one"),
        ([TEXT, 7], None, None, "text is list; expected a prompt"),
        (None, None, None, "text is NoneType; expected a prompt"),
    ],
)
def test_calls_that_cannot_work_are_refused(
    processor: AutoProcessor, text: list[str], images: object, audios: object, error: str
) -> None:
    """Otherwise media would be dropped, or the call would fail far from the cause."""
    with pytest.raises(InputError, match=error):
        processor(text=text, images=images, audios=audios)


def test_only_pytorch_tensors_are_returned(processor: AutoProcessor) -> None:
    """A script that asks for numpy arrays would fail later on torch tensors."""
    with pytest.raises(ConfigError, match="return_tensors is 'np'; expected 'pt', as all tensors are PyTorch's"):
        processor(text=TEXT, return_tensors="np")


def test_padding_media_to_the_largest_is_bounded(processor: AutoProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    """One large image in the batch pads all the others: memory grows with number times size."""
    monkeypatch.setattr("phi4mm.compat.arrays.MAX_PADDED", 2 * 3 * 3 * 56 * 56 - 1)
    with pytest.raises(
        InputError, match=r"the 2 images take .* GiB when they are padded .* process fewer prompts at a time"
    ):
        processor(text=[IMAGE, IMAGE], images=[make_image(50, 50, 0), make_image(100, 50, 0)])


def test_an_unknown_keyword_is_refused_with_the_nearest_name(small_folder: Path) -> None:
    """A misspelled keyword must not be ignored like the published ones that have no effect."""
    with pytest.raises(ConfigError, match=r"unknown keyword trust_remote_cod; did you mean trust_remote_code\?"):
        AutoProcessor.from_pretrained(small_folder, trust_remote_cod=True)


def test_an_image_array_is_one_image(processor: AutoProcessor) -> None:
    """An array is also a sequence of its rows, which must not be read as so many images."""
    array = np.asarray(make_image(50, 50, 1))
    alone = processor(text=IMAGE, images=PIL.Image.fromarray(array))
    for images in (array, [array], (array,)):
        assert torch.equal(processor(text=IMAGE, images=images).input_image_embeds, alone.input_image_embeds)


def test_case_c_a_conversation_with_media_becomes_inputs(processor: AutoProcessor) -> None:
    """As the documentation of transformers' own class shows it: parts with media, and everything in one call."""
    image, clip = make_image(50, 50, 1), make_clip(0.4, 3)
    parts: list[dict[str, Any]] = [
        {"type": "image", "image": image},
        {"type": "audio", "audio": clip},
        {"type": "text", "text": "hello"},
    ]
    conversation = [{"role": "user", "content": parts}]
    text = "<|user|><|image_1|><|audio_1|>hello<|end|><|assistant|>"
    assert processor.apply_chat_template(conversation, add_generation_prompt=True) == text
    inputs = processor.apply_chat_template(
        conversation, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    expected = processor(text=text, images=image, audio=[clip])
    assert inputs.keys() == expected.keys()
    assert all(torch.equal(inputs[name], expected[name]) for name in expected)
    ids = processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=True)
    assert ids == expected.input_ids.tolist()
    parts[1]["audio"] = (*clip, 1)
    with pytest.raises(InputError, match=r"an audio tuple has 3 items; expected \(samples, rate\)"):
        processor.apply_chat_template(conversation)


def test_case_c_dynamic_hd_is_the_most_crops_of_an_image(small_folder: Path, processor: AutoProcessor) -> None:
    """num_crops is another model's name for it: ignored, as in the published processor, it would not limit anything."""
    load = AutoProcessor.from_pretrained
    image = make_image(300, 200, 0)
    few = load(small_folder, dynamic_hd=2, use_fast=True, local_files_only=True)(text=IMAGE, images=image)
    assert few.input_image_embeds.shape[1] <= 3 < processor(text=IMAGE, images=image).input_image_embeds.shape[1]
    with pytest.raises(ConfigError, match=r"num_crops=4 is not supported; .* is dynamic_hd"):
        load(small_folder, num_crops=4)
    with pytest.raises(ConfigError, match=r"processor\(\): num_crops=4 is not supported; give dynamic_hd to Auto"):
        processor(text=IMAGE, images=image, num_crops=4)
    with pytest.raises(ConfigError, match="padding is 'max_length'; expected True"):
        processor(text=TEXT, padding="max_length")
    with pytest.raises(ConfigError, match="audio and audios were both given"):
        processor(text=AUDIO, audio=make_clip(0.1, 0), audios=make_clip(0.1, 0))
    assert torch.equal(processor(text=TEXT, padding=True).input_ids, processor(text=TEXT).input_ids)


def test_inputs_may_be_changed_and_cast(processor: AutoProcessor) -> None:
    """Scripts drop entries and cast pixels to the model's dtype; ids stay whole numbers."""
    inputs = processor(text=IMAGE, images=make_image(50, 50, 1))
    for cast in (inputs.to(torch.bfloat16), inputs.to("cpu", torch.bfloat16), inputs.to("cpu", dtype=torch.bfloat16)):
        assert cast.input_image_embeds.dtype == torch.bfloat16
        assert cast.input_ids.dtype == inputs.input_ids.dtype == torch.int64
    assert inputs.pop("input_mode").tolist() == [1]
    inputs["attention_mask"] = torch.ones_like(inputs.input_ids)
    assert "input_mode" not in inputs
