"""Convert prompts to the arrays of the published processor, and such arrays back to prompts.

The published names, for B prompts padded on the left to S tokens, with U images and A audio clips in the order in which
the prompts use them:

input_ids, attention_mask   (B, S) int64
input_image_embeds          (U, C, 3, X, X) float32; an image with fewer crops than the largest is padded with zeros
image_sizes                 (U, 2) int64, height and width of the canvas in pixels
image_attention_mask        (U, C, P, P) bool, True for patches that hold image, and in all of a crop that is padding
input_audio_embeds          (A, F, Y) float32, zeros after the end of a shorter clip
audio_embed_sizes           (A,) int64, placeholders of each clip
audio_attention_mask        (A, F) bool; only for several clips
input_mode                  (B,) int64: 0 text, 1 image, 2 audio, 3 both (published: one number for the whole batch)

Shape legend: C crops of one image (the global view first), P patches along a crop's side, X pixels along it,
F mel frames (10 ms), Y mel bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from phi4mm.errors import InputError
from phi4mm.processing.audio import MEL_BINS, audio_tokens
from phi4mm.processing.image import image_tokens
from phi4mm.processing.pixels import to_tiles
from phi4mm.processing.processor import Processor, media_digest
from phi4mm.processing.tokenizer import Special
from phi4mm.protocol.inputs import F32, AudioFrames, ImageCrops, ImageTiles, MediaSpan, Prompt

Arrays: TypeAlias = "dict[str, npt.NDArray[Any]]"
MediaItem: TypeAlias = "tuple[ImageTiles | AudioFrames, int]"  # features, number of placeholders
Kind: TypeAlias = Literal["image", "audio"]

IMAGE_NAMES = ("input_image_embeds", "image_sizes", "image_attention_mask")
AUDIO_NAMES = ("input_audio_embeds", "audio_embed_sizes")
NAMES = ("input_ids", "attention_mask", *IMAGE_NAMES, *AUDIO_NAMES, "audio_attention_mask", "input_mode")
MAX_PADDED = 2**30  # float32 numbers: one large image in the batch pads all the others to its size


def to_arrays(prompts: Sequence[Prompt], pad_id: int) -> Arrays:
    """Convert at least one prompt to arrays. Arrays for a kind of media that no prompt has are left out.

    raises  InputError when padding the media to the largest one would take more than 4 GiB
    """
    length = max(len(prompt.ids) for prompt in prompts)
    ids = np.full((len(prompts), length), pad_id, np.int64)
    mask = np.zeros(ids.shape, np.int64)
    for i, prompt in enumerate(prompts):
        start = length - len(prompt.ids)
        ids[i, start:] = prompt.ids
        mask[i, start:] = 1
    spans = [span for prompt in prompts for span in prompt.spans]
    images = [span.data for span in spans if not isinstance(span.data, AudioFrames)]
    clips = [span.data.features for span in spans if isinstance(span.data, AudioFrames)]
    modes = np.array([_mode(prompt) for prompt in prompts], np.int64)
    arrays = {"input_ids": ids, "attention_mask": mask}
    return arrays | _image_arrays(images) | _audio_arrays(clips) | {"input_mode": modes}


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]], processor: Processor, *, vocab_size: int) -> list[Prompt]:
    """Convert the arrays of `to_arrays` back to prompts; media may be views of the arrays.

    attention_mask        if it is missing, all ids belong to the prompt
    input_mode            if it is missing, the placeholders of each prompt decide
    audio_attention_mask  if it is missing, all clips are as long as the array
    raises                InputError if shapes are impossible or the arrays contradict each other
    """
    sequences = _unpadded_ids(arrays, vocab_size)
    crop = processor.images.crop_size
    images = _images(arrays, crop, crop // processor.images.patch_size)
    clips = _clips(arrays)
    image_id, audio_id = processor.tokenizer.id(Special.IMAGE), processor.tokenizer.id(Special.AUDIO)
    kinds: tuple[tuple[Kind, int, list[MediaItem]], ...] = (("image", image_id, images), ("audio", audio_id, clips))
    for kind, id, media in kinds:
        placeholders, needed = sum(ids.count(id) for ids in sequences), sum(tokens for _, tokens in media)
        if placeholders != needed:
            raise InputError(
                f"input_ids hold {placeholders} {kind} placeholders, but the {len(media)} {kind} items need {needed}; "
                "pass input_ids and media of one processor call, unchanged"
            )
    remaining = {id: (kind, enumerate(media, 1)) for kind, id, media in kinds}
    prompts = [_prompt(ids, remaining, i) for i, ids in enumerate(sequences)]
    _check_modes(arrays, prompts)
    return prompts


def _mode(prompt: Prompt) -> int:
    kinds = {span.kind for span in prompt.spans}
    return ("image" in kinds) + 2 * ("audio" in kinds)


def _image_arrays(images: Sequence[ImageCrops | ImageTiles]) -> Arrays:
    if not images:
        return {}
    grids = np.array([image.grid for image in images], np.int64)
    size, side, crops = images[0].size, images[0].side, 1 + int(grids.prod(1).max())
    pixels = _zeros((len(images), crops, 3, size, size), "images")
    mask = np.ones((len(images), crops, side, side), np.bool_)
    for n, tiles in enumerate(map(to_tiles, images)):
        pixels[n, : len(tiles.pixels)] = tiles.pixels
        mask[n, : len(tiles.mask)] = tiles.mask
    sizes = grids * size
    return dict(zip(IMAGE_NAMES, (pixels, sizes, mask), strict=True))


def _audio_arrays(clips: Sequence[F32]) -> Arrays:
    if not clips:
        return {}
    frames = np.array([len(clip) for clip in clips], np.int64)
    features = _zeros((len(clips), int(frames.max()), MEL_BINS), "audio clips")
    for a, clip in enumerate(clips):
        features[a, : len(clip)] = clip
    tokens = np.array([audio_tokens(len(clip)) for clip in clips], np.int64)
    arrays: Arrays = dict(zip(AUDIO_NAMES, (features, tokens), strict=True))
    if len(clips) > 1:
        arrays["audio_attention_mask"] = np.arange(features.shape[1]) < frames[:, None]
    return arrays


def _zeros(shape: tuple[int, ...], kind: str) -> F32:
    size = int(np.prod(shape, dtype=object))
    if size > MAX_PADDED:
        raise InputError(
            f"the {shape[0]} {kind} take {4 * size / 2**30:.1f} GiB when they are padded to the largest of them; "
            f"expected at most {4 * MAX_PADDED >> 30} GiB, so process fewer prompts at a time"
        )
    return np.zeros(shape, np.float32)


def _unpadded_ids(arrays: Mapping[str, npt.NDArray[Any]], vocab_size: int) -> list[list[int]]:
    """The ids of each prompt, without the padding on the left."""
    ids = _whole_numbers(arrays, "input_ids", (None, None))
    if ids.min() < 0 or ids.max() >= vocab_size:
        raise InputError(
            f"input_ids run from {ids.min()} to {ids.max()}; expected ids of this model, 0 to {vocab_size - 1}"
        )
    if "attention_mask" not in arrays:
        return ids.tolist()
    mask = _whole_numbers(arrays, "attention_mask", ids.shape)
    kept = mask == 1
    wrong = ((mask != 0) & (mask != 1)).any(1) | (np.diff(mask) < 0).any(1) | ~kept.any(1)
    if wrong.any():
        raise InputError(
            f"attention_mask[{wrong.argmax()}] is not zeros followed by at least one 1; pad prompts on the left, "
            'as with tokenizer.padding_side = "left"'
        )
    return [row[keep].tolist() for row, keep in zip(ids, kept, strict=True)]


def _images(arrays: Mapping[str, npt.NDArray[Any]], crop: int, side: int) -> list[MediaItem]:
    if not _complete(arrays, IMAGE_NAMES):
        return []
    pixels = _shaped(arrays, "input_image_embeds", (None, None, 3, crop, crop))
    count, max_crops = pixels.shape[:2]
    sizes = _whole_numbers(arrays, "image_sizes", (count, 2))
    mask = _shaped(arrays, "image_attention_mask", (count, max_crops, side, side)).astype(np.bool_)
    images: list[MediaItem] = []
    for n, (height, width) in enumerate(sizes.tolist()):
        rows, columns = height // crop, width // crop
        if min(rows, columns) < 1 or height % crop or width % crop or 1 + rows * columns > max_crops:
            raise InputError(
                f"image_sizes[{n}] is {height} x {width}; expected multiples of {crop} pixels and at most "
                f"{max_crops - 1} crops, those of input_image_embeds without the global view"
            )
        crops = 1 + rows * columns
        down, across = _valid_patches(mask[n, :crops], rows, columns, n + 1)
        tiles = ImageTiles(_numbers(pixels[n, :crops], f"image {n + 1}"), mask[n, :crops], (rows, columns))
        images.append((tiles, image_tokens(side, across, down)))
    return images


def _valid_patches(mask: npt.NDArray[np.bool_], rows: int, columns: int, number: int) -> tuple[int, int]:
    """(down, across): the patches of the canvas that belong to the image, from its (C, P, P) mask.

    raises  InputError if they are not a rectangle from the top left that reaches into every crop
    """
    side = mask.shape[1]
    canvas = mask[1:].reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, columns * side)
    down, across = int(canvas[:, 0].sum()), int(canvas[0].sum())
    expected = np.zeros_like(canvas)
    expected[:down, :across] = True
    reaches = down > (rows - 1) * side and across > (columns - 1) * side
    if not (mask[0].all() and reaches and np.array_equal(canvas, expected)):
        raise InputError(
            f"image_attention_mask of image {number} is not a rectangle of ones from the top left into each of its "
            f"{rows} x {columns} crops; pass it as the processor made it"
        )
    return down, across


def _clips(arrays: Mapping[str, npt.NDArray[Any]]) -> list[MediaItem]:
    if not _complete(arrays, AUDIO_NAMES):
        return []
    features = _shaped(arrays, "input_audio_embeds", (None, None, MEL_BINS))
    count, max_frames = features.shape[:2]
    stated = _whole_numbers(arrays, "audio_embed_sizes", (count,))
    frames = np.full(count, max_frames)
    if "audio_attention_mask" in arrays:
        mask = _shaped(arrays, "audio_attention_mask", (count, max_frames)).astype(np.bool_)
        frames = mask.sum(1)
        if not np.array_equal(mask, np.arange(max_frames) < frames[:, None]):
            raise InputError("audio_attention_mask is not ones followed by zeros; pass it as the processor made it")
    clips: list[MediaItem] = []
    for a, (length, tokens) in enumerate(zip(frames.tolist(), stated.tolist(), strict=True)):
        if length < 1 or tokens != audio_tokens(length):
            raise InputError(
                f"audio_embed_sizes[{a}] is {tokens}, but {length} frames need {audio_tokens(length)} placeholders; "
                "pass input_audio_embeds, audio_embed_sizes and audio_attention_mask as the processor made them"
            )
        # Frames start 10 ms apart, and the window of the last one has 25 ms.
        seconds = 0.01 * length + 0.015
        clips.append((AudioFrames(_numbers(features[a, :length], f"clip {a + 1}"), seconds), tokens))
    return clips


def _prompt(
    ids: list[int], remaining: Mapping[int, tuple[Kind, Iterator[tuple[int, MediaItem]]]], index: int
) -> Prompt:
    """Prompt number `index` of the batch; takes its media from `remaining`, which has enough for all prompts."""
    spans: list[MediaSpan] = []
    at = 0
    while at < len(ids):
        if ids[at] not in remaining:
            at += 1
            continue
        kind, media = remaining[ids[at]]
        number, (data, length) = next(media)
        run = next((n for n in range(length) if ids[at + n : at + n + 1] != [ids[at]]), length)
        if run < length:
            raise InputError(
                f"input_ids[{index}] holds {run} placeholders where {kind} {number} needs {length}; "
                "pass input_ids and media of one processor call, unchanged"
            )
        spans.append(MediaSpan(kind, at, length, media_digest(data), data))
        at += length
    return Prompt(tuple(ids), tuple(spans))


def _check_modes(arrays: Mapping[str, npt.NDArray[Any]], prompts: Sequence[Prompt]) -> None:
    """Check the mode of each prompt, or the single mode of a batch as published."""
    if "input_mode" not in arrays:
        return
    stated = _whole_numbers(arrays, "input_mode", (1,) if arrays["input_mode"].size == 1 else (len(prompts),))
    for i, (prompt, mode) in enumerate(zip(prompts, np.broadcast_to(stated, len(prompts)).tolist(), strict=True)):
        if mode != _mode(prompt):
            raise InputError(
                f"input_mode is {mode} for prompt {i}, whose media make it {_mode(prompt)} "
                "(0 text, 1 image, 2 audio, 3 both); leave input_mode out, and it is found from the media"
            )


def _complete(arrays: Mapping[str, npt.NDArray[Any]], names: Sequence[str]) -> bool:
    """Whether all of `names` are there. Raises InputError if only some are."""
    absent = [name for name in names if name not in arrays]
    if absent and len(absent) < len(names):
        raise InputError(f"{absent[0]} is missing; pass {', '.join(names)} together")
    return not absent


def _shaped(arrays: Mapping[str, npt.NDArray[Any]], name: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    """The array `name`, which must have `shape`; None stands for any size but 0. Raises InputError."""
    array = arrays[name]
    fits = array.ndim == len(shape) and all(n > 0 and m in (None, n) for n, m in zip(array.shape, shape, strict=True))
    if not fits:
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise InputError(f"{name} has shape {array.shape}; expected ({expected})")
    return array


def _whole_numbers(
    arrays: Mapping[str, npt.NDArray[Any]], name: str, shape: tuple[int | None, ...]
) -> npt.NDArray[np.int64]:
    array = _shaped(arrays, name, shape)
    if array.dtype.kind not in "biu":
        raise InputError(f"{name} is {array.dtype}; expected whole numbers")
    return array.astype(np.int64, copy=False)


def _numbers(array: npt.NDArray[Any], name: str) -> F32:
    """(C, 3, X, X) or (F, Y) as contiguous float32. Raises InputError for other numbers than finite floats."""
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        problem = f"is {array.dtype}" if array.dtype.kind != "f" else "holds NaN or infinite numbers"
        raise InputError(f"{name} {problem}; expected finite float32 numbers, as the processor made them")
    return np.ascontiguousarray(array, np.float32)
