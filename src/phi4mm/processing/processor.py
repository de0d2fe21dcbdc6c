"""The entry point of processing: messages or a raw prompt, with media, to a Prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy.typing as npt

from phi4mm.config.json_file import read_json
from phi4mm.config.validate import is_integer, shown
from phi4mm.errors import ConfigError, InputError
from phi4mm.processing.audio import MAX_AUDIOS, audio_tokens, log_mel, mel_frames, open_audio
from phi4mm.processing.chat_template import render, resolve_media_tags
from phi4mm.processing.image import MAX_IMAGES, ImageProcessor, crop_limit, image_size, image_tokens, open_image
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.processing.tool_calls import as_tool
from phi4mm.protocol.inputs import F32, AudioFrames, ImageCrops, ImageTiles, MediaData, MediaSpan, Prompt
from phi4mm.protocol.messages import Audio, Image, Message, Tool

# The placeholders of a media item as far as they are known before the work, and the work: data and placeholders.
Unprocessed: TypeAlias = tuple[int, Callable[[], tuple[MediaData, int]]]
_FIXED = {"audio_compression_rate": 8, "audio_downsample_rate": 1, "audio_feat_stride": 1}


@dataclass(frozen=True)
class Processor:
    """Converts messages, text and media to the input of the model. `context` is the most tokens of a prompt."""

    tokenizer: Tokenizer
    images: ImageProcessor
    context: int

    @classmethod
    def from_folder(
        cls, folder: Path, *, context: int, crop_size: int = 448, patch_size: int = 14, max_crops: int | None = None
    ) -> Processor:
        """Read the tokenizer, and preprocessor_config.json if there is one, from the folder of a checkpoint.

        max_crops  the limit for one image; by default `dynamic_hd` of preprocessor_config.json, else 36
        raises     CheckpointError, ConfigError
        """
        stated = _dynamic_hd(folder / "preprocessor_config.json")
        crops = (limit for limit in (max_crops, stated, ImageProcessor.max_crops) if limit is not None)
        images = ImageProcessor(crop_size, patch_size, next(crops))
        return cls(Tokenizer.from_folder(folder), images, context)

    def chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool | Mapping[str, Any] | Callable[..., Any]] = (),
        *,
        add_generation_prompt: bool = True,
    ) -> Prompt:
        """Convert a conversation to a prompt.

        raises  InputError for invalid conversations, tools or media, and if the context is exceeded
        """
        pieces = render(messages, [as_tool(tool) for tool in tools], add_generation_prompt=add_generation_prompt)
        least = self.tokenizer.least_tokens(piece for piece in pieces if isinstance(piece, str))
        self._check_context(least, "the text alone")
        placeholder = {Image: Special.IMAGE, Audio: Special.AUDIO}
        ids = self.tokenizer.encode(placeholder[type(p)] if isinstance(p, (Image, Audio)) else p for p in pieces)
        images = [piece for piece in pieces if isinstance(piece, Image)]
        return self._expand(ids, images, [piece for piece in pieces if isinstance(piece, Audio)])

    def prompt(self, text: str, images: Sequence[Image] = (), audios: Sequence[Audio] = ()) -> Prompt:
        """Convert a raw prompt in the published format; the n-th image tag stands for the n-th image, likewise audio.

        raises  InputError as `chat` does, and if tags and media do not match
        """
        resolved = resolve_media_tags(text, self.tokenizer, len(images), len(audios))
        return self._expand(self.tokenizer.encode_prompt(resolved), images, audios)

    def _expand(self, ids: Sequence[int], images: Sequence[Image], audios: Sequence[Audio]) -> Prompt:
        """Repeat each placeholder once for every embedding of its media item, in one pass over the ids."""
        _check_count("images", len(images), MAX_IMAGES)
        _check_count("audio clips", len(audios), MAX_AUDIOS)
        self._check_context(len(ids), "the text alone")
        media = {
            self.tokenizer.id(Special.IMAGE): self._crops(images),
            self.tokenizer.id(Special.AUDIO): self._frames(audios),
        }
        out: list[int] = []
        spans: list[MediaSpan] = []
        total = len(ids)
        for id in ids:
            if id not in media:
                out.append(id)
                continue
            expected, process = next(media[id])
            self._check_context(total + expected - 1, "the prompt with its media")
            data, length = process()
            total += length - 1
            self._check_context(total, "the prompt with its media")
            kind: Literal["image", "audio"] = "audio" if isinstance(data, AudioFrames) else "image"
            spans.append(MediaSpan(kind, len(out), length, media_digest(data), data))
            out.extend([id] * length)
        return Prompt(tuple(out), tuple(spans))

    def _crops(self, images: Sequence[Image]) -> Iterator[Unprocessed]:
        limit = crop_limit(max(1, len(images)), self.images.max_crops)
        for number, image in enumerate(images, 1):
            yield self._unprocessed(image, f"image {number}", limit)

    def _unprocessed(self, image: Image, name: str, limit: int) -> Unprocessed:
        with _named(name):
            size = image_size(image)
            plan = self.images.plan(*size, limit)

        def process() -> tuple[MediaData, int]:
            with _named(name):
                decoded = open_image(image, self.images.full_pixels(limit))
                turned = (decoded.width > decoded.height) != (size[0] > size[1])
                crops = self.images(decoded, limit) if turned else self.images.cut(decoded, plan)
            return crops, image_tokens(crops.side, *crops.valid)

        return plan.tokens, process

    def _frames(self, audios: Sequence[Audio]) -> Iterator[Unprocessed]:
        for number, audio in enumerate(audios, 1):
            with _named(f"audio {number}"):
                samples, rate = open_audio(audio)
            yield audio_tokens(mel_frames(len(samples), rate)), partial(_process_audio, samples, rate)

    def _check_context(self, tokens: int, name: str) -> None:
        if tokens > self.context:
            raise InputError(
                f"{name} takes at least {tokens} tokens, but the model's context has {self.context}; "
                "shorten it, or give fewer or smaller media"
            )


def _process_audio(samples: F32, rate: int) -> tuple[MediaData, int]:
    features = log_mel(samples, rate)
    return AudioFrames(features, len(samples) / rate), audio_tokens(len(features))


@contextmanager
def _named(which: str) -> Iterator[None]:
    """Say in an InputError which of the media it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{which}: {error}") from error


def _check_count(kind: str, count: int, limit: int) -> None:
    if count > limit:
        raise InputError(f"{count} {kind} were given; expected at most {limit} in a prompt")


def media_digest(data: MediaData) -> bytes:
    """SHA-256 of a media item: within one class, digests are equal exactly if the encoder reads the same input."""
    facts: tuple[object, ...] = ()
    if isinstance(data, ImageCrops):
        arrays: tuple[npt.NDArray[Any], ...] = (data.crops,)
        facts = (data.grid, data.valid, data.side)
    elif isinstance(data, ImageTiles):
        arrays, facts = (data.pixels, data.mask), (data.grid,)
    else:
        arrays = (data.features,)
    digest = hashlib.sha256(repr((type(data).__name__, facts, [array.shape for array in arrays])).encode())
    for array in arrays:
        digest.update(array.data)
    return digest.digest()


def _dynamic_hd(path: Path) -> int | None:
    if not path.exists():
        return None
    stated = read_json(path)
    for key, value in _FIXED.items():
        if stated.get(key, value) != value:
            raise ConfigError(f"{path}: {key} is {shown(stated[key])}; expected {value}")
    crops = stated.get("dynamic_hd")
    if crops is not None and not is_integer(crops):
        raise ConfigError(f"{path}: dynamic_hd is {shown(crops)}; expected a whole number")
    return crops
