"""Media in, placeholder rows out.

M media rows, D model width, C crops, P patches, F mel frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from phi4mm.model.media import batch_audio, batch_images, encode_audio, encode_images
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.pixels import to_tiles
from phi4mm.protocol.inputs import AudioFrames, AudioProjection, ImageCrops, ImageTiles, MediaSpan, Prompt


def encode_media(model: Phi4MM, prompt: Prompt, device: torch.device) -> Tensor | None:
    """(M, D) projected rows of all of a prompt's media, in the order of their placeholders; None without media."""
    if not prompt.spans:
        return None
    return torch.cat([encode_span(model, span, prompt.audio_projection, device) for span in prompt.spans])


def encode_span(model: Phi4MM, span: MediaSpan, projection: AudioProjection, device: torch.device) -> Tensor:
    """(span.length, D) rows of one medium, by itself, so that they never depend on what stands beside it."""
    if isinstance(span.data, AudioFrames):
        rows = encode_clip(model, span.data, projection, device)
    else:
        rows = encode_image(model, span.data, device)
    assert len(rows) == span.length, f"{span.kind}: {len(rows)} encoder rows for {span.length} placeholders"
    return rows


def encode_image(model: Phi4MM, image: ImageCrops | ImageTiles, device: torch.device) -> Tensor:
    """(tokens, D) rows of one image; its float pixels, if it has none, live only as long as this runs."""
    return encode_images(model, batch_images([to_tiles(image)]).to(device))[0]


def encode_clip(model: Phi4MM, frames: AudioFrames, projection: AudioProjection, device: torch.device) -> Tensor:
    """(tokens, D) rows of one clip."""
    return encode_audio(model, batch_audio([frames]).to(device), [projection]).embeddings[0]
