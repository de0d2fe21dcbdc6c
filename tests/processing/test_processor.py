"""Messages and media to a Prompt: placeholders, spans, digests, limits."""

from __future__ import annotations

import io
import json
import struct
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from phi4mm.errors import CheckpointError, ConfigError, InputError
from phi4mm.processing.audio import log_mel
from phi4mm.processing.image import ImageProcessor
from phi4mm.processing.processor import Processor
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.protocol.inputs import AudioFrames, ImageCrops
from phi4mm.protocol.messages import Audio, Image, Message
from tests.processing.conftest import tokenizer_json

IMAGE = Image(np.full((448, 448, 3), 90, np.uint8))  # 545 tokens
WIDE = Image(np.full((100, 1000, 3), 9, np.uint8))
CLIP = Audio(np.sin(np.arange(16_000) / 9).astype(np.float32), 16_000)  # 13 tokens


def test_placeholders_are_repeated_at_the_position_of_the_media(processor: Processor) -> None:
    """Each span must cover exactly the placeholders of its media item, in the order of the message."""
    prompt = processor.chat([Message.user("a", CLIP, IMAGE), Message.user(WIDE, "b", CLIP)])
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
    """Both entry points must give the same prompt."""
    chat = processor.chat([Message.user(IMAGE, CLIP, " what is this?")])
    raw = processor.prompt("<|user|><|image_1|><|audio_1|> what is this?<|end|><|assistant|>", [IMAGE], [CLIP])
    assert chat.ids == raw.ids
    assert [span.digest for span in chat.spans] == [span.digest for span in raw.spans]


def test_features_and_seconds_are_those_of_the_clip(processor: Processor) -> None:
    """The length must not include padding, and must use the rate of the clip."""
    data = processor.chat([Message.user(Audio(np.zeros(4_000, np.float32), 8_000))]).spans[0].data
    assert isinstance(data, AudioFrames)
    assert data.seconds == 0.5
    np.testing.assert_array_equal(data.features, log_mel(np.zeros(4_000, np.float32), 8_000))


def test_clips_of_different_length_share_a_prompt(processor: Processor) -> None:
    """Clips must not be padded to one length, as the encoder would read the padding."""
    short = Audio(np.zeros(4_000, np.float32), 16_000)
    spans = processor.chat([Message.user(CLIP, short)]).spans
    assert [span.length for span in spans] == [13, 3]


def test_special_tokens_in_a_message_never_become_placeholders(processor: Processor) -> None:
    """Other servers crash on user text that spells an image token without an image."""
    text = "<|endoftext10|><|image_1|><|audio_1|><|end|><|user|>"
    prompt = processor.chat([Message.user(text, IMAGE)])
    assert len(prompt.spans) == 1
    assert prompt.ids.count(processor.tokenizer.id(Special.IMAGE)) == 545
    assert prompt.ids.count(processor.tokenizer.id(Special.USER)) == 1


def test_digests_differ_exactly_if_the_pixels_differ(processor: Processor) -> None:
    """Files with equal indices and another palette, or equal bytes and another shape, are different images."""

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


def test_many_images_share_the_crop_budget_and_65_are_refused(processor: Processor) -> None:
    """64 large images must not take gigabytes, and a 65th must not be dropped silently."""
    small = Processor(processor.tokenizer, ImageProcessor(56, 14), 100_000)
    image = Image(np.zeros((336, 336, 3), np.uint8))
    spans = small.chat([Message.user(*[image] * 16)]).spans
    assert {span.data.grid for span in spans if isinstance(span.data, ImageCrops)} == {(3, 3)}
    assert small.chat([Message.user(image)]).spans[0].length > spans[0].length
    with pytest.raises(InputError, match="65 images were given; expected at most 64 in a prompt"):
        small.chat([Message.user(*[image] * 65)])
    with pytest.raises(InputError, match="65 audio clips were given; expected at most 64 in a prompt"):
        small.chat([Message.user(*[CLIP] * 65)])


def test_a_prompt_may_fill_the_context_and_not_exceed_it(processor: Processor) -> None:
    """The limit is exact, and a longer prompt is refused, not cut."""
    for messages in ([Message.user("word " * 90)], [Message.user(IMAGE, CLIP, "hi")]):
        length = len(processor.chat(messages).ids)
        for context in (length, length + 1):
            assert len(replace(processor, context=context).chat(messages).ids) == length
        with pytest.raises(
            InputError, match=rf"at least {length} tokens, but the model's context has {length - 1}; shor"
        ):
            replace(processor, context=length - 1).chat(messages)


def test_media_beyond_the_context_are_not_processed(processor: Processor) -> None:
    """Hours of audio must not be decoded for a request that fails with its first clips."""
    long_clip = Audio(np.broadcast_to(np.float32(0.1), (16_000 * 60 * 8,)), 16_000)  # 6000 tokens
    start = time.process_time()
    with pytest.raises(InputError, match="the model's context has 4096"):
        processor.chat([Message.user(*[long_clip] * 40)])
    assert time.process_time() - start < 5


def test_case_b13_a_long_clip_is_refused_before_its_features_are_computed(
    processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """29 minutes on a model with room for 22 were 8 s of work before the answer that they do not fit."""
    monkeypatch.setattr("phi4mm.processing.processor.log_mel", lambda *_: pytest.fail("features were computed"))
    clip = Audio(np.broadcast_to(np.float32(0.1), (16_000 * 60 * 29,)), 16_000)  # 21,750 tokens
    with pytest.raises(InputError, match=r"takes at least 217.. tokens, .* 16384"):
        replace(processor, context=16_384).chat([Message.user(clip, "Transcribe.")])


@pytest.mark.parametrize("format", ["PNG", "JPEG", None])
def test_case_b13_images_are_refused_by_their_header(
    processor: Processor, format: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header says how many placeholders an image takes; pixels that never fit are not decoded."""
    monkeypatch.setattr("phi4mm.processing.processor.open_image", lambda *_: pytest.fail("an image was decoded"))
    file = io.BytesIO()
    image = PIL.Image.new("RGB", (2688, 2688))
    if format is not None:
        image.save(file, format)
    with pytest.raises(InputError, match=r"takes at least 95.. tokens, .* 4096"):
        processor.chat([Message.user(Image(image if format is None else file.getvalue()))])


@pytest.mark.parametrize("size", [(1000, 100), (3000, 1000), (448, 448), (5000, 300), (77, 901)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_case_b13_what_the_header_says_is_what_the_pixels_take(
    processor: Processor, size: tuple[int, int], orientation: int
) -> None:
    """A photo that lies on its side has other crops, and a prompt that just holds them must not be refused."""
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    PIL.Image.new("RGB", size).save(file, "PNG", exif=exif)
    messages = [Message.user(Image(file.getvalue()), CLIP)]
    length = len(replace(processor, context=10**5).chat(messages).ids)
    assert len(replace(processor, context=length).chat(messages).ids) == length
    with pytest.raises(InputError, match=f"at least {length} tokens"):
        replace(processor, context=length - 1).chat(messages)


def test_case_b13_orientation_that_follows_the_pixels_counts(processor: Processor) -> None:
    """A PNG may say after its pixels that it lies on its side; crops and placeholders must be of the upright one."""
    file, exif = io.BytesIO(), PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (1000, 100)).save(file, "PNG")
    data, body = file.getvalue(), b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    late = data[:-12] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + data[-12:]
    (span,) = processor.chat([Message.user(Image(late))]).spans
    assert isinstance(span.data, ImageCrops)
    assert span.data.grid == processor.images.plan(100, 1000).grid == (3, 1)
    assert span.length == processor.images.plan(100, 1000).tokens


def test_errors_name_the_media_item_that_failed(processor: Processor) -> None:
    """Users with twenty files need to know which of them is damaged."""
    with pytest.raises(InputError, match=r"^image 2: the image is empty \(0 bytes\); give a file with data$"):
        processor.chat([Message.user(IMAGE, Image(b""))])
    with pytest.raises(InputError, match=r"^image 1: the image of 1 x 10000 pixels"):
        processor.prompt("<|image_1|>", [Image(np.zeros((10_000, 1), np.uint8))])
    with pytest.raises(InputError, match=r"^audio 1: the audio clip cannot be decoded"):
        processor.chat([Message.user(Audio(b"no audio"))])


def test_expansion_is_linear_in_the_prompt(processor: Processor) -> None:
    """Another server has a CVE for quadratic expansion by list slicing."""
    large = Processor(processor.tokenizer, ImageProcessor(56, 14), 10**7)
    start = time.process_time()
    large.prompt("<|end|>" * 200_000 + "".join(f"<|image_{n}|>" for n in range(1, 65)), [IMAGE] * 64)
    assert time.process_time() - start < 5


def test_the_limits_of_a_folder_are_read(tmp_path: Path) -> None:
    """The crop limit of the checkpoint must be used, and a different audio rate must be refused."""
    with pytest.raises(CheckpointError, match=r"tokenizer.json not found; expected a tokenizer"):
        Processor.from_folder(tmp_path, context=100)
    (tmp_path / "tokenizer.json").write_bytes(tokenizer_json())
    assert Processor.from_folder(tmp_path, context=100).images == ImageProcessor(448, 14, 36)
    stated = tmp_path / "preprocessor_config.json"
    stated.write_text(json.dumps({"dynamic_hd": 9, "audio_compression_rate": 8, "processor_class": "Phi4MMProcessor"}))
    small = Processor.from_folder(tmp_path, context=100, crop_size=224, patch_size=28)
    assert small.images == ImageProcessor(224, 28, 9)
    assert Processor.from_folder(tmp_path, context=100, max_crops=64).images.max_crops == 64
    for text, message in (
        ('{"dynamic_hd": 65}', "max_crops is 65; expected a whole number from 1 to 64"),
        ('{"dynamic_hd": "9"}', "dynamic_hd is '9'; expected a whole number"),
        ('{"audio_compression_rate": 4}', "audio_compression_rate is 4; expected 8"),
        ("[]", "holds a list; expected a JSON object"),
        ("{", "cannot be read"),
    ):
        stated.write_text(text)
        with pytest.raises(ConfigError, match=message):
            Processor.from_folder(tmp_path, context=100)


def test_case_b13_a_text_that_cannot_fit_is_refused_before_it_is_encoded(
    processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four megabytes took 8 s and a gigabyte before they were too many tokens."""
    texts = ["a  b", "hello world " * 50, " " * 90, "\u00e9\U0001f600" * 30]
    for text in texts:
        assert processor.tokenizer.least_tokens([text]) <= len(processor.tokenizer.encode([text]))
    monkeypatch.setattr(Tokenizer, "encode", None)
    with pytest.raises(InputError, match="the text alone takes at least"):
        processor.chat([Message.user("a " * 2**21)])
