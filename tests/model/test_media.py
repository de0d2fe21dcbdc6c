"""The encoding of media, which inference and training share."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from phi4mm.errors import ConfigError
from phi4mm.model.media import batch_audio, batch_images, encode_audio, encode_images
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.pixels import to_tiles
from phi4mm.protocol.inputs import AudioProjection
from tests.prompts import clip, make_image, make_prompt


def test_images_in_one_batch_equal_each_image_alone(tiny: Phi4MM) -> None:
    """Crops of one image must not be assembled into another image of the batch."""
    images = [to_tiles(make_image(width, height)) for width, height in ((448, 200), (100, 37), (900, 450))]
    with torch.no_grad():
        together = encode_images(tiny, batch_images(images))
        alone = [encode_images(tiny, batch_images([image]))[0] for image in images]
    for first, second in zip(together, alone, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-5)


def test_clips_in_one_batch_equal_each_clip_alone_with_its_own_projection(tiny: Phi4MM) -> None:
    """Padding must not change a clip's embeddings, and the projection is chosen for each clip."""
    clips = [clip(7000), clip(30000), clip(16000)]
    projections: tuple[AudioProjection, ...] = ("speech", "vision", "speech")
    with torch.no_grad():
        together = encode_audio(tiny, batch_audio(clips), projections)
        for n, (one, projection) in enumerate(zip(clips, projections, strict=True)):
            by_name = {name: encode_audio(tiny, batch_audio([one]), [name]) for name in get_args(AudioProjection)}
            alone = by_name[projection]
            torch.testing.assert_close(together.embeddings[n], alone.embeddings[0], rtol=0, atol=1e-5)
            torch.testing.assert_close(
                together.hidden[n, : len(alone.embeddings[0])], alone.hidden[0], rtol=0, atol=1e-5
            )
            assert not torch.allclose(by_name["speech"].embeddings[0], by_name["vision"].embeddings[0], atol=1e-2)


def test_the_projection_is_chosen_by_the_presence_of_an_image() -> None:
    """Audio in a prompt with an image takes the `vision` projection."""
    assert make_prompt("both", [make_image(100, 37), clip(7000)], 3).audio_projection == "vision"
    assert make_prompt("audio", [clip(7000)], 3).audio_projection == "speech"


def test_a_model_without_a_tower_names_it_in_the_error(tiny: Phi4MM) -> None:
    """`NoneType is not callable` would not say what is missing."""
    text = Phi4MM(tiny.config, adapters=())
    with pytest.raises(ConfigError, match="1 images were given to a model without its image encoder"):
        encode_images(text, batch_images([to_tiles(make_image(100, 37))]))
    with pytest.raises(ConfigError, match="2 clips were given to a model without its audio encoder"):
        encode_audio(text, batch_audio([clip(7000)] * 2), ["speech"] * 2)
