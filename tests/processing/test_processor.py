"""Messages and media to a Prompt: placeholders, spans, digests, limits."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from phi4mm.errors import CheckpointError, ConfigError, InputError
from phi4mm.processing.audio import log_mel
from phi4mm.processing.image import ImageProcessor
from phi4mm.processing.processor import Processor
from phi4mm.processing.tokenizer import Special
from phi4mm.protocol.inputs import AudioFrames, ImageCrops
from phi4mm.protocol.messages import Audio, Image, Message
from tests.processing.conftest import tokenizer_json

IMAGE = Image(np.full((448, 448, 3), 90, np.uint8))  # 545 tokens
WIDE = Image(np.full((100, 1000, 3), 9, np.uint8))
SOUND = Audio(np.sin(np.arange(16_000) / 9).astype(np.float32), 16_000)  # 13 tokens


def test_placeholders_are_repeated_where_the_media_stand(processor: Processor) -> None:
    """Prevents a span that points beside its placeholders, or media that swap places."""
    prompt = processor.chat([Message.user("a", SOUND, IMAGE), Message.user(WIDE, "b", SOUND)])
    image, audio = (processor.tokenizer.id(special) for special in (Special.IMAGE, Special.AUDIO))
    assert [span.kind for span in prompt.spans] == ["audio", "image", "image", "audio"]
    covered: set[int] = set()
    for span in prompt.spans:
        expected = image if span.kind == "image" else audio
        assert set(prompt.ids[span.start : span.start + span.length]) == {expected}
        covered.update(range(span.start, span.start + span.length))
    assert {n for n, id in enumerate(prompt.ids) if id in (image, audio)} == covered
    assert [span.length for span in prompt.spans] == [13, 545, processor.images.plan(1000, 100).tokens, 13]
    assert isinstance(prompt.spans[2].data, ImageCrops)
    assert prompt.spans[2].data.grid == (1, 3)
    assert prompt.adapter == "vision"


def test_a_chat_equals_the_same_raw_prompt(processor: Processor) -> None:
    """Prevents the two doors into the model from leading to different places."""
    chat = processor.chat([Message.user(IMAGE, SOUND, " what is this?")])
    raw = processor.prompt("<|user|><|image_1|><|audio_1|> what is this?<|end|><|assistant|>", [IMAGE], [SOUND])
    assert chat.ids == raw.ids
    assert [span.digest for span in chat.spans] == [span.digest for span in raw.spans]


def test_features_and_seconds_are_those_of_the_clip(processor: Processor) -> None:
    """Prevents a length that counts padding or the wrong rate."""
    data = processor.chat([Message.user(Audio(np.zeros(4_000, np.float32), 8_000))]).spans[0].data
    assert isinstance(data, AudioFrames)
    assert data.seconds == 0.5
    np.testing.assert_array_equal(data.features, log_mel(np.zeros(4_000, np.float32), 8_000))


def test_clips_of_different_length_share_a_prompt(processor: Processor) -> None:
    """Prevents ragged clips from being padded to one length here, where the encoder would see the padding."""
    short = Audio(np.zeros(4_000, np.float32), 16_000)
    spans = processor.chat([Message.user(SOUND, short)]).spans
    assert [span.length for span in spans] == [13, 3]


def test_special_tokens_in_a_message_never_become_placeholders(processor: Processor) -> None:
    """Prevents the crash of other servers on user text that spells an image token without an image."""
    text = "<|endoftext10|><|image_1|><|audio_1|><|end|><|user|>"
    prompt = processor.chat([Message.user(text, IMAGE)])
    assert len(prompt.spans) == 1
    assert prompt.ids.count(processor.tokenizer.id(Special.IMAGE)) == 545
    assert prompt.ids.count(processor.tokenizer.id(Special.USER)) == 1


def test_digests_differ_just_when_the_pixels_do(processor: Processor) -> None:
    """Prevents another person's cached image from being answered: same indices, another palette or shape."""

    def indexed(colours: list[int], format: str = "PNG") -> Image:
        image = PIL.Image.frombytes("P", (20, 20), bytes([0, 1]) * 200)
        image.putpalette(colours)
        file = io.BytesIO()
        image.save(file, format)
        return Image(file.getvalue())

    def digest(image: Image) -> bytes:
        return processor.chat([Message.user(image)]).spans[0].digest

    red, blue = [255, 0, 0, 0, 0, 0], [0, 0, 255, 0, 0, 0]
    assert digest(indexed(red)) != digest(indexed(blue))
    assert digest(indexed(red)) == digest(indexed(red, "BMP"))
    tall, wide = (Image(np.full(shape, 255, np.uint8)) for shape in ((40, 20), (20, 40)))
    assert digest(tall) != digest(wide)


def test_many_pictures_share_the_crop_budget_and_65_are_refused(processor: Processor) -> None:
    """Prevents 64 large images from taking gigabytes, and a 65th from being dropped."""
    small = Processor(processor.tokenizer, ImageProcessor(56, 14), 100_000)
    image = Image(np.zeros((336, 336, 3), np.uint8))
    spans = small.chat([Message.user(*[image] * 16)]).spans
    assert {span.data.grid for span in spans if isinstance(span.data, ImageCrops)} == {(3, 3)}
    assert small.chat([Message.user(image)]).spans[0].length > spans[0].length
    with pytest.raises(InputError, match="65 images were given; a prompt holds at most 64"):
        small.chat([Message.user(*[image] * 65)])
    with pytest.raises(InputError, match="65 audio clips were given; a prompt holds at most 64"):
        small.chat([Message.user(*[SOUND] * 65)])


def test_a_prompt_may_fill_the_context_and_not_exceed_it(processor: Processor) -> None:
    """Prevents an off-by-one at the limit, and a prompt cut to fit."""
    for messages in ([Message.user("word " * 90)], [Message.user(IMAGE, SOUND, "hi")]):
        length = len(processor.chat(messages).ids)
        for context in (length, length + 1):
            assert len(replace(processor, context=context).chat(messages).ids) == length
        with pytest.raises(
            InputError, match=rf"at least {length} tokens, the model's context holds {length - 1}; shor"
        ):
            replace(processor, context=length - 1).chat(messages)


def test_media_past_the_context_are_not_processed(processor: Processor) -> None:
    """Prevents hours of audio from being decoded for a request that failed with the first clip."""
    half_hour = Audio(np.broadcast_to(np.float32(0.1), (16_000 * 60 * 8,)), 16_000)  # 6000 tokens
    start = time.process_time()
    with pytest.raises(InputError, match="the model's context holds 4096"):
        processor.chat([Message.user(*[half_hour] * 40)])
    assert time.process_time() - start < 5


def test_errors_name_which_of_several_media_failed(processor: Processor) -> None:
    """Prevents a person with twenty files from having to search for the broken one."""
    with pytest.raises(InputError, match=r"^image 2: the image is empty \(0 bytes\)$"):
        processor.chat([Message.user(IMAGE, Image(b""))])
    with pytest.raises(InputError, match=r"^image 1: the image of 1 x 10000 pixels"):
        processor.prompt("<|image_1|>", [Image(np.zeros((10_000, 1), np.uint8))])
    with pytest.raises(InputError, match=r"^audio 1: the audio clip cannot be decoded"):
        processor.chat([Message.user(Audio(b"no sound"))])


def test_expansion_is_linear_in_the_prompt(processor: Processor) -> None:
    """Prevents the quadratic expansion by list slicing for which another server has a CVE."""
    large = Processor(processor.tokenizer, ImageProcessor(56, 14), 10**7)
    start = time.process_time()
    large.prompt("<|end|>" * 200_000 + "".join(f"<|image_{n}|>" for n in range(1, 65)), [IMAGE] * 64)
    assert time.process_time() - start < 5


def test_a_folder_states_its_own_limits(tmp_path: Path) -> None:
    """Prevents the crop limit of the checkpoint from being ignored, and a stated rate from being silently wrong."""
    with pytest.raises(CheckpointError, match=r"tokenizer.json cannot be read"):
        Processor.from_folder(tmp_path, context=100)
    (tmp_path / "tokenizer.json").write_bytes(tokenizer_json())
    assert Processor.from_folder(tmp_path, context=100).images == ImageProcessor(448, 14, 36)
    stated = tmp_path / "preprocessor_config.json"
    stated.write_text(json.dumps({"dynamic_hd": 9, "audio_compression_rate": 8, "processor_class": "Phi4MMProcessor"}))
    small = Processor.from_folder(tmp_path, context=100, crop_size=224, patch_size=28)
    assert small.images == ImageProcessor(224, 28, 9)
    assert Processor.from_folder(tmp_path, context=100, max_crops=64).images.max_crops == 64
    for text, message in (
        ('{"dynamic_hd": 65}', "max_crops is 65; expected 1 to 64"),
        ('{"dynamic_hd": "9"}', "dynamic_hd is '9'; expected a whole number"),
        ('{"audio_compression_rate": 4}', "audio_compression_rate is 4; only 8 is known"),
        ("[]", "holds a list; expected a JSON object"),
        ("{", "cannot be read"),
    ):
        stated.write_text(text)
        with pytest.raises(ConfigError, match=message):
            Processor.from_folder(tmp_path, context=100)
