"""The audio encoder gives the same numbers in tiles and windows as at once, and in a batch as for each clip alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from phi4mm.checkpoint.hub import resolve
from phi4mm.checkpoint.load import load_model
from phi4mm.model import audio as module
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.audio import log_mel

NANO = resolve("nano")
EXAMPLES = Path(__file__).parents[2] / "examples"
TOLERANCE = 2e-5  # float32 sums in another order, values of order one


def mels(frames: int, seed: int = 0) -> Tensor:
    """(1, frames, 80) random log-mel."""
    return torch.from_numpy(np.random.default_rng(seed).normal(13, 3, (1, frames, 80)).astype(np.float32))


def encode(model: Phi4MM, features: Tensor, *frames: int) -> Tensor:
    assert model.audio is not None
    with torch.inference_mode():
        hidden: Tensor = model.audio.encoder(features, torch.tensor(frames))
    return hidden


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 255, 256, 257, 8 * 41 + 3])
def test_subsampling_in_tiles_equals_subsampling_at_once(
    tiny: Phi4MM, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a halo that is too small, the tokens at a tile's border are different."""
    assert tiny.audio is not None
    subsampling, features = tiny.audio.encoder.subsampling, mels(frames)
    with torch.inference_mode():
        whole = subsampling(features, torch.tensor([frames]))
        monkeypatch.setattr(module, "TILE", 4)
        tiled = subsampling(features, torch.tensor([frames]))
    assert tiled.shape == whole.shape == (1, -(-frames // 8), 64)
    assert (tiled - whole).abs().max() < TOLERANCE


def test_tiles_and_groups_do_not_change_a_long_clip(tiny: Phi4MM, monkeypatch: pytest.MonkeyPatch) -> None:
    """What bounds memory must not change the numbers; 1,300 tokens are three attention windows."""
    features = mels(10_400)
    whole = encode(tiny, features, 10_400)
    monkeypatch.setattr(module, "TILE", 64)
    monkeypatch.setattr(module, "WINDOWS_AT_ONCE", 1)
    assert (encode(tiny, features, 10_400) - whole).abs().max() < TOLERANCE


@pytest.mark.parametrize("lengths", [(98, 298), (1, 4000), (4001, 98), (4000, 8100, 17)])
def test_clips_of_any_lengths_in_one_batch_equal_each_clip_alone(tiny: Phi4MM, lengths: tuple[int, ...]) -> None:
    """In the published code, padding of the shorter clip changes its last tokens."""
    clips = [mels(length, seed) for seed, length in enumerate(lengths)]
    padded = torch.zeros(len(lengths), max(lengths), 80)
    for target, clip in zip(padded, clips, strict=True):
        target[: clip.shape[1]] = clip[0]
    together = encode(tiny, padded, *lengths)
    for batched, clip in zip(together, clips, strict=True):
        alone = encode(tiny, clip, clip.shape[1])[0]
        assert (batched[: len(alone)] - alone).abs().max() < TOLERANCE


def test_the_convolution_is_causal(tiny: Phi4MM) -> None:
    """A change in the last tokens must not reach earlier ones through the convolution."""
    assert tiny.audio is not None
    block, x = tiny.audio.encoder.blocks[0], torch.randn(1, 20, 64, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, 12:] += 1
    with torch.inference_mode():
        conv = block.get_submodule("conv")
        assert torch.equal(conv(x)[:, :12], conv(changed)[:, :12])
        assert not torch.equal(conv(x)[:, 12], conv(changed)[:, 12])


def test_the_two_projections_differ(tiny: Phi4MM) -> None:
    """A port that always takes `speech` is wrong for audio in a prompt with an image."""
    assert tiny.audio is not None
    with torch.inference_mode():
        embeddings = {p: tiny.audio(mels(98), torch.tensor([98]), [p])[0] for p in ("speech", "vision")}
    assert (embeddings["speech"] - embeddings["vision"]).abs().max() > 0.1


def test_several_long_clips_are_each_encoded_as_one_alone() -> None:
    """Published, the zeros that fill the last window of a clip over 500 tokens are attended where the clip is alone,
    and masked where it is one of several; docs/numerics.md has the size."""
    embedder = load_model(NANO, device="cpu", dtype=torch.float32, modalities=("speech",)).audio
    assert embedder is not None
    encoder = embedder.encoder
    samples, _ = soundfile.read(EXAMPLES / "speech.flac", dtype="float32")
    features = torch.from_numpy(log_mel(np.resize(samples, 45 * 16_000), 16_000))[None]
    frames = torch.tensor([features.shape[1]])
    tokens = -(-features.shape[1] // 8)
    with torch.inference_mode():
        alone = encoder(features, frames)[0, :tokens]
        both = encoder(features.repeat(2, 1, 1), frames.repeat(2))[:, :tokens]
        windows = encoder.subsampling((features - encoder.mean) * encoder.invstd, frames)
        windows = torch.nn.functional.pad(windows, (0, 0, 0, 1000 - tokens)).view(2, 500, -1)
        masked = encoder._blocks(windows, torch.tensor([500, tokens - 500])).flatten(0, 1)[:tokens]
    assert (both - alone).abs().max() < TOLERANCE
    assert (masked - alone)[:500].abs().max() < TOLERANCE
    assert 0.5 < (masked - alone)[500:].norm() / alone[500:].norm() < 1.1
