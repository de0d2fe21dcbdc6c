"""Where transformers' own audio features are right, and where they are not.

phi4mm is the measure: its log-mel equals numbers recorded from the published code, at both rates (tests/golden).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from transformers import Phi4MultimodalFeatureExtractor

from phi4mm.diagnostics.verify import MEL_BOUND, audio
from phi4mm.processing.audio import NARROW, WIDE, log_mel, open_audio
from phi4mm.protocol.inputs import F32
from phi4mm.protocol.messages import Audio

EXTRACTOR = Phi4MultimodalFeatureExtractor()


def their_features(*clips: F32) -> F32:
    """(clips, F, 80) of one batch."""
    features: F32 = EXTRACTOR(list(clips), sampling_rate=WIDE)["audio_input_features"].numpy()
    return features


def largest(difference: npt.NDArray[np.float32]) -> float:
    return float(np.abs(difference).max())


def test_features_agree_but_for_the_last_filter() -> None:
    """The published triangles end below the FFT bin that holds 7690 Hz; theirs gives that bin to filter 79."""
    samples = audio(24_000, WIDE)
    assert largest(their_features(samples)[0, :, :79] - log_mel(samples, WIDE)[:, :79]) <= MEL_BOUND
    tone = (0.3 * np.sin(2 * np.pi * 246 * WIDE / 512 * np.arange(WIDE) / WIDE)).astype(np.float32)
    difference = their_features(tone)[0] - log_mel(tone, WIDE)
    assert largest(difference[:, :79]) <= MEL_BOUND
    assert difference[:, 79].min() > 0.1
    assert EXTRACTOR.mel_filters[246].nonzero()[0].tolist() == [79]
    assert EXTRACTOR.mel_filters[246, 79] == pytest.approx(0.00972, abs=1e-5)


def test_their_batch_leaves_sound_in_the_frames_past_a_shorter_clips_end() -> None:
    """Past its end a clip must be silent: its last row sees seven frames beyond.

    Frames of its last samples and padding are to be zero; theirs leaves one or two of them at full level.
    """
    short, long = audio(7_000, WIDE), audio(16_000, WIDE)
    right = log_mel(short, WIDE)
    found = their_features(short, long)[0]
    assert largest(found[: len(right), :79] - right[:, :79]) <= MEL_BOUND
    past = np.abs(found[len(right) :]).max(1)
    assert (past[:2] > 10).all() and not past[2:].any()


@pytest.mark.parametrize(
    ("samples", "rate", "refusal", "frames"),
    [
        pytest.param(audio(8_000, NARROW), NARROW, "sampling rate of 16000", 98, id="8 kHz"),
        pytest.param(np.stack([audio(16_000, WIDE)] * 2, axis=1), WIDE, "maximum size for tensor", 98, id="stereo"),
        pytest.param(audio(300, WIDE), WIDE, "maximum size for tensor", 1, id="below one window"),
    ],
)
def test_what_their_extractor_refuses_phi4mm_takes(samples: F32, rate: int, refusal: str, frames: int) -> None:
    """Telephone sound has a path of its own in the published model, stereo is averaged, and short clips are padded."""
    with pytest.raises((ValueError, RuntimeError), match=refusal):
        EXTRACTOR(samples, sampling_rate=rate)
    found = log_mel(*open_audio(Audio(samples, rate)))
    assert found.shape == (frames, 80)
    assert largest(found[:, :40]) > 10, "a sound of speech level"
    if rate == NARROW:
        assert not found[:, 79].any(), "nothing above 4 kHz"
