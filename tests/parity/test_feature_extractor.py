"""Cases in which the audio features of transformers are right, and cases in which they are wrong.

phi4mm is the reference: its log-mel matches numbers recorded from the published code, at both rates (tests/golden).

A audio clips, F mel frames, Y mel bins.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from transformers import Phi4MultimodalFeatureExtractor

from phi4mm.diagnostics.verify import MEL_BOUND, audio
from phi4mm.processing.audio import log_mel, open_audio
from phi4mm.processing.resampling import NARROW, WIDE
from phi4mm.protocol.inputs import F32
from phi4mm.protocol.messages import Audio

EXTRACTOR = Phi4MultimodalFeatureExtractor()


def their_features(*clips: F32) -> F32:
    """(A, F, Y) of one batch."""
    features: F32 = EXTRACTOR(list(clips), sampling_rate=WIDE)["audio_input_features"].numpy()
    return features


def largest(difference: npt.NDArray[np.float32]) -> float:
    return float(np.abs(difference).max())


def test_features_agree_except_for_the_last_filter() -> None:
    """The published triangles end below the FFT bin that holds 7690 Hz; theirs assign that bin to filter 79."""
    samples = audio(24_000, WIDE)
    assert largest(their_features(samples)[0, :, :79] - log_mel(samples, WIDE)[:, :79]) <= MEL_BOUND
    tone = (0.3 * np.sin(2 * np.pi * 246 * WIDE / 512 * np.arange(WIDE) / WIDE)).astype(np.float32)
    difference = their_features(tone)[0] - log_mel(tone, WIDE)
    assert largest(difference[:, :79]) <= MEL_BOUND
    assert difference[:, 79].min() > 0.1
    assert EXTRACTOR.mel_filters[246].nonzero()[0].tolist() == [79]
    assert EXTRACTOR.mel_filters[246, 79] == pytest.approx(0.00972, abs=1e-5)


def test_their_batch_leaves_signal_in_the_padding_frames_of_a_shorter_clip() -> None:
    """The frames after a clip's end must be zero, because its last embedding depends on seven of them.

    The frames that contain both its last samples and padding must be zero too; theirs keep one or two at full level.
    """
    short, long = audio(7_000, WIDE), audio(16_000, WIDE)
    expected = log_mel(short, WIDE)
    actual = their_features(short, long)[0]
    assert largest(actual[: len(expected), :79] - expected[:, :79]) <= MEL_BOUND
    past = np.abs(actual[len(expected) :]).max(1)
    assert (past[:2] > 10).all() and not past[2:].any()


@pytest.mark.parametrize(
    ("samples", "rate", "refusal", "frames"),
    [
        pytest.param(audio(8_000, NARROW), NARROW, "sampling rate of 16000", 98, id="8 kHz"),
        pytest.param(np.stack([audio(16_000, WIDE)] * 2, axis=1), WIDE, "maximum size for tensor", 98, id="stereo"),
        pytest.param(audio(300, WIDE), WIDE, "maximum size for tensor", 1, id="below one window"),
    ],
)
def test_phi4mm_accepts_audio_that_their_extractor_refuses(samples: F32, rate: int, refusal: str, frames: int) -> None:
    """The published model has its own path for 8 kHz audio; stereo is averaged, and short clips are padded."""
    with pytest.raises((ValueError, RuntimeError), match=refusal):
        EXTRACTOR(samples, sampling_rate=rate)
    features = log_mel(*open_audio(Audio(samples, rate)))
    assert features.shape == (frames, 80)
    assert largest(features[:, :40]) > 10, "no signal"
    if rate == NARROW:
        assert not features[:, 79].any(), "signal above 4 kHz"
