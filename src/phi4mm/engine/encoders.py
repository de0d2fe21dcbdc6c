"""Runs the towers: turns media items into media embeddings.

M media embeddings, D model width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from phi4mm.model.media import batch_audio, batch_images, encode_audio, encode_images
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.pixels import to_tiles
from phi4mm.protocol.inputs import AudioFrames, AudioProjection, ImageCrops, ImageTiles, MediaSpan, Prompt


def encode_media(model: Phi4MM, prompt: Prompt, device: torch.device) -> Tensor | None:
    """(M, D) embeddings of all media of a prompt, in the order of their placeholders; None without media."""
    if not prompt.spans:
        return None
    return torch.cat([encode_span(model, span, prompt.audio_projection, device) for span in prompt.spans])


def encode_span(model: Phi4MM, span: MediaSpan, projection: AudioProjection, device: torch.device) -> Tensor:
    """(span.length, D) embeddings of one media item, encoded alone, so that they never depend on other items."""
    if isinstance(span.data, AudioFrames):
        embeddings = encode_clip(model, span.data, projection, device)
    else:
        embeddings = encode_image(model, span.data, device)
    assert len(embeddings) == span.length, f"{span.kind}: {len(embeddings)} embeddings for {span.length} placeholders"
    return embeddings


def encode_image(model: Phi4MM, image: ImageCrops | ImageTiles, device: torch.device) -> Tensor:
    """(tokens, D) embeddings of one image. Its float pixels are freed when this returns."""
    return encode_images(model, batch_images([to_tiles(image)]).to(device))[0]


def encode_clip(model: Phi4MM, frames: AudioFrames, projection: AudioProjection, device: torch.device) -> Tensor:
    """(tokens, D) embeddings of one audio clip."""
    return encode_audio(model, batch_audio([frames]).to(device), [projection]).embeddings[0]
